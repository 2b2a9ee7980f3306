"""Imports point one way; the core knows no plugin, a plugin knows no other, hooks import no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "ldmkit"
PLUGINS = sorted(path for path in (ROOT / "plugins").iterdir() if (path / "src").is_dir())
LAYERS = (
    {"errors", "types", "__init__"},
    {"interfaces", "pictures"},
    {"hookspecs"},
    {"host"},
    {"recipe"},
    {"checkpoint"},
    {"engine", "guidance"},
    {"training", "evaluation", "interchange"},
    {"verbs"},
    {"testing", "cli", "__main__"},
)
"""From the ground up; within a layer imports are free."""
WITHOUT_TORCH = ("errors", "hookspecs", "host", "recipe", "cli")


def imported(path: Path, *, top: bool = False) -> list[str]:
    """Modules that a file imports: everywhere in it, or (`top`) when it is imported itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(_at_import(tree.body)) if top else list(ast.walk(tree))
    found = []
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def _at_import(body: list[ast.stmt]):
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        for inner in ("body", "orelse", "finalbody"):
            if not isinstance(node, ast.FunctionDef):
                yield from _at_import(getattr(node, inner, []))


def layer(part: str) -> int:
    found = [i for i, parts in enumerate(LAYERS) if part in parts]
    assert found, f"ldmkit.{part} stands in no layer: give it its place in LAYERS"
    return found[0]


def test_the_core_imports_no_plugin():
    for path in CORE.rglob("*.py"):
        assert not [name for name in imported(path) if name.startswith("ldmkit_")], path


def test_the_core_imports_downwards_only():
    wrong = []
    for path in CORE.rglob("*.py"):
        own = path.relative_to(CORE).parts[0].removesuffix(".py")
        for name in imported(path, top=True):
            package, *rest = name.split(".")
            if package != "ldmkit" or not rest:
                continue
            other = rest[0] if (CORE / rest[0]).is_dir() or (CORE / f"{rest[0]}.py").exists() else "__init__"
            if other != own and layer(other) > layer(own):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_imports_the_core_and_itself_alone(plugin):
    (package,) = [path.name for path in (plugin / "src").iterdir() if (path / "__init__.py").exists()]
    for path in plugin.rglob("*.py"):
        ours = {name.split(".")[0] for name in imported(path) if name.startswith("ldmkit_")}
        if "tests" not in path.relative_to(plugin).parts:
            assert ours <= {package}, path


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_uses_no_private_name_of_the_core(plugin):
    for path in (plugin / "src").rglob("*.py"):
        for name in imported(path):
            if name.startswith("ldmkit."):
                assert not any(part.startswith("_") for part in name.split(".")), f"{path}: {name}"


def test_what_answers_at_once_imports_no_torch():
    modules = [m for part in WITHOUT_TORCH for m in _modules(part)]
    code = f"import {', '.join(modules)}, sys; ldmkit.host.plugins.host(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def _modules(part: str) -> list[str]:
    if (CORE / f"{part}.py").exists():
        return [f"ldmkit.{part}"]
    return [f"ldmkit.{part}.{path.stem}" for path in (CORE / part).glob("*.py") if path.stem != "__init__"]
