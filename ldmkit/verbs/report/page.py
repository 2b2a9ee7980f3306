"""The page: what the run folders hold, put into one self-contained HTML file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

import ldmkit
from ldmkit.disk import read_text, write_text
from ldmkit.errors import UserError
from ldmkit.verbs.report.charts import Chart, chart
from ldmkit.verbs.report.folders import StageRun, stage_order, stage_runs
from ldmkit.verbs.report.pictures import MAX_SIDE, Picture, source_of
from ldmkit.verbs.report.recipes import chosen, differences, problem, spelled
from ldmkit.verbs.report.remembered import kept_sample
from ldmkit.verbs.report.seen import Sample, sample_of

MAX_STEPS = 24
"""Pictures over the steps that the slider shows, evenly chosen, the last one among them."""
MAX_SAMPLES = 24
ORDER = ("loss", "validation", "nll", "penalty", "generator", "gradient", "lr", "pictures_per_second")
"""The order of the curves by the beginnings of their names; others follow by name."""
TITLES = {"gradient": "gradient norm", "lr": "learning rate", "pictures_per_second": "pictures a second"}
"""What the page calls the figures of a log; of others it writes the underscores as spaces."""


@dataclass(frozen=True)
class Run:
    """One run: its name on the page, its folder, its stages."""

    name: str
    folder: Path
    stages: tuple[StageRun, ...]


def write_report(folders: Sequence[Path], out: Path, beside: Sequence[Path] = ()) -> Path:
    """Writes the report of the runs in `folders` to the file `out`.

    Each folder is a run (`runs/NAME`), one stage of a run, or a log (`.jsonl`). `beside` are folders of the
    runs' recipes, from which relative paths of data may start. Raises UserError for a folder that holds none
    of these.
    """
    runs = [_run(folder, i) for i, folder in enumerate(folders)]
    environment = Environment(
        loader=PackageLoader("ldmkit.verbs.report", "."), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["duration"] = duration
    page = environment.get_template("report.html.jinja").render(
        title=" and ".join(run.name for run in runs),
        version=ldmkit.__version__,
        runs=runs,
        stages=[section for stage in _stages(runs) if (section := _stage(stage, runs))],
        data=list(_data(runs, beside)),
        chosen=_recipe(runs),
        differing=differences(_recipes(runs)) if len(runs) > 1 else [],
        evaluations=[evaluation for run in runs if (evaluation := _evaluation(run))],
        samples=[(run.name, shown) for run in runs if (shown := _samples(run.folder / "samples"))],
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, page)
    return out


def duration(seconds: float) -> str:
    """Seconds as `2 h 5 min`, `3 min 4 s` or `12 s`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _run(folder: Path, index: int) -> Run:
    if not folder.exists():
        raise UserError(f"{folder}: no such run; `ldmkit runs` lists those there are")
    stages = tuple(stage_runs(folder))
    if not stages:
        raise UserError(f"{folder}: holds no training (no stage folder with a metrics.jsonl)")
    name = folder.stem if folder.is_file() else folder.name
    return Run(f"{index + 1}: {name}", folder, stages) if index else Run(name, folder, stages)


def _stages(runs: Sequence[Run]) -> list[str]:
    names = dict.fromkeys(stage.stage for run in runs for stage in run.stages)
    return sorted(names, key=stage_order)


def _stage(name: str, runs: Sequence[Run]) -> Mapping[str, Any] | None:
    """What the page shows of one stage of all runs: of several trainings in a run's folder the newest."""
    held = {run.name: stage for run in runs for stage in run.stages if stage.stage == name}
    series = {label: stage.series() for label, stage in held.items()}
    figures = sorted({f for s in series.values() for f in s}, key=_figure_order)
    charts = [
        drawn
        for figure in figures
        if (drawn := chart(_title(figure), {label: s.get(figure, []) for label, s in series.items()}))
    ]
    pictures = {label: list(_over_steps(stage)) for label, stage in held.items() if stage.pictures}
    times = {label: _times(stage) for label, stage in held.items()}
    older = [s.folder for run in runs for s in run.stages if s.stage == name and s is not held[run.name]]
    broken = [path for stage in held.values() for path in _shown(stage) if source_of(path) is None]
    section = {"name": name, "charts": charts, "pictures": pictures, "times": times}
    return {**section, "older": older, "broken": broken}


def _title(figure: str) -> str:
    return TITLES.get(figure, figure.replace("_", " "))


def _figure_order(name: str) -> tuple[int, str]:
    return next((i for i, start in enumerate(ORDER) if name.startswith(start)), len(ORDER)), name


def _times(stage: StageRun) -> Mapping[str, float]:
    """Seconds of the steps themselves, as the logged speed gives them, and of everything beside them."""
    batch = _batch(stage)
    speeds = [r for r in stage.records if r.get("pictures_per_second")]
    if batch is None or not speeds:
        return {"all": stage.seconds}
    before = [0, *(int(r["step"]) for r in speeds)]
    spans = zip(before, speeds, strict=False)
    steps = sum((int(r["step"]) - b) * batch / float(r["pictures_per_second"]) for b, r in spans)
    beside = max(0.0, stage.seconds - steps)
    return {"all": stage.seconds, "steps": steps, "validation, pictures, checkpoints": beside}


def _batch(stage: StageRun) -> int | None:
    values = chosen(stage.folder / "recipe.yaml") if stage.recipe else None
    batch = (values or {}).get(f"train.{stage.stage}.batch")
    return batch if isinstance(batch, int) else None


def _recipes(runs: Sequence[Run]) -> dict[str, Path]:
    """The recipe of each run that has one: that of its last stage."""
    stages = {run.name: [s for s in run.stages if s.recipe] for run in runs}
    return {name: held[-1].folder / "recipe.yaml" for name, held in stages.items() if held}


def _recipe(runs: Sequence[Run]) -> list[tuple[str, list[tuple[str, str]], str | None, str]]:
    """(run, its values that are not defaults, why it cannot be read, its whole text)."""
    lines = []
    for name, path in _recipes(runs).items():
        rows = [(key, spelled(value)) for key, value in (chosen(path) or {}).items()]
        lines.append((name, rows, problem(path), read_text(path, "replace")))
    return lines


def _data(runs: Sequence[Run], beside: Sequence[Path]) -> Iterator[Sample]:
    """What the training of each run sees: the sample that it keeps, else one of the data that its recipe
    names, where it can be read."""
    for name, path in _recipes(runs).items():
        sample = kept_sample(name, path.parent)
        if sample is None and chosen(path) is not None:
            sample = sample_of(name, path, beside)
        if sample is not None:
            yield sample


def _shown(stage: StageRun) -> list[Path]:
    """The files of the pictures over the steps that the page shows."""
    paths = stage.pictures
    count = min(MAX_STEPS, len(paths))
    return [paths[round(i * (len(paths) - 1) / max(1, count - 1))] for i in range(count)]


def _over_steps(stage: StageRun) -> Iterator[Picture]:
    for path in _shown(stage):
        source = source_of(path)
        if source:
            yield Picture(source, f"step {int(path.stem.removeprefix('step-')):,}")


def _samples(folder: Path) -> list[Picture]:
    """Pictures of the run's samples folder, with what they were asked to show."""
    from ldmkit.pictures.png import read_about

    pictures = []
    for path in sorted(folder.glob("*.png"))[: MAX_SAMPLES + 1]:
        if path.name == "grid.png":
            continue
        source = source_of(path)
        if source is None:
            pictures.append(Picture("", f"{path.name} is not readable"))
            continue
        try:
            about = read_about(path)
        except UserError:
            about = {}
        hidden = ("recipe", "digest", "weights", "frozen", "data", "options")
        about = {"prompt": about.pop("prompt"), **about} if "prompt" in about else about
        words = ", ".join(f"{k} {v}" if k != "prompt" else v for k, v in about.items() if k not in hidden)
        pictures.append(Picture(source, words[:200] or path.name))
    return pictures


def _evaluation(run: Run) -> Mapping[str, Any] | None:
    """The tables of `ldmkit evaluate` and its contact sheet, where the run has them."""
    path = run.folder / "evaluation" / "metrics.json"
    try:
        report = json.loads(read_text(path))
        tables = [(str(m["name"]), list(_figures(m["figures"]))) for m in report["metrics"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    older = any(_newer(one.folder / f"{one.stage}.safetensors", path) for one in run.stages)
    return {
        "run": run.name,
        "tables": tables,
        "older": older,
        "sheet": source_of(path.parent / "contact.png", 2 * MAX_SIDE),
    }


def _newer(weights: Path, report: Path) -> bool:
    """Whether a training ended after the report was written."""
    return weights.is_file() and weights.stat().st_mtime > report.stat().st_mtime


def _figures(figures: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _figures(value, f"{prefix} {name}".strip())
        else:
            yield f"{prefix} {name}".strip(), f"{value:.4g}" if isinstance(value, float) else str(value)


__all__ = ["Chart", "duration", "write_report"]
