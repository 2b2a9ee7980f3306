"""`ldmkit serve`: a page in the browser to try a recipe."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from ldmkit.errors import UserError

EXAMPLES = """\b
Examples:
  ldmkit serve text2img
  ldmkit serve semantic2img --port 8000
"""


@click.command(epilog=EXAMPLES)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=7860, show_default=True, help="0 for a free one."
)
@click.option("--share", is_flag=True, help="Open a public link through gradio's service.")
@click.option(
    "--queue",
    type=click.IntRange(1, 1000),
    default=16,
    show_default=True,
    help="Requests that wait, at most.",
)
@click.option(
    "-s", "--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Replace a value of the recipe."
)
@click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Folder of trainings and their outputs.",
)
def command(
    recipe: Path, host: str, port: int, share: bool, queue: int, overrides: tuple[str, ...], runs: Path
) -> None:
    """Serve a page on which RECIPE's pictures are drawn: its controls follow from the recipe's conditioners.

    The page is reachable from this machine alone unless --host says otherwise. Trains nothing. Needs gradio:
    pip install 'ldmkit-serve[web]'.
    """
    if importlib.util.find_spec("gradio") is None:
        raise UserError("ldmkit serve needs gradio: pip install 'ldmkit-serve[web]'")
    import os

    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

    import ldmkit
    from ldmkit_serve.app import launch

    system = ldmkit.build(recipe, overrides, runs=runs)
    out = runs / system.recipe.name / "served"
    launch(system, out, host=host, port=port, share=share, queue=queue, overrides=overrides)
