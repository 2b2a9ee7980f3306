"""Figures and pictures as TensorBoard's event files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import PIL.Image
import yaml

from ldmkit.types import Outcome, TrainingRun


class TensorBoard:
    """Event files in `tensorboard/` of the run's folder; `tensorboard --logdir runs` shows all runs.

    Steps that a resumed training makes again replace those of before. Raises ValueError where tensorboard is
    not installed. Takes no parameters.
    """

    writer: Any

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ValueError("needs tensorboard: pip install 'ldmkit-training[tensorboard]'") from error
        self._new = SummaryWriter

    def begin(self, run: TrainingRun) -> None:
        """Opens an event file; the recipe is its first text."""
        purge = run.step + 1 if run.step else None
        self.writer = self._new(str(run.folder / "tensorboard"), purge_step=purge)
        text = yaml.safe_dump(plain(run.recipe), sort_keys=False, allow_unicode=True)
        self.writer.add_text("recipe", "\n".join(f"    {line}" for line in text.splitlines()), run.step)

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """A scalar each."""
        for name, value in figures.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def picture(self, step: int, picture: PIL.Image.Image) -> None:
        """The sheet as an image."""
        self.writer.add_image("samples", np.asarray(picture.convert("RGB")), step, dataformats="HWC")
        self.writer.flush()

    def end(self, outcome: Outcome) -> None:
        """Closes the file."""
        self.writer.close()


def plain(value: Any) -> Any:
    """A recipe's value as dictionaries and lists."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value
