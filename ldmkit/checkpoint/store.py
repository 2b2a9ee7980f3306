"""The run store: one folder a stage, holding its steps, metrics, pictures and finished weights."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ldmkit import disk
from ldmkit.checkpoint import files, origin
from ldmkit.errors import UserError

KEPT = 2
"""Step folders kept: the newest, and one to fall back on."""
STEP = re.compile(r"step-(\d{8,12})")
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
        self.about: Mapping[str, str] = {}
        """What the files of finished weights say of themselves in their metadata."""
        self.metrics = folder / "metrics.jsonl"
        self.weights = folder / f"{stage}.safetensors"
        self.raw_weights = folder / f"{stage}.raw.safetensors"
        self.pictures = folder / "pictures"

    @property
    def runs(self) -> Path:
        """The folder of all runs."""
        return self.folder.parent.parent

    @property
    def finished(self) -> bool:
        """Whether the stage has finished training. The final weights are the last file that a training
        writes."""
        return self.weights.is_file()

    def open(self, recipe: str, versions: Mapping[str, str]) -> None:
        """Makes the folder, clears what a kill left half-written, notes the resolved recipe and versions."""
        with disk.explained(self.folder, "written"):
            self.pictures.mkdir(parents=True, exist_ok=True)
            for aside in self.folder.glob(f"{disk.ASIDE}*"):
                disk.remove(aside)
        disk.write_text(self.folder / "recipe.yaml", recipe)
        disk.write_json(self.folder / "versions.json", dict(versions))

    def steps(self) -> list[int]:
        """The steps that have a folder, oldest first; what has another name is no step."""
        names = (STEP.fullmatch(f.name) for f in self.folder.glob("step-*"))
        return sorted(int(name[1]) for name in names if name)

    def announced(self) -> list[int]:
        """The steps up to the one that `latest` names; all of them where it names none that is there."""
        steps, latest = self.steps(), self._latest()
        return [step for step in steps if latest not in steps or step <= latest]

    def damage(self, step: int) -> str | None:
        """What is wrong with a step's folder, another step's copy among it; None where it is whole."""
        wrong = files.damage(self.step_folder(step))
        if wrong is not None:
            return wrong
        saved = self._state(step).get("step", step)
        return None if saved == step else f"it is a copy of step {saved}"

    def save(self, step: int, tensors: TensorGroups, state: Mapping[str, Any]) -> None:
        """Writes a step; afterwards it is the latest, and all but the newest two are gone.

        Raises DiskError, with the steps before as they were.
        """
        aside = self.folder / f"{disk.ASIDE}step-{step:08d}"
        with disk.explained(self.step_folder(step), "written"):
            try:
                aside.mkdir(parents=True)
                for group, named in tensors.items():
                    files.write_tensors(aside / f"{group}.safetensors", named)
                disk.write_json(aside / "state.json", {**state, "step": step})
                files.seal(aside)
                os.replace(aside, self.step_folder(step))
            except BaseException:
                disk.remove(aside)
                raise
            disk.sync(self.folder)
            disk.write_text(self.folder / "latest", f"{self.step_folder(step).name}\n")
            for old in [s for s in self.steps() if s <= step][:-KEPT]:
                disk.remove(self.step_folder(old))

    def load(self, say: Callable[[str], None]) -> Snapshot | None:
        """The latest whole step, or None where there is none yet; says which damaged ones it passed over.

        Changes nothing on disk. UserError where there are steps and every one of them is damaged.
        """
        steps, latest = self.steps(), self._latest()
        if latest is not None and latest not in steps and steps:
            say(f"{self.folder / 'latest'} names step {latest}, which is not there; looking at the others")
        announced = self.announced()
        for step in reversed(announced):
            wrong = self.damage(step)
            if wrong is None:
                return self._read(step)
            say(f"{self.step_folder(step)} is damaged ({wrong})")
        if announced:
            raise UserError(
                f"{self.folder}: every step is damaged ({', '.join(map(str, announced))}): put them back "
                "from a copy, or begin anew with `ldmkit train --restart` or `ldmkit run --retrain`"
            )
        return None

    def adopt(self, other: RunStore, step: int) -> None:
        """Copies a step of another training, its log and what it was made from, to go on from there;
        UserError, with nothing changed, where that step goes away or changes meanwhile."""
        target = self.step_folder(step)
        aside = self.folder / f"{disk.ASIDE}{target.name}"
        with disk.explained(target, "written"):
            try:
                shutil.copytree(other.step_folder(step), aside)
                if files.damage(aside) is not None:
                    raise FileNotFoundError
                os.replace(aside, target)
            except (FileNotFoundError, shutil.Error) as error:
                raise UserError(
                    f"{other.step_folder(step)} has changed while it was copied: give the command again"
                ) from error
            finally:
                disk.remove(aside)
            for name in (origin.NAME, origin.CONTENTS, self.metrics.name):
                if (other.folder / name).is_file():
                    shutil.copyfile(other.folder / name, self.folder / name)
        disk.write_text(self.folder / "latest", f"{target.name}\n")

    def rewind(self, step: int) -> list[int]:
        """Removes everything after `step`: damaged or unannounced step folders, which it returns, and
        metrics."""
        removed = [s for s in self.steps() if s > step]
        with disk.explained(self.folder, "written"):
            for later in removed:
                disk.remove(self.step_folder(later))
        lines = self._log_lines()
        kept = [line for line in lines if (_logged_step(line) or step + 1) <= step]
        if kept != lines:
            disk.write_text(self.metrics, "".join(f"{line}\n" for line in kept))
        return removed

    def logged_step(self) -> int | None:
        """The last step that metrics.jsonl tells of."""
        return next((s for s in map(_logged_step, reversed(self._log_lines())) if s is not None), None)

    def _log_lines(self) -> list[str]:
        """The lines of metrics.jsonl; bytes that are no UTF-8 are replaced."""
        with disk.explained(self.metrics, "read"):
            if not self.metrics.exists():
                return []
            return [x for x in disk.read_text(self.metrics, "replace").split("\n") if x]

    def log(self, record: Mapping[str, Any]) -> None:
        """Appends a line to metrics.jsonl."""
        with disk.explained(self.metrics, "written"), self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def finish(self, weights: Mapping[str, Tensor], raw: Mapping[str, Tensor] | None) -> None:
        """Writes the finished weights: `weights` to use (averaged where there is an average) and `raw`."""
        if raw is not None:
            files.write_tensors(self.raw_weights, raw, self.about)
        files.write_tensors(self.weights, weights, self.about)

    def clear(self) -> None:
        """Removes the training."""
        with disk.explained(self.folder, "removed"):
            disk.remove(self.folder)

    def step_folder(self, step: int) -> Path:
        """The folder of a step."""
        return self.folder / f"step-{step:08d}"

    def _latest(self) -> int | None:
        """The announced step; None before the first, or where the pointer itself is unreadable."""
        try:
            return int(disk.read_text(self.folder / "latest").strip().removeprefix("step-"))
        except (OSError, ValueError):
            return None

    def _read(self, step: int) -> Snapshot:
        tensors = {f.stem: files.read_safetensors(f) for f in self.step_folder(step).glob("*.safetensors")}
        return Snapshot(step, tensors, self._state(step))

    def _state(self, step: int) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(disk.read_text(self.step_folder(step) / "state.json"))
        return state


def _logged_step(line: str) -> int | None:
    """The step of a line of metrics.jsonl; None where a kill cut it short, or it is damaged."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None
