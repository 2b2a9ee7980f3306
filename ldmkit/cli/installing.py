"""`ldmkit plugins install`, `uninstall` and `check`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from ldmkit.cli import options
from ldmkit.cli.examples import epilog
from ldmkit.cli.tables import table
from ldmkit.hookspecs import API_VERSION
from ldmkit.verbs.installing import Change, installed_plugins

if TYPE_CHECKING:
    from ldmkit.verbs.compatibility import Compatibility

YES = click.option("--yes", is_flag=True, help="Do not ask.")


def _installed(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in installed_plugins() if name.startswith(incomplete)]


@click.command(epilog=epilog("plugins install"))
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@YES
def install(names: tuple[str, ...], yes: bool) -> None:
    """Install plugins with pip: NAME is a distribution, a wheel or a folder.

    What would be new or changed, dependencies among it, is shown before anything is done. pip takes its
    options from its environment variables, as PIP_INDEX_URL.
    """
    from ldmkit.host.plugins import host
    from ldmkit.verbs import installing

    changes = installing.planned(names)
    if not changes:
        click.echo("everything is installed already")
    elif _agreed(changes, "install", yes):
        installing.install(names)
        host.cache_clear()
        _tell([one.name for one in changes])


def _tell(installed: Sequence[str]) -> None:
    """Lists what the plugins among these distributions bring, or why one brings nothing."""
    from ldmkit.host.plugins import host

    plugins = {*installed} & {*installed_plugins()}
    for entry in host().registry:
        if entry.distribution in plugins:
            click.echo(f"{entry.kind} {entry.name}: {entry.summary}")
    for broken in host().broken:
        if broken.distribution in plugins:
            click.echo(f"broken: {broken.distribution} {broken.version}: {broken.error}", err=True)
    if not plugins:
        click.echo(f"{', '.join(installed)} is installed; it is no plugin of ldmkit")


@click.command(epilog=epilog("plugins uninstall"))
@click.argument("name", shell_complete=_installed)
@YES
def uninstall(name: str, yes: bool) -> None:
    """Remove the plugin NAME with pip. What it depends on stays."""
    from ldmkit.verbs import installing

    if _agreed([installing.removal(name)], "uninstall", yes):
        installing.uninstall(name)


def _agreed(changes: Sequence[Change], doing: str, yes: bool) -> bool:
    for change in changes:
        click.echo(change.line())
    return yes or click.confirm(f"{doing}?")


@click.command(epilog=epilog("plugins check"))
@options.json_output
def check(as_json: bool) -> None:
    """Say which plugin works with which version of ldmkit's interfaces, and what breaks.

    A plugin states the version that it was written for (LDMKIT_API). It works with later ones until one
    changes a kind of component that it registers. What it imports of ldmkit should be public. Exit code 1
    where a plugin does not work with this ldmkit.
    """
    from ldmkit.host.plugins import host, plugin_points
    from ldmkit.verbs.compatibility import compatibility

    reports = [compatibility(point, host()) for point in plugin_points()]
    if as_json:
        options.write_json([asdict(one) for one in reports])
    else:
        head = (
            "plugin",
            "version",
            "written for API",
            "works with API",
            f"with this one ({API_VERSION})",
            "",
        )
        table(head, [_row(one) for one in sorted(reports, key=lambda one: one.plugin)])
    if not all(one.works for one in reports):
        raise SystemExit(1)


def _row(one: Compatibility) -> tuple[str, ...]:
    return (
        *(one.plugin, one.version, str(one.written_for or "?")),
        ", ".join(map(str, one.works_with)) or "none",
        "works" if one.works else "breaks",
        "; ".join(one.problems),
    )
