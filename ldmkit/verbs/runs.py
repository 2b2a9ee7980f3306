"""`ldmkit runs`: the trainings there are, how far they are, and which of their files can be removed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ldmkit.disk import TRAINING_CACHE
from ldmkit.errors import UserError, did_you_mean
from ldmkit.recipe import known_recipes
from ldmkit.recipe.yaml import read_file
from ldmkit.verbs.report.folders import StageRun, stage_runs


@dataclass(frozen=True)
class Row:
    """A stage of a run as the list shows it; `size` in bytes."""

    run: str
    stage: str
    state: str
    loss: float | None
    validation_loss: float | None
    seconds: float
    size: int
    folder: str

    def plain(self) -> dict[str, Any]:
        """The row as JSON takes it."""
        return asdict(self)


def run_folder(source: str, runs: Path) -> Path:
    """The folder that a run's name, a path, a recipe's file or its name stands for.

    Raises UserError for a recipe without a name and for a name that is no run's.
    """
    path, name = Path(source), source
    if path.is_dir() or path.suffix == ".jsonl":
        return path
    if recipe := named_recipe(source, runs):
        values, _ = read_file(recipe)
        if not isinstance(values, dict) or not isinstance(values.get("name"), str):
            raise UserError(f"{recipe}: no recipe's name in it")
        name = values["name"]
    folder = runs / name
    if not folder.is_dir():
        raise UserError(f"no run '{name}' in {runs}{did_you_mean(name, _names(runs))}")
    return folder


def named_recipe(source: str, runs: Path) -> Path | None:
    """The file of the recipe that is named, by its path or its name; None for a run."""
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        return path
    there = path.exists() or (runs / source).is_dir()
    return None if there else known_recipes().get(source)


def listed(runs: Path, names: Sequence[str] = ()) -> list[Row]:
    """The stages of the runs (by default of all below `runs`), by name."""
    return [
        _row(name, stage) for name in names or _names(runs) for stage in stage_runs(run_folder(name, runs))
    ]


def table(rows: Sequence[Row]) -> str:
    """The rows as text in columns."""
    heads = ("run", "stage", "state", "loss", "validation", "size", "folder")
    lines = [heads, *(_words(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    return "\n".join(
        "  ".join(f"{w:<{n}}" for w, n in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def removable(runs: Path, names: Sequence[str] = ()) -> list[tuple[Path, int]]:
    """(path, bytes) of the checkpoints of finished stages, of the caches of runs whose stages all are, and,
    for all runs together, of what they share where all of them are finished."""
    own = [path for name in names or _names(runs) for path in _removable(run_folder(name, runs))]
    return [(path, size_of(path)) for path in [*own, *([] if names else _shared(runs))]]


def remove(paths: Sequence[Path]) -> None:
    """Removes folders and files; a symbolic link is removed itself, never what it points to."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file() and not f.is_symlink()]
    return sum(f.stat().st_size for f in files)


def bytes_in_words(size: float) -> str:
    """Bytes with a decimal unit: `1.2 GB`."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def _names(runs: Path) -> list[str]:
    if not runs.is_dir():
        return []
    return [f.name for f in sorted(runs.iterdir()) if f.is_dir() and stage_runs(f)]


def _row(name: str, stage: StageRun) -> Row:
    figures = stage.last("loss"), stage.last("validation_loss")
    return Row(
        name, stage.stage, stage.state, *figures, stage.seconds, size_of(stage.folder), str(stage.folder)
    )


def _words(row: Row) -> tuple[str, ...]:
    losses = ("" if v is None else f"{v:.4g}" for v in (row.loss, row.validation_loss))
    return row.run, row.stage, row.state, *losses, bytes_in_words(row.size), row.folder


def _removable(folder: Path) -> Iterator[Path]:
    stages = stage_runs(folder)
    for stage in stages:
        if stage.finished:
            yield from sorted(stage.folder.glob("step-*"))
    if (folder / TRAINING_CACHE).is_dir() and all(stage.finished for stage in stages):
        yield folder / TRAINING_CACHE


def _shared(runs: Path) -> list[Path]:
    """The caches that all trainings share, where all trainings are finished; else nothing."""
    unfinished = any(not stage.finished for name in _names(runs) for stage in stage_runs(runs / name))
    kinds = ("latents-*", "states-*")
    return [] if unfinished else sorted(path for kind in kinds for path in (runs / TRAINING_CACHE).glob(kind))
