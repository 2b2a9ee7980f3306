"""Pages of the site that come out of the program itself: components, commands, llms.txt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig

from ldmkit.cli import main
from ldmkit.cli.new_plugin import USAGE
from ldmkit.host.catalogue import WITHOUT_PARAMETERS, described
from ldmkit.host.plugins import host
from ldmkit.host.registry import KINDS

DOCS = Path(__file__).parent


def on_pre_build(config: MkDocsConfig) -> None:
    """Writes the generated pages beside the others; git ignores them."""
    for path, text in generated().items():
        target = DOCS / path
        target.parent.mkdir(exist_ok=True)
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")


def generated() -> dict[str, str]:
    """Path and text of every generated page."""
    kinds = [kind for kind in KINDS if kind not in WITHOUT_PARAMETERS]
    pages = {f"components/{kind}.md": component_page(kind) for kind in kinds}
    rows = "\n".join(f"| [{kind}]({kind}.md) | {KINDS[kind]} |" for kind in kinds)
    index = (
        f"# Components\n\nWhat the installed plugins provide.\n\n| kind | what it is |\n|---|---|\n{rows}\n"
    )
    return {**pages, "components/index.md": index, "commands.md": commands_page(), "llms.txt": llms()}


def component_page(kind: str) -> str:
    """The page of a kind: every component with its parameters and how a recipe names it."""
    lines = [f"# {kind.capitalize()}", "", f"{KINDS[kind].capitalize()}.", ""]
    for one in described(host().registry, kind):
        lines += [f"## {one['name']}", "", f"{one['summary']} From `{one['distribution']}`.", ""]
        if kind in USAGE:
            lines += ["```yaml", USAGE[kind].format(one=_example(one)), "```", ""]
        lines += [*_parameters(one.get("parameters", [])), ""]
    return "\n".join(lines)


def _example(one: dict[str, Any]) -> str:
    required = [f"{p['name']}: ..." for p in one.get("parameters", []) if p["default"] == "required"]
    return "{" + ", ".join([f"name: {one['name']}", *required]) + "}"


def _parameters(rows: list[dict[str, str]]) -> Iterator[str]:
    if not rows:
        yield "It has no parameters."
        return
    yield from ("| parameter | type | default | meaning |", "|---|---|---|---|")
    for row in rows:
        cells = (f"`{row['name']}`", row["type"], f"`{row['default']}`", row["meaning"])
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |"


def commands_page() -> str:
    """Every verb with its help, as `ldmkit VERB --help` prints it."""
    context = click.Context(main, info_name="ldmkit")
    lines = ["# Commands", ""]
    for verb in main.list_commands(context):
        command = main.get_command(context, verb)
        assert command is not None
        text = command.get_help(click.Context(command, info_name=verb, parent=context))
        lines += [f"## ldmkit {verb}", "", "```text", text, "```", ""]
    return "\n".join(lines)


def llms() -> str:
    """The map of the docs for language models: one line a page."""
    lines = ["# ldmkit", "", "> A plugin-based toolkit for latent diffusion models.", "", "## Pages", ""]
    for path in sorted(DOCS.glob("*.md")):
        if ".ko." not in path.name:
            title = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
            lines.append(f"- [{title}]({path.name})")
    return "\n".join([*lines, "", "## Components", "", *_components()]) + "\n"


def _components() -> Iterator[str]:
    for entry in host().registry:
        if entry.kind not in WITHOUT_PARAMETERS:
            yield f"- {entry.kind} `{entry.name}`: {entry.summary}"
