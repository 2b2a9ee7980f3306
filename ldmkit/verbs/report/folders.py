"""What a run folder holds, read so that a damaged file becomes a remark and not an error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ldmkit.disk import read_text
from ldmkit.errors import UserError
from ldmkit.recipe.stages import STAGES
from ldmkit.recipe.yaml import read_file


@dataclass(frozen=True)
class StageRun:
    """One stage of one training, as its folder tells it.

    records: the lines of metrics.jsonl. steps: how many the recipe asks for, None where it is not known.
    remarks: what could not be read.
    """

    stage: str
    folder: Path
    records: tuple[Mapping[str, Any], ...] = ()
    recipe: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    pictures: tuple[Path, ...] = ()
    finished: bool = False
    steps: int | None = None
    remarks: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        """The last step that was logged; 0 before the first."""
        return max((int(r["step"]) for r in self.records), default=0)

    @property
    def seconds(self) -> float:
        """Wall time of the training, over all its resumes."""
        return max((float(r.get("seconds", 0)) for r in self.records), default=0.0)

    @property
    def state(self) -> str:
        """How far the training is, in words."""
        if self.finished:
            return "finished"
        return f"step {self.step} of {self.steps}" if self.steps else f"step {self.step}"

    def last(self, figure: str) -> float | None:
        """The newest value of a figure; None where it was never logged."""
        return next((float(r[figure]) for r in reversed(self.records) if figure in r), None)

    def series(self) -> dict[str, list[tuple[float, float]]]:
        """(step, value) of every figure, by name, in the order of the steps."""
        series: dict[str, list[tuple[float, float]]] = {}
        for record in self.records:
            for name, value in record.items():
                if name not in ("step", "seconds") and isinstance(value, int | float):
                    series.setdefault(name, []).append((float(record["step"]), float(value)))
        return series


def stage_runs(folder: Path) -> list[StageRun]:
    """The stages below a run folder (or the folder of one stage, or a single log file), in their order; of
    several trainings of a stage, the one that was written to last stands last."""
    if folder.is_file():
        return [log_file(folder)]
    if (folder / "metrics.jsonl").exists() or (folder / "versions.json").exists():
        return [stage_folder(folder)]
    inside = [f for f in folder.iterdir() if f.is_dir() and (f / "metrics.jsonl").exists()]
    inside.sort(key=lambda f: ((f / "metrics.jsonl").stat().st_mtime_ns, f.name))
    logs = [log_file(f) for f in sorted(folder.glob("*.jsonl"))]
    return sorted([*map(stage_folder, inside), *logs], key=lambda s: stage_order(s.stage))


def log_file(path: Path) -> StageRun:
    """A log alone: curves without a recipe or pictures."""
    records, remarks = read_records(path)
    return StageRun(path.stem.partition("-")[0], path.parent, records, remarks=remarks)


def stage_folder(folder: Path) -> StageRun:
    """One stage's folder, whatever state it is in."""
    stage = folder.name.partition("-")[0]
    records, remarks = read_records(folder / "metrics.jsonl")
    recipe, versions = _text(folder / "recipe.yaml"), _json(folder / "versions.json")
    if not isinstance(versions, Mapping):
        remarks = (*remarks, "versions.json is missing or not readable")
    return StageRun(
        stage,
        folder,
        records,
        recipe,
        versions if isinstance(versions, Mapping) else {},
        tuple(sorted((folder / "pictures").glob("step-*.png"))),
        (folder / f"{stage}.safetensors").is_file(),
        _steps(folder / "recipe.yaml", stage),
        remarks,
    )


def read_records(path: Path) -> tuple[tuple[Mapping[str, Any], ...], tuple[str, ...]]:
    """The readable lines of a log, and a remark on those that are not."""
    if not path.is_file():
        return (), (f"{path.name} is missing",)
    records, unreadable = [], 0
    for record in _lines(path):
        if record is None:
            unreadable += 1
        else:
            records.append(record)
    count = "1 line" if unreadable == 1 else f"{unreadable} lines"
    verb = "is" if unreadable == 1 else "are"
    remarks = (f"{count} of {path.name} {verb} not readable",) if unreadable else ()
    return tuple(records), remarks


def _lines(path: Path) -> Iterator[Mapping[str, Any] | None]:
    """Each line as a record with a step; None for a line that is none."""
    for line in read_text(path, "replace").split("\n"):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            yield record if isinstance(record, dict) and isinstance(record.get("step"), int) else None
        except (ValueError, RecursionError):
            yield None


def _steps(recipe: Path, stage: str) -> int | None:
    """The steps that the run's recipe asks for."""
    try:
        values, _ = read_file(recipe)
        steps = values["train"][stage]["steps"]
    except (UserError, KeyError, TypeError):
        return None
    return steps if isinstance(steps, int) else None


def _text(path: Path) -> str | None:
    try:
        return read_text(path, "replace")
    except OSError:
        return None


def _json(path: Path) -> Any:
    try:
        return json.loads(_text(path) or "null")
    except (ValueError, RecursionError):
        return None


def stage_order(stage: str) -> tuple[int, str]:
    """What a page sorts stages by: in the order of their training, then adapters by name."""
    return (STAGES.index(stage) if stage in STAGES else len(STAGES), stage)
