"""Figures as a CSV file, one row a figure."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import PIL.Image

from ldmkit.types import Outcome, TrainingRun

COLUMNS = ("step", "figure", "value")


class Csv:
    """Writes the training's figures into a CSV file in the run's folder, as rows of step, figure and value.

    A resumed training keeps the rows up to its first step and continues the same file. Raises ValueError for
    a name with folders.

    Args:
        file: name of the file, without folders.
    """

    def __init__(self, *, file: str = "figures.csv") -> None:
        if Path(file).name != file:
            raise ValueError(f"file '{file}': give a name without folders; it is put in the run's folder")
        self.file = file
        self.path = Path(file)

    def begin(self, run: TrainingRun) -> None:
        """Keeps the rows up to the step from which the training goes on."""
        self.path = run.folder / self.file
        rows: list[tuple[str, ...]] = [COLUMNS]
        if run.step and self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                rows += [tuple(r) for r in csv.reader(file) if len(r) == 3 and _within(r[0], run.step)]
        with self.path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """Writes a row for each figure."""
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows((step, name, value) for name, value in figures.items())

    def picture(self, step: int, picture: PIL.Image.Image) -> None:
        """Does nothing: the run's folder has the pictures already."""

    def end(self, outcome: Outcome) -> None:
        """Does nothing: every row is on the disk."""


def _within(step: str, last: int) -> bool:
    return step.isdecimal() and int(step) <= last
