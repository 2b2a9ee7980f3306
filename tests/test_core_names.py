"""The core knows no component of a plugin by name: none stands in its sources as a string."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from ldmkit.host.plugins import host

CORE = Path(__file__).parents[1] / "ldmkit"
OTHERS = ("weights", "recipe", "verb")


def strings(path: Path) -> Iterator[str]:
    """String literals of a file that could be names: without spaces, so no docstrings or messages."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            yield node.value


def test_no_component_of_a_plugin_is_named_in_the_core():
    names = {
        name for entry in host().registry if entry.kind not in OTHERS for name in (entry.name, *entry.former)
    }
    names |= {part for name in names if "/" in name for part in name.split("/")}
    found = []
    for path in CORE.rglob("*.py"):
        inside = path.relative_to(CORE).as_posix()
        found += [f"{inside}: {text!r}" for text in strings(path) if text in names]
    assert sorted(found) == []
