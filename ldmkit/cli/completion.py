"""`ldmkit completion`: the script that teaches a shell the verbs, options, recipes and overrides."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script for SHELL that completes verbs, options, recipes, components and overrides.

    Read it at each start of the shell: bash 4.4 or newer from ~/.bashrc, zsh from ~/.zshrc, fish from
    ~/.config/fish/completions/ldmkit.fish.
    """
    program = click.get_current_context().find_root().command
    script = get_completion_class(shell)
    assert script is not None
    click.echo(script(program, {}, "ldmkit", "_LDMKIT_COMPLETE").source())
