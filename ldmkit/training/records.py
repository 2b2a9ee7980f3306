"""What is kept and told of a training: lines of metrics.jsonl, validation, pictures."""

from __future__ import annotations

import time

from accelerate import Accelerator

from ldmkit.checkpoint import RunStore
from ldmkit.pictures.png import save_picture
from ldmkit.training.callbacks import Callbacks
from ldmkit.training.collectives import sum_over_processes
from ldmkit.training.optim import rate
from ldmkit.training.progress import Means, Reporter
from ldmkit.training.stage import TrainingStage

LOGGED_EVERY = 10
"""Steps between lines of metrics.jsonl."""


class Records:
    """The figures of one training, in its run folder and for its callbacks; written by the main process.

    means: the losses since the last line. seconds: the training's, over all resumes.
    """

    def __init__(
        self, stage: TrainingStage, store: RunStore, accelerator: Accelerator, callbacks: Callbacks
    ) -> None:
        self._stage, self._store, self._accelerator, self._callbacks = stage, store, accelerator, callbacks
        self.means = Means()
        self._stepping, self._steps = 0.0, 0
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the training began, over all resumes."""
        return time.monotonic() - self._began

    def go_on_after(self, seconds: float) -> None:
        """Adds the seconds of earlier processes of this training."""
        self._began -= seconds

    def stepped(self, seconds: float) -> None:
        """Counts a step, for the speed."""
        self._stepping += seconds
        self._steps += 1

    def log(self, done: int, reporter: Reporter) -> None:
        """The means since the last line, over all processes, after `done` steps."""
        means, options = self.means.take(), self._stage.options
        world = self._accelerator.num_processes
        values = [v / world for v in sum_over_processes([float(v) for v in means.values()])]
        figures = dict(zip(means, values, strict=True))
        speed = options.batch * self._steps / self._stepping
        self._stepping, self._steps = 0.0, 0
        self._record(done, {**figures, "lr": rate(options, done - 1), "pictures_per_second": speed})
        reporter.losses(done, figures)

    def validate(self, done: int) -> None:
        """The means over the validation pictures, of which each process takes its share."""
        sums = self._stage.validate(self._accelerator.process_index, self._accelerator.num_processes)
        totals = dict(zip(sums, sum_over_processes([float(v) for v in sums.values()]), strict=True))
        count = totals.pop("count")
        self._record(done, {f"validation_{name}": value / count for name, value in totals.items()})

    def show(self, done: int) -> None:
        """The picture that shows how far the stage is, where there is one."""
        picture = self._stage.picture()
        if picture is not None:
            about = {"step": str(done), "stage": self._stage.name}
            save_picture(picture, self._store.pictures / f"step-{done:08d}.png", about)
            self._callbacks.picture(done, picture)

    def _record(self, done: int, figures: dict[str, float]) -> None:
        """Writes a line of metrics.jsonl."""
        if self._accelerator.is_main_process:
            self._store.log({"step": done, "seconds": round(self.seconds, 2), **figures})
            self._callbacks.figures(done, figures)
