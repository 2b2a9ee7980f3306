"""Which plugin works with which version of ldmkit's interfaces, and why one does not. Imports no torch."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ldmkit
from ldmkit.hookspecs import API_VERSION, CHANGED, PUBLIC
from ldmkit.host.contained import contained, described
from ldmkit.host.plugins import Host, origin
from ldmkit.host.registry import Collector


@dataclass(frozen=True)
class Compatibility:
    """One plugin. written_for: the API version that it states, None where it states none or cannot be loaded.
    works_with: the API versions, those to come aside, in which nothing that it registers has changed. works:
    with this ldmkit, and all that it registers was taken."""

    plugin: str
    version: str
    written_for: int | None
    works_with: tuple[int, ...]
    works: bool
    problems: tuple[str, ...]


def compatibility(point: EntryPoint, loaded: Host) -> Compatibility:
    """The compatibility of one plugin, whether or not the host could load it."""
    name, version = origin(point)
    refused = [one.error for one in loaded.broken if (one.distribution, one.version) == (name, version)]
    try:
        with contained():
            plugin = point.load()
        kinds = _kinds(plugin)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may raise anything
        return Compatibility(name, version, None, (), False, tuple(refused or [described(error)]))
    stated = getattr(plugin, "LDMKIT_API", None)
    stated = stated if type(stated) is int else None
    works, why = _versions(stated, kinds)
    private = [f"imports {one}, which is not public and may change at any time" for one in _private(point)]
    problems = (*(why or refused), *private)
    return Compatibility(name, version, stated, works, API_VERSION in works and not refused, problems)


def _kinds(plugin: Any) -> set[str]:
    collector = Collector("", "")
    plugin.ldmkit_register(registry=collector)
    return {entry.kind for entry in collector.entries}


def _versions(stated: int | None, kinds: set[str]) -> tuple[tuple[int, ...], Sequence[str]]:
    """The versions that a plugin works with, and what keeps it from later ones."""
    if stated is None:
        return (), ["states no LDMKIT_API"]
    if stated > API_VERSION:
        return (), [f"needs a newer ldmkit: it is written for API {stated}, this one provides {API_VERSION}"]
    for version in range(stated + 1, API_VERSION + 1):
        if changed := sorted(kinds & {*CHANGED.get(version, ())}):
            reason = f"breaks with API {version}, which changed {', '.join(changed)}: see ldmkit.interfaces"
            return tuple(range(stated, version)), [reason]
    return tuple(range(stated, API_VERSION + 1)), []


def _private(point: EntryPoint) -> list[str]:
    """The modules of ldmkit that are not public and that the plugin's files import, sorted."""
    spec = find_spec(point.module.partition(".")[0]) if not _is_file(point) else None
    roots = [Path(root) for root in (spec.submodule_search_locations or ())] if spec else []
    alone = [Path(spec.origin)] if spec and spec.origin and not roots else []
    files = [file for root in roots for file in root.rglob("*.py")] + alone
    files += [Path(point.value)] if _is_file(point) else []
    return sorted({name for file in files for name in _imported(file) if not is_public(name)})


def _is_file(point: EntryPoint) -> bool:
    return point.value.endswith(".py")


def _imported(file: Path) -> Iterator[str]:
    """What a file imports of ldmkit: "ldmkit.module" or "ldmkit.module.name"."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):  # what it is when it is imported, it says itself
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.startswith("ldmkit."))


def is_public(name: str) -> bool:
    """Is an imported name one of a public module, or of `ldmkit` itself?"""
    around = [name.rsplit(".", n)[0] for n in range(name.count("."))]
    hidden = any(part.startswith("_") for part in name.split("."))
    return not hidden and (
        any(module in PUBLIC for module in around) or name.removeprefix("ldmkit.") in ldmkit.__all__
    )
