"""A component says in plain words what is wrong; the host adds kind, name and place in the recipe."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from ldmkit.cli import main
from ldmkit.engine.components import build
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.recipe import Component

SOURCES = sorted((Path(__file__).parents[1] / "plugins").glob("*/src/**/*.py"))


def openings(path: Path) -> Iterator[str]:
    """How the messages of the ValueErrors and UserErrors of a file begin."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            first = node.exc.args[0]
            text = first.values[0] if isinstance(first, ast.JoinedStr) else first
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield text.value


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_message_begins_with_the_name_of_a_component(path):
    names = {entry.name for entry in host().registry}
    assert [text for text in openings(path) if text.partition(":")[0] in names and ":" in text] == []


def test_what_a_constructor_refuses_comes_with_kind_and_name():
    recipe = Component(name="image-folder", parameters={"path": "nowhere-at-all", "size": 8})
    with pytest.raises(UserError, match=r"^data \(image-folder\): no folder .*nowhere-at-all"):
        build(host().registry, "data", recipe)


def test_a_very_long_value_of_an_option_is_not_repeated_whole():
    result = CliRunner().invoke(main, ["sample", "text2img", "--seed", "0x" + "f" * 20_000])
    assert result.exit_code == 2
    assert "Invalid value for '--seed'" in result.stderr
    assert len(result.stderr) < 1500
