"""The report of an evaluation, which is written after each metric and goes on from what is there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from ldmkit import disk
from ldmkit.checkpoint.files import tensors_digest
from ldmkit.engine.stage_state import stage_state
from ldmkit.engine.system import System
from ldmkit.engine.weights import stages_of
from ldmkit.errors import UserError
from ldmkit.pictures import open_picture
from ldmkit.pictures.png import save_picture
from ldmkit.pictures.sheet import Section, contact_sheet
from ldmkit.recipe import Component, digest


class Report:
    """`metrics.json` and `contact.png` of one evaluation in a folder.

    about: what the figures are measured on. What is there of the same evaluation is kept, results that were
    measured on anything else are replaced.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.path, self._sheet = folder / "metrics.json", folder / "contact.png"
        self._about = json.loads(json.dumps(about))
        self._results = _kept(self.path, self._about)
        self._shown = _picture(self._sheet) if self._results else None

    def has(self, component: Component) -> bool:
        """Whether the metric was measured with these parameters."""
        return _key(component.name, component.parameters) in self._results

    def add(self, component: Component, result: Mapping[str, Any], sections: Sequence[Section]) -> None:
        """Takes up a metric's result and writes the report; sections: what this call's metrics show."""
        with disk.explained(self._sheet, "written"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self._results:
                disk.remove(self._sheet)
        self._results[_key(component.name, component.parameters)] = result
        if sections:
            sheet = contact_sheet(sections)
            together = sheet if self._shown is None else _beside(self._shown, sheet)
            save_picture(together, self._sheet, {"recipe": self._about["recipe"]})
        report = {**self._about, "metrics": list(self._results.values())}
        disk.write_text(self.path, json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def content(self, components: Sequence[Component]) -> dict[str, Any]:
        """The report of these metrics, in their order; the file has it, too."""
        keys = dict.fromkeys(_key(one.name, one.parameters) for one in components)
        return {**self._about, "metrics": [self._results[key] for key in keys]}


def measured_on(system: System) -> dict[str, Any]:
    """The recipe and the weights that figures belong to; `weights` are digests of the tensors themselves."""
    recipe, stages = system.recipe, stages_of(system.recipe)
    adapters = {name: tensors_digest(one.state()) for name, one in system.adapters.items()}
    outputs = [*stages, *(["samples"] if recipe.denoiser else [])]
    return {
        "digests": {name: digest(recipe, name) for name in outputs},
        "weights": {stage: tensors_digest(stage_state(system, stage)) for stage in stages},
        **({"adapters": adapters} if adapters else {}),
    }


def _key(name: str, parameters: Mapping[str, Any]) -> str:
    return json.dumps([name, parameters], sort_keys=True, default=str)


def _kept(path: Path, about: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The results in a report of the same evaluation, by metric; none in another one, or without a report."""
    with suppress(OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        with disk.opened(path) as file:
            report = json.loads(file.read())
        results = report.pop("metrics")
        if report == about:
            return {_key(one["name"], one["parameters"]): one for one in results if "figures" in one}
    return {}


def _picture(path: Path) -> Image.Image | None:
    try:
        return open_picture(path)
    except UserError:
        return None


def _beside(left: Image.Image, right: Image.Image) -> Image.Image:
    """Both pictures side by side on white."""
    sheet = Image.new("RGB", (left.width + right.width, max(left.height, right.height)), "white")
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width, 0))
    return sheet
