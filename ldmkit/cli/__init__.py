"""The command line: a group whose verbs are imported when they are called. Imports no torch."""

from __future__ import annotations

import importlib
import os
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem, add_completion_class

from ldmkit import __version__
from ldmkit.cli import failures, loudness
from ldmkit.cli.examples import epilog
from ldmkit.cli.shells import Bash, Zsh
from ldmkit.errors import UserError, shortened
from ldmkit.host.contained import described
from ldmkit.verbs import VERBS

if TYPE_CHECKING:
    from ldmkit.host.registry import Entry

add_completion_class(Bash)
add_completion_class(Zsh)


class Verbs(click.Group):
    """Verbs by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Our verbs in the order of work, then those of plugins."""
        return [*VERBS, *_of_plugins()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's own command."""
        if cmd_name not in VERBS:
            return _of_plugin(cmd_name)
        module = cmd_name.replace("-", "_") + ("_" if cmd_name == "import" else "")
        command: click.Command = copy(importlib.import_module(f"ldmkit.cli.{module}").command)
        command.name = cmd_name
        command.epilog = epilog(cmd_name)
        return loudness.with_options(command)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The verbs with their lines of help, without importing them; after a dash, the options."""
        lines = VERBS | {name: entry.summary for name, entry in _of_plugins().items()}
        verbs = [CompletionItem(n, help=line) for n, line in lines.items() if n.startswith(incomplete)]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs' lines of help, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))
        others = [(name, f"{e.summary} ({e.distribution})") for name, e in _of_plugins().items()]
        if others:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(others)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the verb; what it raises ends in one line and an exit code, see `ldmkit.cli.failures`."""
        with failures.reported(debug=ctx.params["debug"]):
            failures.check_working_directory()
            failures.check_locale()
            try:
                return super().invoke(ctx)
            except click.UsageError as error:  # which repeats a value, however long
                raise click.UsageError(shortened(error.format_message()), error.ctx) from error


def _of_plugins() -> dict[str, Entry]:
    """The verbs of installed plugins by name, those that have the name of one of ours aside."""
    from ldmkit.host.plugins import host

    return {e.name: e for e in host().registry if e.kind == "verb" and e.name not in VERBS}


def _of_plugin(name: str) -> click.Command | None:
    """A plugin's command, imported; UserError where that fails."""
    entry = _of_plugins().get(name)
    if entry is None:
        return None
    whose = f"verb '{name}' of {entry.distribution} {entry.version}"
    try:
        command = copy(entry.load())
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a stranger's module may raise anything on import
        raise UserError(f"{whose}: {described(error)}") from error
    if not isinstance(command, click.Command):
        raise UserError(f"{whose}: {entry.target} is {type(command).__name__}, no click.Command")
    command.name = name
    return loudness.with_options(command)


def _use(ctx: click.Context, param: click.Parameter, folders: tuple[Path, ...]) -> None:
    """The plugins of these folders, until the command ends. Eager: the verb may be one of theirs."""
    if not folders:
        return
    from ldmkit.host.plugin_files import used
    from ldmkit.host.plugins import host

    ctx.call_on_close(host.cache_clear)
    try:
        ctx.with_resource(used(folders))
    except UserError as error:
        raise click.BadParameter(str(error), ctx, param) from error
    host.cache_clear()


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ldmkit")
@click.option(
    "--without",
    multiple=True,
    metavar="DISTRIBUTION",
    help="Do not load this distribution's plugins; may be given again and again.",
)
@click.option(
    "--plugins-dir",
    multiple=True,
    is_eager=True,
    expose_value=False,
    callback=_use,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Run the files *.py of this folder as plugins; may be given again and again.",
)
@click.option("--debug", is_flag=True, envvar="LDMKIT_DEBUG", help="Show where in the code an error arises.")
def main(without: tuple[str, ...], debug: bool) -> None:
    """Latent diffusion models from recipes and plugins."""
    if without:
        from ldmkit.host.plugins import WITHOUT, host

        before = os.environ.get(WITHOUT)
        os.environ[WITHOUT] = ",".join([before, *without] if before else without)
        host.cache_clear()


main.params += loudness.options()
