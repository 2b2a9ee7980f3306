"""A fingerprint of the part of a recipe that determines a stage's output."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ldmkit.recipe.dump import flat
from ldmkit.recipe.model import Recipe

UNDETERMINING = frozenset({"checkpoint_every", "validate_every", "picture_every"})
"""Keys of a training stage that never change what comes of it."""

LATER: Mapping[str, Any] = {"optimizer": None, "lr_factors": {}, "auxiliary": ()}
"""Keys of a training stage that recipes did not have at first: left out where they say nothing, so that the
digests of finished trainings stay."""


def digest(recipe: Recipe, stage: str) -> str:
    """sha256, hexadecimal, of what determines `stage`: "compression", "diffusion" or "samples".

    Of a resolved recipe: written-out defaults and omitted ones give the same digest. Prompts and seeds are no
    part of it: each picture carries its own.
    """
    part = {"compression": _compression, "diffusion": _diffusion, "samples": _samples}[stage](recipe)
    canonical = json.dumps(part, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _compression(recipe: Recipe) -> dict[str, Any]:
    return {
        "data": flat(recipe.data),
        "weights": flat(recipe.weights),
        "compression": flat(recipe.compression),
        "train": _training(recipe, "compression"),
    }


def _diffusion(recipe: Recipe) -> dict[str, Any]:
    parts = ("conditioners", "denoiser", "schedule", "objective")
    return {
        "compression": digest(recipe, "compression"),
        "train": _training(recipe, "diffusion"),
        **{name: flat(getattr(recipe, name)) for name in parts},
    }


def _samples(recipe: Recipe) -> dict[str, Any]:
    return {
        "diffusion": digest(recipe, "diffusion"),
        "sampler": flat(recipe.sampler),
        "guidance": flat(recipe.guidance),
        "size": flat(recipe.sample.size),
    }


def _training(recipe: Recipe, stage: str) -> dict[str, Any] | None:
    values = flat(getattr(recipe.train, stage))
    return values and {
        k: v for k, v in values.items() if k not in UNDETERMINING and (k not in LATER or v != LATER[k])
    }
