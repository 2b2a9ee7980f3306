"""`ldmkit report`: a page to look at a run."""

from __future__ import annotations

from pathlib import Path

import click

from ldmkit.cli import options


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="RUN|RECIPE...")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="The HTML file.",
)
@options.runs
def command(sources: tuple[str, ...], out: Path, runs: Path) -> None:
    """Write one self-contained HTML file that shows a training: a sample of its data, curves, pictures over
    the steps, samples, evaluation, recipe. Several runs are drawn over one another.

    RUN is a run's name or folder, the folder of one stage, or a log (metrics.jsonl); a RECIPE stands for the
    run of its name, whose data are looked for from the RECIPE's folder, else from this one. A training under
    way and a damaged one can be looked at too.
    """
    from ldmkit.verbs.report import write_report
    from ldmkit.verbs.runs import named_recipe, run_folder

    beside = [recipe.parent for source in sources if (recipe := named_recipe(source, runs))]
    page = write_report([run_folder(source, runs) for source in sources], out, beside)
    click.echo(f"report: {page}")
