"""Tiny components of every kind that training needs; as a program, trains them. No plugin is used."""

from __future__ import annotations

import sys
from pathlib import Path

from training_toy_model import Autoencoder, Cosine, Denoiser, Epsilon, Shift, Words, euler, evenly
from training_toy_stages import (
    Adversary,
    Brightness,
    Explosive,
    Imitation,
    Meddler,
    Momentum,
    Pictures,
    Pixel,
)

from ldmkit.engine.adapters import give_adapters
from ldmkit.engine.system import assemble
from ldmkit.host.registry import Entry, Registry
from ldmkit.recipe import load, resolve

COMPONENTS = {
    ("compression", "toy"): Autoencoder,
    ("loss", "toy"): Pixel,
    ("loss", "explosive"): Explosive,
    ("adversary", "toy"): Adversary,
    ("data", "toy"): Pictures,
    ("conditioner", "toy"): Words,
    ("denoiser", "toy"): Denoiser,
    ("schedule", "toy"): Cosine,
    ("objective", "toy"): Epsilon,
    ("auxiliary", "toy"): Brightness,
    ("distillation", "toy"): Imitation,
    ("adapter", "toy"): Shift,
    ("callback", "toy"): Meddler,
    ("optimizer", "toy"): Momentum,
    ("optimizer", "muon"): "ldmkit_training.optimizers:Muon",
    ("spacing", "toy"): evenly,
    ("sampler", "toy"): euler,
}
RECIPE = {
    "recipe": 1,
    "name": "toy",
    "data": "toy",
    "compression": "toy",
    "conditioners": {
        "text": {"name": "toy", "dropout": 0.3},
        "frozen": {"name": "toy", "frozen": True, "dropout": 0.3},
    },
    "denoiser": "toy",
    "schedule": "toy",
    "objective": "toy",
    "train": {
        "compression": {
            "steps": 12,
            "batch": 4,
            "lr": 1e-2,
            "warmup": 3,
            "decay": "cosine",
            "clip": 1.0,
            "ema": 0.9,
            "flip": True,
            "learn_variance": True,
            "loss": ["toy"],
            "adversary": "toy",
            "checkpoint_every": 2,
            "validate_every": 6,
            "picture_every": 6,
        },
        "diffusion": {
            "steps": 12,
            "batch": 4,
            "lr": 1e-2,
            "weight_decay": 0.01,
            "ema": 0.9,
            "flip": True,
            "checkpoint_every": 2,
            "validate_every": 6,
            "picture_every": 6,
        },
    },
    "sampler": {"name": "toy", "spacing": "toy", "steps": 3},
    "sample": {"prompts": ["thing 1", "thing 2"], "size": [16, 16]},
}


def registry():
    """A registry of these components alone."""
    made = Registry()
    for (kind, name), component in COMPONENTS.items():
        attribute = component if isinstance(component, str) else component.__name__
        target = attribute if ":" in attribute else f"training_toy:{attribute}"
        made.add(Entry(kind, name, target, "A toy.", "toy", "1"))
    return made


def toy(*overrides):
    """An assembled toy system."""
    known = registry()
    return assemble(resolve(load(RECIPE, overrides, known), known), known)


def train(runs, *overrides, stages=("compression", "diffusion"), say=print):
    """Trains a toy system's stages; the system."""
    from ldmkit.training.adapter import train_adapter
    from ldmkit.training.run import train_stage

    system = toy(*overrides)
    for stage in stages:
        train_stage(system, stage, Path(runs), say=say)
    if "diffusion" in stages:
        give_adapters(
            system, Path(runs), without=lambda s, name: train_adapter(s, name, Path(runs), say=say), say=say
        )
    return system


if __name__ == "__main__":
    train(*sys.argv[1:])
