"""Plugins installed and removed by pip, after a look at what would change. Imports no torch."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, version
from importlib.util import find_spec

from ldmkit.errors import UserError, did_you_mean, shortened
from ldmkit.hookspecs import GROUP


@dataclass(frozen=True)
class Change:
    """The change that pip would make to one distribution; None: it is not installed before or afterwards."""

    name: str
    before: str | None
    after: str | None

    def line(self) -> str:
        """The change as a line of text."""
        if self.before is None:
            return f"new      {self.name} {self.after}"
        if self.after is None:
            return f"removed  {self.name} {self.before}"
        return f"changed  {self.name} {self.before} -> {self.after}"


def planned(names: Sequence[str]) -> list[Change]:
    """What installing these would change, dependencies among it; nothing is installed.

    names: as pip takes them: a distribution with or without a version, a wheel, a folder. Raises UserError
    with pip's own words where it cannot.
    """
    _check(names)
    report = _pip("install", "--dry-run", "--report", "-", "--", *names)
    packages = [one["metadata"] for one in json.loads(report)["install"]]
    return [Change(one["name"], installed_version(one["name"]), one["version"]) for one in packages]


def install(names: Sequence[str]) -> None:
    """Installs these; UserError as in `planned`."""
    _check(names)
    _pip("install", "--", *names)
    importlib.invalidate_caches()


def removal(name: str) -> Change:
    """What uninstalling a plugin would remove; UserError where no plugin of that name is installed."""
    plugins = installed_plugins()
    if name not in plugins:
        near = did_you_mean(name, plugins)
        raise UserError(f"no plugin '{name}' is installed; there are: {', '.join(plugins) or 'none'}{near}")
    return Change(name, version(name), None)


def uninstall(name: str) -> None:
    """Removes a distribution, and none of those that it needs."""
    _check([name])
    _pip("uninstall", "--yes", "--", name)
    importlib.invalidate_caches()


def installed_plugins() -> list[str]:
    """The distributions that register with ldmkit, sorted."""
    return sorted({one.name for one in Distribution.discover() if _registers(one)})


def _registers(one: Distribution) -> bool:
    return any(point.group == GROUP for point in one.entry_points)


def installed_version(name: str) -> str | None:
    """The version of an installed distribution; None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _check(names: Sequence[str]) -> None:
    if find_spec("pip") is None:
        raise UserError("there is no pip in this environment: python -m ensurepip")
    if bad := [name for name in names if name.startswith("-") or not name.strip()]:
        raise UserError(f"'{bad[0]}' is no plugin's name; set options of pip by its environment variables")


def _pip(*arguments: str) -> str:
    """The output of pip; UserError with pip's own words where it fails."""
    quietly = ("--disable-pip-version-check", "--quiet", "--no-input")
    command = [sys.executable, "-m", "pip", *quietly, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")] or lines
        raise UserError(f"pip {arguments[0]}: {shortened('; '.join(errors), 600)}")
    return done.stdout
