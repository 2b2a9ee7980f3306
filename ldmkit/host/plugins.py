"""The plugin host: entry points loaded one at a time, failures kept and shown."""

from __future__ import annotations

import os
import re
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, requires
from inspect import iscoroutine, isgenerator
from pathlib import Path
from typing import Any

import pluggy

from ldmkit import hookspecs
from ldmkit.errors import UserError, did_you_mean
from ldmkit.host.contained import contained, described, unchanged
from ldmkit.host.plugin_files import LooseFile, loose_files
from ldmkit.host.points import Unreadable, installed_points, name_of, version_of
from ldmkit.host.registry import KINDS, Collector, DuplicateComponent, Entry, Registry

WITHOUT = "LDMKIT_WITHOUT"
"""Environment variable: distributions whose plugins are not loaded, separated by commas."""


@dataclass(frozen=True)
class Broken:
    """A plugin that failed to load, and why."""

    distribution: str
    version: str
    error: str


@dataclass(frozen=True)
class Host:
    """The registry of everything that loaded, and what did not."""

    registry: Registry
    broken: tuple[Broken, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each distribution's plugins took to import and register."""


def load_plugins(points: Iterable[EntryPoint], without: Collection[str] = ()) -> Host:
    """Loads each entry point by itself: one that raises is kept with its error, and the others still work.

    Where two distributions give one name, the first keeps it: see `_precedence`.
    """
    registry, broken, seconds = Registry(), [], defaultdict[str, float](float)
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    for point in sorted(points, key=_precedence):
        distribution, version = origin(point)
        if distribution in without:
            continue
        began = time.monotonic()
        try:
            with unchanged(distribution), contained():
                refused = _load_one(manager, point, Collector(distribution, version), registry)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may raise anything; none may stop the others
            refused = [described(error)]
        broken += [Broken(distribution, version, reason) for reason in refused]
        seconds[distribution] += time.monotonic() - began
    registry.broken = [f"{b.distribution} {b.version} ({b.error})" for b in broken]
    return Host(registry, tuple(broken), seconds)


@cache
def host() -> Host:
    """The host of the installed plugins and of the files in use, without those that LDMKIT_WITHOUT names.

    Raises UserError where that names a distribution that provides no plugin.
    """
    points = plugin_points()
    without = {name.strip() for name in os.environ.get(WITHOUT, "").split(",")} - {""}
    unknown = without - {origin(p)[0] for p in points}
    if unknown:
        raise UserError(f"{WITHOUT}: no plugin comes from {', '.join(sorted(unknown))}")
    return load_plugins(points, without)


def plugin_points() -> list[EntryPoint]:
    """The entry points of installed plugins, then the files in use."""
    return [*installed_points(), *loose_files()]


def _precedence(point: EntryPoint) -> tuple[bool, bool, bool, float, str, str]:
    """Distributions that ldmkit itself names in its extras come first, then those installed earlier, then
    those without a name, then loose files."""
    name, _ = origin(point)
    ours = name in _named()
    installed = 0.0 if ours else _installed_at(point)
    nameless = point.dist is not None and not name_of(point.dist)
    return isinstance(point, LooseFile), not ours, nameless, installed, name, point.name


@cache
def _named() -> frozenset[str]:
    """The distributions that ldmkit's own metadata name."""
    try:
        required = requires("ldmkit") or []
    except PackageNotFoundError:
        required = []
    return frozenset(match[0] for line in required if (match := re.match(r"[\w.-]+", line)))


def _installed_at(point: EntryPoint) -> float:
    """When a distribution was installed, in seconds; 0 where its files do not say."""
    files = (point.dist and point.dist.files) or ()
    try:
        return next((Path(str(f.locate())).stat().st_mtime for f in files if f.name == "METADATA"), 0.0)
    except OSError:
        return 0.0


def origin(point: EntryPoint) -> tuple[str, str]:
    """The distribution's name and version; of a loose file its path, of a distribution without a name the
    folder that it lies in."""
    if point.dist is None:
        return point.value, "?" if isinstance(point, Unreadable) else "(a file)"
    return name_of(point.dist) or str(point.dist.locate_file("")), version_of(point.dist)


def _load_one(
    manager: pluggy.PluginManager, point: EntryPoint, registrar: Collector, registry: Registry
) -> list[str]:
    """Adds a plugin's entries to the registry; returns why some of them were refused."""
    if not isinstance(point, LooseFile | Unreadable) and not EntryPoint.pattern.match(point.value):
        raise ValueError(f"its entry point {point.name} = {point.value!r} is no MODULE or MODULE:ATTRIBUTE")
    plugin = point.load()
    _check_api(plugin)
    if manager.is_registered(plugin):
        raise ValueError(f"its entry point {point.name} names the same as {manager.get_name(plugin)}")
    manager.register(plugin, name=f"{registrar.distribution}:{point.name}")
    try:
        manager.check_pending()  # a misspelt hook is an error, not a plugin that does nothing
        others = [p for p in manager.get_plugins() if p is not plugin]
        hook = manager.subset_hook_caller("ldmkit_register", others)
        if not hook.get_hookimpls():
            raise ValueError("implements no ldmkit_register hook (is it marked with @hookimpl?)")
        _check_ran(hook(registry=registrar))
        for entry in registrar.entries:
            _check_entry(entry)
        _check_kinds(plugin, registrar)
        return _joined(registry, registrar)
    except BaseException:
        manager.unregister(plugin)
        raise


def _check_ran(results: Iterable[Any]) -> None:
    """Refuses a hook that only a loop or an event loop would run: one with `yield`, or `async def`."""
    for result in results:
        if isgenerator(result) or iscoroutine(result):
            result.close()
            raise TypeError(f"ldmkit_register is a {type(result).__name__}, no plain function")


def _check_api(plugin: Any) -> None:
    stated = getattr(plugin, "LDMKIT_API", None)
    if not isinstance(stated, int) or not 1 <= stated <= hookspecs.API_VERSION:
        raise ValueError(f"states LDMKIT_API = {stated!r}; this ldmkit provides {hookspecs.API_VERSION}")


def _check_kinds(plugin: Any, registrar: Collector) -> None:
    """Refuses components of kinds that have changed since the version that the plugin was written for."""
    since = range(plugin.LDMKIT_API + 1, hookspecs.API_VERSION + 1)
    changed = {kind: version for version in since for kind in hookspecs.CHANGED.get(version, ())}
    for entry in registrar.entries:
        if entry.kind in changed:
            raise ValueError(
                f"{entry.kind} '{entry.name}' is written for LDMKIT_API = {plugin.LDMKIT_API}; version "
                f"{changed[entry.kind]} changed what this kind must do, see ldmkit.interfaces"
            )


def _joined(registry: Registry, registrar: Collector) -> list[str]:
    """Adds a plugin's entries, except those whose names another distribution has already; returns the
    latter."""
    refused = []
    for entry in registrar.entries:
        try:
            registry.add(entry)
        except DuplicateComponent as error:
            refused.append(described(error))
    return refused


def _check_entry(entry: Entry) -> None:
    """Refuses the whole plugin where an entry has an unknown kind or is not made of texts."""
    words = (entry.kind, entry.name, entry.target, entry.summary, *entry.former, *sum(entry.renamed, ()))
    if not all(isinstance(word, str) and word.isprintable() for word in words) or not entry.name:
        raise TypeError("registers a component whose kind, name, reference or summary is no line of text")
    if entry.kind not in KINDS:
        raise ValueError(f"unknown kind '{entry.kind}'{did_you_mean(entry.kind, KINDS)}")
