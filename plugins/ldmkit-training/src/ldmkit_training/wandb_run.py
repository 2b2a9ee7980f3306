"""Figures and pictures for Weights & Biases, in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import PIL.Image

from ldmkit.types import Outcome, TrainingRun
from ldmkit_training.tensorboard import plain


class Wandb:
    """An offline run of the recipe's project, in `wandb/` of the run's folder. Nothing is sent anywhere;
    `wandb sync` uploads it.

    A resumed training writes another offline run of the same id, so that both become one run when they are
    uploaded. Raises ValueError where wandb is not installed.

    Args:
        project: the project at Weights & Biases; by default the recipe's name.
    """

    run: Any

    def __init__(self, *, project: str | None = None) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ValueError("needs wandb: pip install 'ldmkit-training[wandb]'") from error
        self.wandb: Any = wandb
        self.project = project

    def begin(self, run: TrainingRun) -> None:
        """Opens an offline run with the name and id of the run's folder."""
        quiet = self.wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            x_disable_meta=True,
            x_disable_stats=True,
        )
        self.run = self.wandb.init(
            project=self.project or str(run.recipe["name"]),
            id=run.folder.name,
            name=run.folder.name,
            dir=str(run.folder),
            mode="offline",
            config={"recipe": plain(run.recipe), "stage": run.stage},
            settings=quiet,
        )

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """The figures of a step."""
        self.run.log(dict(figures), step=step)

    def picture(self, step: int, picture: PIL.Image.Image) -> None:
        """The sheet as an image."""
        self.run.log({"samples": self.wandb.Image(picture)}, step=step)

    def end(self, outcome: Outcome) -> None:
        """Waits until all is on the disk."""
        self.run.finish()
