"""The plugin host: entry points loaded one at a time, failures kept and shown."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from ldmkit import hookspecs
from ldmkit.errors import UserError
from ldmkit.host.registry import Collector, Registry

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


def load_plugins(points: Iterable[EntryPoint], without: Collection[str] = ()) -> Host:
    """Loads each entry point by itself: one that raises is kept with its error, the others serve."""
    registry, broken = Registry(), []
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    for point in sorted(points, key=lambda p: (_origin(p)[0], p.name)):
        distribution, version = _origin(point)
        if distribution in without:
            continue
        try:
            _load_one(manager, point, Collector(distribution, version), registry)
        except (Exception, SystemExit) as error:  # a plugin may raise anything; none may stop the others
            broken.append(Broken(distribution, version, f"{type(error).__name__}: {error}"))
    registry.broken = [f"{b.distribution} {b.version} ({b.error})" for b in broken]
    return Host(registry, tuple(broken))


@cache
def host() -> Host:
    """The host of the installed plugins, without those that LDMKIT_WITHOUT names.

    Raises UserError where that names a distribution that provides no plugin.
    """
    points = list(entry_points(group=hookspecs.GROUP))
    without = {name.strip() for name in os.environ.get(WITHOUT, "").split(",")} - {""}
    unknown = without - {_origin(p)[0] for p in points}
    if unknown:
        raise UserError(f"{WITHOUT}: no plugin comes from {', '.join(sorted(unknown))}")
    return load_plugins(points, without)


def _origin(point: EntryPoint) -> tuple[str, str]:
    """The distribution's name and version."""
    return (point.dist.name, point.dist.version) if point.dist else (point.value, "?")


def _load_one(
    manager: pluggy.PluginManager, point: EntryPoint, registrar: Collector, registry: Registry
) -> None:
    plugin = point.load()
    _check_api(plugin)
    manager.register(plugin, name=f"{registrar.distribution}:{point.name}")
    try:
        manager.check_pending()  # a misspelt hook is an error, not a plugin that does nothing
        others = [p for p in manager.get_plugins() if p is not plugin]
        hook = manager.subset_hook_caller("ldmkit_register", others)
        if not hook.get_hookimpls():
            raise ValueError("implements no ldmkit_register hook (is it marked with @hookimpl?)")
        hook(registry=registrar)
        _check_kinds(plugin, registrar)
        _join(registry, registrar)
    except BaseException:
        manager.unregister(plugin)
        raise


def _check_api(plugin: Any) -> None:
    stated = getattr(plugin, "LDMKIT_API", None)
    if stated not in range(1, hookspecs.API_VERSION + 1):
        raise ValueError(f"states LDMKIT_API = {stated}; this ldmkit provides {hookspecs.API_VERSION}")


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


def _join(registry: Registry, registrar: Collector) -> None:
    """All of a plugin's entries or none."""
    trial = Registry()
    for entry in [*registry, *registrar.entries]:
        trial.add(entry)
    for entry in registrar.entries:
        registry.add(entry)
