"""The entry points of installed plugins, found one distribution at a time. Imports no torch.

A distribution whose metadata are damaged, or that has another's name, hides no other distribution's plugins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, EntryPoint, distributions

from ldmkit.hookspecs import GROUP
from ldmkit.host.contained import described


class Unreadable(EntryPoint):
    """What stands for a distribution whose entry points cannot be read: its value says which one it is and in
    which folder, its name the reason."""

    def load(self) -> None:
        """Raises ValueError that gives the reason."""
        raise ValueError(self.name)


def installed_points() -> list[EntryPoint]:
    """The entry points of all distributions, those that lie first on `sys.path` first.

    One that another distribution of the same name has as well is left out, and so is one of a distribution
    without a name (what an interrupted removal leaves) that any other has.
    """
    found = [(_plain(name_of(d)), point) for d in _named_first(distributions()) for point in _points(d)]
    kept: dict[tuple[str, str, str], EntryPoint] = {}
    for name, point in found:
        others = {key[1:] for key in kept} if not name else set()
        if (point.name, point.value) not in others:
            kept.setdefault((name, point.name, point.value), point)
    return list(kept.values())


def name_of(distribution: Distribution) -> str:
    """The distribution's name; "" where its metadata are missing or damaged."""
    return _said(distribution, "Name")


def version_of(distribution: Distribution) -> str:
    """The distribution's version; "?" where its metadata are missing or damaged."""
    return _said(distribution, "Version") or "?"


def _said(distribution: Distribution, header: str) -> str:
    try:
        return str(distribution.metadata[header] or "")
    except Exception:  # each version of Python raises another error for metadata that are not there
        return ""


def _named_first(found: Iterable[Distribution]) -> list[Distribution]:
    return sorted(found, key=lambda distribution: not name_of(distribution))


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _points(distribution: Distribution) -> Iterator[EntryPoint]:
    try:
        yield from distribution.entry_points.select(group=GROUP)
    except Exception as error:  # a file that is damaged in whatever way
        folder = str(distribution.locate_file(""))
        where = f"{name_of(distribution)} in {folder}".removeprefix(" in ")
        yield Unreadable(f"its entry_points.txt cannot be read: {described(error)}", where, GROUP)
