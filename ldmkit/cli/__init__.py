"""The command line: a group whose verbs are imported when they are called. Imports no torch."""

from __future__ import annotations

import importlib
import os
from typing import Any

import click

from ldmkit import __version__
from ldmkit.cli import failures

VERBS = {
    "run": "Make what a recipe needs and has not, then its pictures.",
    "train": "Train a recipe's stages.",
    "sample": "Make pictures from weights that are there already.",
    "evaluate": "Measure a trained recipe.",
    "report": "Write a page that shows a training.",
    "runs": "List the trainings at hand, or clean them.",
    "encode": "Turn a folder of pictures into latents.",
    "decode": "Turn latents back into pictures.",
    "check": "Check a recipe; touches neither data nor weights.",
    "plugins": "List what the installed plugins provide.",
    "recipes": "List the recipes at hand.",
    "schema": "Write the JSON Schema of recipes, for editors.",
    "import": "Read published weights.",
    "export": "Write weights in a published format.",
    "new-plugin": "Write the skeleton of a plugin.",
}
"""Each verb and its line of help; the verb's module is imported only when it is called."""


class Verbs(click.Group):
    """Verbs by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of work."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's own command."""
        if cmd_name not in VERBS:
            return None
        module = cmd_name.replace("-", "_") + ("_" if cmd_name == "import" else "")
        command: click.Command = importlib.import_module(f"ldmkit.cli.{module}").command
        command.name = cmd_name
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs' lines of help, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the verb; what it raises ends in one line and an exit code, see `ldmkit.cli.failures`."""
        with failures.reported(debug=ctx.params["debug"]):
            return super().invoke(ctx)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ldmkit")
@click.option(
    "--without",
    multiple=True,
    metavar="DISTRIBUTION",
    help="Do not load this distribution's plugins; may be given again and again.",
)
@click.option("--debug", is_flag=True, envvar="LDMKIT_DEBUG", help="Show where in the code an error arises.")
def main(without: tuple[str, ...], debug: bool) -> None:
    """Latent diffusion models from recipes and plugins."""
    if without:
        from ldmkit.host.plugins import WITHOUT, host

        before = os.environ.get(WITHOUT)
        os.environ[WITHOUT] = ",".join([before, *without] if before else without)
        host.cache_clear()
