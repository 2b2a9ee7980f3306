"""`ldmkit plugins`: what is installed, and what a component's parameters mean."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from ldmkit.cli import completing, installing, options
from ldmkit.cli.examples import epilog
from ldmkit.cli.tables import table
from ldmkit.errors import UserError, did_you_mean
from ldmkit.host.plugins import Host, host
from ldmkit.host.registry import KINDS, Entry

SLOW = 0.5
"""Seconds from which on a distribution's plugins are told of: every command waits for them."""


class Plugins(click.Group):
    """`plugins KIND NAME` is short for `plugins list KIND NAME`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """What is no verb of ours is of the list."""
        ours = (*self.commands, *ctx.help_option_names)
        return super().parse_args(ctx, args if args and args[0] in ours else ["list", *args])


@click.group(cls=Plugins)
def command() -> None:
    """List what plugins provide; install, uninstall and check them.

    `ldmkit plugins KIND NAME` is short for `ldmkit plugins list KIND NAME`.
    """


command.add_command(installing.install)
command.add_command(installing.uninstall)
command.add_command(installing.check)


def _kind_or_verb(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    verbs = [name for name in command.commands if name.startswith(incomplete)]
    return [*completing.kind(ctx, param, incomplete), *map(CompletionItem, verbs)]


@command.command("list", epilog=epilog("plugins list"))
@click.argument("kind", required=False, shell_complete=_kind_or_verb)
@click.argument("name", required=False, shell_complete=completing.component)
@options.json_output
def list_(kind: str | None, name: str | None, as_json: bool) -> None:
    """List components (of one KIND), or the parameters of the component of a KIND and NAME.

    A table on a terminal, tab-separated lines elsewhere, or JSON with every parameter.
    """
    if kind is not None and kind not in KINDS:
        raise UserError(f"no kind '{kind}'; there are: {', '.join(KINDS)}{did_you_mean(kind, KINDS)}")
    entry = None if kind is None or name is None else host().registry.get(kind, name)
    if as_json:
        from ldmkit.host.catalogue import described

        rows = [row for row in described(host().registry, kind) if entry is None or row["name"] == entry.name]
        options.write_json(rows)
    elif entry is not None:
        _show_component(entry)
    else:
        _show_all(host(), kind)


def _show_all(loaded: Host, kind: str | None) -> None:
    rows = [
        (e.kind, e.name, e.distribution, e.version, e.summary)
        for e in loaded.registry
        if kind in (None, e.kind)
    ]
    table(("kind", "name", "distribution", "version", "what it is"), rows)
    for broken in loaded.broken:
        click.echo(f"broken: {broken.distribution} {broken.version}: {broken.error}")
    for distribution, seconds in loaded.seconds.items():
        if seconds > SLOW:
            click.echo(f"slow: {distribution} took {seconds:.1f} s to import and register")


def _show_component(entry: Entry) -> None:
    from ldmkit.host.catalogue import WITHOUT_PARAMETERS, parameters

    click.echo(f"{entry.kind} {entry.name}, of {entry.distribution} {entry.version}: {entry.summary}")
    rows = [(p.name, p.type, p.default, p.meaning) for p in parameters(entry)]
    if rows:
        click.echo()
        table(("parameter", "type", "default", "meaning"), rows)
    elif entry.kind not in WITHOUT_PARAMETERS:
        click.echo("It has no parameters.")
