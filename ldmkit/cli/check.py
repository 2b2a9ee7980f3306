"""`ldmkit check`: is a recipe right, and what does it describe?"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ldmkit.cli import options
from ldmkit.cli.completing import RECIPE

if TYPE_CHECKING:
    from ldmkit.engine.system import System
    from ldmkit.host.registry import Registry
    from ldmkit.recipe import Recipe


@click.command()
@click.argument("recipe", type=RECIPE)
@options.overrides
@click.option("--data", is_flag=True, help="Look at the data too: all that a training would read of them.")
@click.option(
    "--explain", "explained", is_flag=True, help="Tell where each value comes from and what it means."
)
@options.any_size
@options.json_output
def command(
    recipe: Path, overrides: tuple[str, ...], data: bool, explained: bool, any_size: bool, as_json: bool
) -> None:
    """Check RECIPE and print it with every default, its latent's shape and its parameter counts.

    Looks at data, and at the weights that it names, with --data alone. What takes more memory than this
    machine has is refused. Structure and the components' names are checked before anything heavy is
    imported. Exit code 2 where something is wrong, with a line for each mistake.
    """
    from ldmkit.host.plugins import host
    from ldmkit.recipe import dump, load, resolve

    registry = host().registry
    loaded = load(recipe, overrides)
    resolved = resolve(loaded, registry)

    # After `resolve`: with errors, it is never needed.
    from ldmkit.verbs.check import inspect, try_numbers, try_out

    system = inspect(resolved, registry)
    try_out(system, any_size=any_size)
    try_numbers(system)
    if as_json:
        options.write_json(_plain(resolved, registry, system, data=data, explained=explained))
        return
    click.echo(_explained(resolved, registry) if explained else dump(resolved))
    click.echo("\n".join(_figures(system)))
    if data:
        click.echo("\n".join(f"# {line}" for line in _looked(system)))


def _looked(system: System) -> list[str]:
    """Checks weights and data, for --data; UserError where a training could not begin with them."""
    from ldmkit.training.data_report import report_data
    from ldmkit.verbs.check import named_weights

    return [*named_weights(system), *report_data(system)]


def _plain(
    recipe: Recipe, registry: Registry, system: System, *, data: bool, explained: bool
) -> dict[str, Any]:
    """The whole description as plain values, for --json."""
    from ldmkit.engine.counting import counts
    from ldmkit.recipe.dump import flat
    from ldmkit.verbs.check import demands
    from ldmkit.verbs.explain import explain

    latent = system.compression.latent
    values = {
        "recipe": [asdict(one) for one in explain(recipe, registry)] if explained else flat(recipe),
        "latent": {"channels": latent.channels, "factor": latent.factor},
        "parameters": [asdict(one) for one in counts(system)],
        "bytes": {one.use: one.together for one in demands(system)},
    }
    return {**values, **({"data": _looked(system)} if data else {})}


def _explained(recipe: Recipe, registry: Registry) -> str:
    """A line a value, as YAML would say it, with its origin and meaning as a comment."""
    from ldmkit.verbs.explain import explain

    return "\n".join(
        f"{one.path}: {json.dumps(one.value, ensure_ascii=False)}  # {one.origin}"
        + (f"; {one.meaning}" if one.meaning else "")
        for one in explain(recipe, registry)
    )


def _figures(system: System) -> list[str]:
    """The latent's shape and the parameters of each component, as comments of the YAML above them."""
    from ldmkit.engine.counting import counts
    from ldmkit.verbs.check import demands, on_disk

    latent = system.compression.latent
    lines = [f"# latent: {latent.channels} x H/{latent.factor} x W/{latent.factor}", "# parameters:"]
    for one in counts(system):
        frozen = one.parameters - one.trainable
        note = (
            "" if not frozen else ", frozen" if frozen == one.parameters else f", {frozen:,} of them frozen"
        )
        lines.append(f"#   {one.part} ({one.component}): {one.parameters:,}{note}")
    lines.append(f"#   together: {sum(one.parameters for one in counts(system)):,}")
    takes = [*(demand.line() for demand in demands(system)), *on_disk(system)]
    return [*lines, "# takes:", *(f"#   {line}" for line in takes)]
