"""Every verb's help has examples that parse, and the docs' page of the command line names every verb."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ldmkit.cli import main
from ldmkit.recipe import find_recipe

PAGE = Path(__file__).parents[1] / "docs/command-line.md"
ALL = click.Context(main, info_name="ldmkit")
VERBS = main.list_commands(ALL)
BELOW = [f"plugins {name}" for name in main.get_command(ALL, "plugins").commands]
"""Verbs of a verb."""


def examples(verb: str) -> list[str]:
    """The command lines below "Examples:" at the end of a verb's help, as ldmkit is called in them."""
    command = main
    for name in verb.split():
        command = command.get_command(ALL, name)
    section = command.get_help(click.Context(command, parent=ALL)).partition("Examples:\n")[2]
    lines = [re.split(r"\s[>|]\s", line)[0].strip() for line in section.splitlines() if line.strip()]
    return [line[re.search(r"\bldmkit ", line).start() :].removesuffix(')"') for line in lines]


def commands_on_the_page() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.split()[:1] == ["ldmkit"]]


def parse(line: str) -> None:
    """Parses a command line as the program does, with the files there that it says are there."""
    program, *arguments = shlex.split(line)
    assert program == "ldmkit", line
    command, outer = main, main.make_context("ldmkit", arguments, resilient_parsing=False)
    while isinstance(command, click.Group):
        name, command, arguments = command.resolve_command(outer, [*outer._protected_args, *outer.args])
        assert command is not None, line
        parsed = command.make_parser(click.Context(command)).parse_args(list(arguments))[0]
        for parameter in command.params:
            if isinstance(parameter.type, click.Path) and parameter.type.exists:
                lay(parsed.get(parameter.name), folder=not parameter.type.file_okay)
        outer = command.make_context(name, arguments, parent=outer)
    recipe = outer.params.get("recipe")
    imported = str(recipe).startswith("imported/")  # what an example of `import` has made
    assert (
        recipe is None or imported or find_recipe(str(recipe).removeprefix("recipes/").removesuffix(".yaml"))
    ), line


def lay(value: object, folder: bool) -> None:
    """Files or folders of these names."""
    for path in map(Path, value if isinstance(value, list | tuple) else [value] if value else []):
        (path if folder else path.parent).mkdir(parents=True, exist_ok=True)
        if not folder:
            path.touch()


@pytest.mark.parametrize("verb", [*VERBS, *BELOW])
def test_every_verb_has_two_or_three_examples_that_parse(verb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = examples(verb)
    assert 2 <= len(lines) <= 3
    for line in lines:
        assert line.split()[:2] == ["ldmkit", verb.split()[0]]
        parse(line)


def test_the_help_of_every_verb_imports_nothing_heavy():
    code = "import sys, click; from click.testing import CliRunner; from ldmkit.cli import main\n"
    code += "done = [CliRunner().invoke(main, [v, '-h']) for v in main.list_commands(click.Context(main))]\n"
    code += "assert len(done) > 20 and not any(one.exit_code for one in done)\n"
    code += "sys.exit(not {'torch', 'gradio', 'transformers'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_an_example_with_an_option_that_is_gone_would_be_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(click.UsageError, match="No such option"):
        parse("ldmkit check text2img --explained")
    with pytest.raises(click.UsageError, match="No such command"):
        parse("ldmkit chek text2img")


def test_the_page_of_the_command_line_has_an_example_of_every_verb(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = commands_on_the_page()
    assert set(VERBS) - {line.split()[1] for line in lines} == set()
    for line in lines:
        parse(line)
    assert [v for v in VERBS if f"`{v}`" not in PAGE.read_text(encoding="utf-8")] == []
