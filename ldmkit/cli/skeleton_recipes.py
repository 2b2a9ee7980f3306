"""What the skeleton of a plugin says of recipes: the lines that use its component, and a whole small one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from ldmkit.recipe import Recipe

USAGE = {
    "compression": "compression: {one}",
    "regulariser": "compression: {{name: autoencoder, factor: 4, regulariser: {one}}}",
    "conditioner": "conditioners:\n  condition: {one}",
    "denoiser": "denoiser: {one}",
    "schedule": "schedule: {one}",
    "spacing": "sampler: {{name: ddim, spacing: {one}}}",
    "objective": "objective: {one}",
    "guidance": "guidance: [{one}]",
    "sampler": "sampler: {one}",
    "data": "data: {one}",
    "metric": "evaluate: {{metrics: [{one}]}}",
    "adapter": "adapters:\n  adapter: {one}",
    "loss": "train: {{compression: {{loss: [{one}]}}}}",
    "features": "train: {{compression: {{loss: [pixel, {{name: perceptual, features: {one}}}]}}}}",
    "adversary": "train: {{compression: {{adversary: {one}}}}}",
    "optimizer": "train: {{diffusion: {{optimizer: {one}}}}}",
    "auxiliary": "train: {{diffusion: {{auxiliary: [{one}]}}}}",
    "distillation": "weights: FOLDER-OF-THE-TEACHER\ntrain: {{diffusion: {{distillation: {one}}}}}",
    "callback": "train: {{callbacks: [{one}]}}",
    "keymap": "denoiser: {one}",
}
"""Where a recipe names a component of each kind; formats, verbs and recipes are named by commands alone."""
SAID = {"conditioner": "field: label, dropout: 0.1", "data": "size: 32", "auxiliary": "layer: middle.0"}
"""Parameters of the skeletons' components that an example sets."""
BASE = """
recipe: 1
name: {name}
data: {{name: avatars, size: 32, count: 60}}
compression: identity
denoiser: {{name: unet, width: 32, multipliers: [1, 2], blocks: 1, attention: []}}
objective: v
train:
  diffusion: {{steps: 50, batch: 8, lr: 1.0e-3, ema: 0.99}}
sampler: {{name: ddim, steps: 10}}
sample: {{size: [32, 32], count: 4}}
"""
NETWORKS = "factor: 4, channels: 4, width: 32, multipliers: [1, 1, 1], blocks: 1"
STAGE_ONE = "\ntrain: {compression: {steps: 50, batch: 8, lr: 1.0e-3, loss: [pixel]}}\n"
KL = f"\ncompression: {{name: kl-autoencoder, {NETWORKS}}}{STAGE_ONE}"
AROUND = {
    **dict.fromkeys(("compression", "loss", "features", "adversary"), KL),
    "regulariser": f"\ncompression: {{name: autoencoder, {NETWORKS}}}{STAGE_ONE}",
    "data": "conditioners:\n  caption: {name: text-transformer, width: 32, layers: 1, length: 16}",
    "distillation": """
conditioners:
  label: {name: class-embedding, classes: 6, width: 32, to: vector, dropout: 0.1}
adapters:
  short: {name: lora, train: {steps: 20, batch: 8, lr: 1.0e-4}}
""",
}
"""What the example of a kind says besides: without it the component would not be used."""
COMMANDS = {
    "metric": "ldmkit evaluate example.yaml",
    "keymap": "ldmkit export example.yaml published --format compvis",
    "format": "ldmkit export example.yaml published --format {name}",
    "verb": "ldmkit {name} example.yaml",
}
"""What is typed after `ldmkit run`."""


def usage(kind: str, component: str) -> str:
    """The lines of a recipe that use the component; none where only a command names it."""
    said = ", ".join(filter(None, [f"name: {component}", SAID.get(kind)]))
    return USAGE.get(kind, "").format(one=f"{{{said}}}")


def example(kind: str, component: str) -> str:
    """A recipe that uses the component; it trains and draws in a minute."""
    own = _plain(usage(kind, component))
    if kind == "distillation":
        own = {"adapters": {"short": {"train": {"distillation": {"name": component}}}}}
    if kind == "adapter":
        own["adapters"]["adapter"]["train"] = {"steps": 20, "batch": 8, "lr": 1.0e-3}
    base = BASE.format(name=component if kind == "recipe" else f"{component}-example")
    values = _merged(_merged(_plain(base), _plain(AROUND.get(kind, ""))), own)
    ordered = {key: values[key] for key in Recipe.model_fields if key in values}
    return yaml.safe_dump(ordered, sort_keys=False, default_flow_style=None, width=110)


def commands(kind: str, component: str) -> str:
    """What is typed to see the component work, a command a line."""
    run = f"ldmkit run {component if kind == 'recipe' else 'example.yaml'}"
    return "\n".join([run, *([COMMANDS[kind].format(name=component)] if kind in COMMANDS else [])])


def _plain(text: str) -> dict[str, Any]:
    return yaml.safe_load(text) or {}


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings by key, one inside the other; what has another name, and anything else, is replaced."""
    both = {key: (one[key], other[key]) for key in one.keys() & other.keys()}
    joined = {key: _merged(*pair) for key, pair in both.items() if _of_one(*pair)}
    return {**one, **other, **joined}


def _of_one(one: Any, other: Any) -> bool:
    """Are both mappings, and of the same component where they name one?"""
    mappings = isinstance(one, Mapping) and isinstance(other, Mapping)
    return mappings and one.get("name", other.get("name")) == other.get("name", one.get("name"))
