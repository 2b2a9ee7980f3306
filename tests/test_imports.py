"""Imports point one way; the core knows no plugin, a plugin knows no other, hooks import no torch."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import ldmkit
from ldmkit.hookspecs import PUBLIC
from ldmkit.verbs.compatibility import is_public

ROOT = Path(__file__).parents[1]
CORE = ROOT / "ldmkit"
MAP = ROOT / "docs/architecture.md"
PLUGINS = sorted(path for path in (ROOT / "plugins").iterdir() if (path / "src").is_dir())
ROOMS = (
    "errors",
    "disk",
    "progress",
    "splits",
    "types",
    "frozen",
    "pictures",
    "interfaces",
    "hookspecs",
    "host",
    "keymaps",
    "recipe",
    "checkpoint",
    "artifacts",
    "guidance",
    "engine",
    "training",
    "evaluation",
    "interchange",
    "verbs",
    "testing",
    "__init__",
    "cli",
    "__main__",
)
"""The modules and packages of the core from the ground up: each imports those before it alone."""
WITHOUT_TORCH = ("errors", "disk", "progress", "hookspecs", "host", "recipe", "cli")


def imported(path: Path) -> list[str]:
    """Everything that a file imports, in functions and for type checkers too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def room_of(module: str) -> str:
    """The room of an imported name of the core."""
    part = module.split(".")[1]
    return part if (CORE / part).is_dir() or (CORE / f"{part}.py").exists() else "__init__"


@cache
def arrows() -> list[tuple[Path, str, str]]:
    """(file, its room, imported name) of each import from one room of the core into another."""
    return list(_arrows())


def _arrows() -> Iterator[tuple[Path, str, str]]:
    for path in CORE.rglob("*.py"):
        own = path.relative_to(CORE).parts[0].removesuffix(".py")
        for name in imported(path):
            if name.startswith("ldmkit.") and room_of(name) != own:
                yield path, own, name


def test_every_room_has_its_place():
    there = {path.stem for path in CORE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there == set(ROOMS)


def test_the_core_imports_no_plugin():
    for path in CORE.rglob("*.py"):
        assert not [name for name in imported(path) if name.startswith("ldmkit_")], path


def test_a_room_imports_the_rooms_below_it_alone():
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, own, name in arrows()
        if ROOMS.index(room_of(name)) > ROOMS.index(own)
    ]
    assert wrong == []


def test_the_map_of_the_architecture_page_is_that_of_the_imports():
    below = {room: {room_of(name) for _, own, name in arrows() if own == room} for room in ROOMS}
    for room in ROOMS:  # from the ground up: those that are complete below are so above
        below[room] = below[room].union(*(below[other] for other in below[room]))
    straight = {room: {room_of(n) for _, own, n in arrows() if own == room} for room in ROOMS}
    drawn = set(re.findall(r"^ {4}(\w+) --> (\w+)$", MAP.read_text(encoding="utf-8"), re.MULTILINE))
    needed = {
        (room, other)
        for room, others in straight.items()
        for other in others
        if not any(other in below[between] for between in others)
    }
    told = f"{MAP.name}: draw {sorted(needed - drawn)}, remove {sorted(drawn - needed)}"
    assert drawn == needed, told


def test_no_modules_import_each_other_in_a_circle():
    files = {_module(path): path for path in CORE.rglob("*.py")}
    graph = {
        name: {_nearest(target, files) for target in imported(path) if target.startswith("ldmkit.")} - {name}
        for name, path in files.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError with the modules of a circle


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _nearest(name: str, modules: dict[str, Path]) -> str:
    """The module of an imported name: itself, or what stands before its last dot."""
    return name if name in modules else name.rpartition(".")[0]


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_imports_the_core_and_itself_alone(plugin):
    (package,) = [path.name for path in (plugin / "src").iterdir() if (path / "__init__.py").exists()]
    for path in plugin.rglob("*.py"):
        ours = {name.split(".")[0] for name in imported(path) if name.startswith("ldmkit_")}
        if {"tests", "scripts"}.isdisjoint(path.relative_to(plugin).parts):  # no wheel holds those
            assert ours <= {package}, path


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_imports_public_modules_of_the_core_alone(plugin):
    for path in (plugin / "src").rglob("*.py"):
        for name in imported(path):
            if name.startswith("ldmkit."):
                assert is_public(name), f"{path}: {name} is in no module of ldmkit.hookspecs.PUBLIC"


def test_every_public_module_is_there_and_in_the_guide():
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for module in PUBLIC:
        assert importlib.util.find_spec(module), module
        assert f"`{module}`" in guide, module


def test_the_package_shows_its_public_names():
    assert {"System", "build", "load"} <= set(dir(ldmkit))
    assert all(callable(getattr(ldmkit, name)) for name in ldmkit.__all__)


@pytest.mark.parametrize("package", [CORE, *(p.parent for p in ROOT.glob("plugins/*/src/*/__init__.py"))])
def test_every_package_says_that_it_is_typed(package):
    assert (package / "py.typed").exists()


def test_what_answers_at_once_imports_no_torch():
    modules = [m for part in WITHOUT_TORCH for m in _modules(part)]
    code = f"import {', '.join(modules)}, sys; ldmkit.host.plugins.host(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_what_only_draws_imports_nothing_of_training():
    code = "import sys, ldmkit.verbs.run, ldmkit.verbs.train; sys.exit('ldmkit.training' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def _modules(part: str) -> list[str]:
    if (CORE / f"{part}.py").exists():
        return [f"ldmkit.{part}"]
    return [f"ldmkit.{part}.{path.stem}" for path in (CORE / part).glob("*.py") if path.stem != "__init__"]
