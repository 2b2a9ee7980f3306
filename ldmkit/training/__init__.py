"""Training: the two stages in one loop, on accelerate."""

from __future__ import annotations

from ldmkit.training.run import train_stage

__all__ = ["train_stage"]
