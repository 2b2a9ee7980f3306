"""The run store: one folder a stage, holding its steps, metrics, pictures and finished weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ldmkit.checkpoint import files

KEPT = 2
"""Step folders kept: the newest, and one to fall back on."""
TensorGroups = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class Snapshot:
    """A step read back: tensors by group ("model", "ema", "optimizer"...) and the JSON state."""

    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]


class RunStore:
    """`runs/<name>/<stage>-<digest>/`: step folders, `latest`, metrics.jsonl, pictures/, weights.

    A step is written aside, synced, sealed with checksums and renamed; `latest` names it last, so that a kill
    at any moment leaves the step before. Only the main process writes.
    """

    def __init__(self, folder: Path, stage: str) -> None:
        self.folder = folder
        self.metrics = folder / "metrics.jsonl"
        self.weights = folder / f"{stage}.safetensors"
        self.raw_weights = folder / f"{stage}.raw.safetensors"
        self.pictures = folder / "pictures"

    @property
    def finished(self) -> bool:
        """Is the stage trained to its end? The weights to use are the last file of a training."""
        return self.weights.is_file()

    def open(self, recipe: str, versions: Mapping[str, str]) -> None:
        """Makes the folder, clears what a kill left half-written, notes the resolved recipe and versions."""
        self.pictures.mkdir(parents=True, exist_ok=True)
        for aside in self.folder.glob(".tmp-*"):
            shutil.rmtree(aside) if aside.is_dir() else aside.unlink()
        files.write_text(self.folder / "recipe.yaml", recipe)
        files.write_json(self.folder / "versions.json", dict(versions))

    def steps(self) -> list[int]:
        """The steps that have a folder, oldest first."""
        return sorted(int(f.name.removeprefix("step-")) for f in self.folder.glob("step-*"))

    def save(self, step: int, tensors: TensorGroups, state: Mapping[str, Any]) -> None:
        """Writes a step; afterwards it is the latest, and all but the newest two are gone."""
        aside = self.folder / f".tmp-step-{step:08d}"
        aside.mkdir(parents=True)
        for group, named in tensors.items():
            files.write_tensors(aside / f"{group}.safetensors", named)
        files.write_json(aside / "state.json", {**state, "step": step})
        files.seal(aside)
        files.replace(aside, self._step(step))
        files.write_text(self.folder / "latest", f"{self._step(step).name}\n")
        for old in self.steps()[:-KEPT]:
            shutil.rmtree(self._step(old))

    def load(self, say: Callable[[str], None]) -> Snapshot | None:
        """The latest whole step, or None; says which damaged ones it passed over. Changes nothing on disk."""
        latest = self._latest()
        for step in reversed([s for s in self.steps() if latest is None or s <= latest]):
            wrong = files.damage(self._step(step))
            if wrong is None:
                return self._read(step)
            say(f"{self._step(step)} is damaged ({wrong}); falling back to the step before it")
        return None

    def rewind(self, step: int) -> None:
        """Forgets what lies after `step`: step folders that were damaged or never announced, and metrics."""
        for later in [s for s in self.steps() if s > step]:
            shutil.rmtree(self._step(later))
        if self.metrics.exists():
            lines = self.metrics.read_text(encoding="utf-8").splitlines(keepends=True)
            files.write_text(self.metrics, "".join(line for line in lines if _logged_by(line, step)))

    def log(self, record: Mapping[str, Any]) -> None:
        """Appends a line to metrics.jsonl."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def finish(self, weights: Mapping[str, Tensor], raw: Mapping[str, Tensor] | None) -> None:
        """Writes the finished weights: `weights` to use (averaged where there is an average) and `raw`."""
        if raw is not None:
            files.write_tensors(self.raw_weights, raw)
        files.write_tensors(self.weights, weights)

    def clear(self) -> None:
        """Forgets the whole training."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _step(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def _latest(self) -> int | None:
        """The announced step; None before the first, or where the pointer itself is unreadable."""
        try:
            return int((self.folder / "latest").read_text(encoding="utf-8").strip().removeprefix("step-"))
        except (OSError, ValueError):
            return None

    def _read(self, step: int) -> Snapshot:
        folder = self._step(step)
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        tensors = {f.stem: files.read_tensors(f) for f in folder.glob("*.safetensors")}
        return Snapshot(step, tensors, state)


def _logged_by(line: str, step: int) -> bool:
    """Was this line of metrics.jsonl logged at or before `step`? A line that a kill cut short was not."""
    try:
        return int(json.loads(line)["step"]) <= step
    except (ValueError, KeyError, TypeError):
        return False
