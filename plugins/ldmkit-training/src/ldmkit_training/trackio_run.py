"""Figures and pictures for trackio, in its database on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import PIL.Image

from ldmkit.types import Outcome, TrainingRun


class Trackio:
    """A run of the recipe's project; `trackio show` opens the dashboard. Nothing is sent anywhere.

    Raises ValueError where trackio is not installed.

    Args:
        project: trackio's project; by default the recipe's name.
    """

    def __init__(self, *, project: str | None = None) -> None:
        try:
            import trackio
        except ImportError as error:
            raise ValueError("needs trackio: pip install 'ldmkit-training[trackio]'") from error
        self.trackio: Any = trackio
        self.project = project

    def begin(self, run: TrainingRun) -> None:
        """Opens the run that is named after the folder; a resumed training goes on in it."""
        self.trackio.init(
            project=self.project or str(run.recipe["name"]),
            name=run.folder.name,
            config={"recipe": run.recipe, "stage": run.stage},
            resume="allow",
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """The figures of a step."""
        self.trackio.log(dict(figures), step=step)

    def picture(self, step: int, picture: PIL.Image.Image) -> None:
        """The sheet as an image."""
        self.trackio.log({"samples": self.trackio.Image(picture)}, step=step)

    def end(self, outcome: Outcome) -> None:
        """Waits until all is in the database."""
        self.trackio.finish()
