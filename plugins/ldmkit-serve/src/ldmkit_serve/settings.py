"""What a page offers besides the conditions: seed, steps, sampler, guidance, a picture to start from."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import gradio
from gradio.components import Component

import ldmkit
from ldmkit.pictures import open_picture
from ldmkit_serve.controls import Control

MAX_STEPS = 200
MAX_SEED = 2**31 - 1
Settings = Mapping[str, Component]
"""Components by the argument of `System.sample` that they stand for, in the order of the page."""


def settings(system: ldmkit.System, captioned: bool) -> Settings:
    """The components, set to the recipe's values. captioned: whether there is a prompt, so that a negative
    one is offered."""
    recipe = system.recipe
    scales = [g.parameters["scale"] for g in recipe.guidance if "scale" in g.parameters]
    parts: dict[str, Component] = {}
    with gradio.Accordion("Settings", open=False):
        with gradio.Row():
            # Without limits of gradio's, whose error would cover picture and history: `request` says them.
            parts["seed"] = gradio.Number(recipe.sample.seed, label="seed", precision=0, elem_id="seed")
            parts["steps"] = gradio.Slider(1, MAX_STEPS, recipe.sampler.steps, step=1, label="steps")
        with gradio.Row():
            names = system.registry.names("sampler")
            parts["sampler"] = gradio.Dropdown(names, value=recipe.sampler.name, label="sampler")
            if len(scales) == 1:  # of several, `System.sample` could not tell which is meant
                parts["guidance"] = gradio.Slider(0, 15, scales[0], step=0.1, label="guidance scale")
        if captioned:
            parts["negative"] = gradio.Textbox(recipe.sample.negative or "", label="negative prompt")
        start = recipe.sample.init and open_picture(recipe.located(recipe.sample.init))
        parts["init"] = gradio.Image(
            start, label="start from this picture", type="pil", image_mode="RGB", format="png", elem_id="init"
        )
        parts["strength"] = gradio.Slider(
            0.05, 1, recipe.sample.strength, step=0.05, label="strength: how much is drawn anew"
        )
    return parts


def request(
    conditions: Sequence[Control], chosen: Settings, values: Sequence[Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Raw inputs by field, and the other arguments of `System.sample`, from the components' values.

    Raises ValueError for a value that is missing or outside its range, since a request may come from
    anywhere.
    """
    rest = iter(values)
    fields: dict[str, Any] = {}
    for one in conditions:
        fields |= one.raw(*itertools.islice(rest, len(one.components)))
    options = dict(zip(chosen, rest, strict=True))
    options |= {"seed": int(options["seed"] or 0), "steps": int(options["steps"] or 0)}
    if not 0 <= options["seed"] <= MAX_SEED or not 1 <= options["steps"] <= MAX_STEPS:
        raise ValueError(f"seeds go from 0 to {MAX_SEED}, steps from 1 to {MAX_STEPS}")
    unset = set() if options.get("negative") else {"negative"}
    if options["init"] is None:
        options["init"] = ()  # not the recipe's, which the visitor has taken away
        unset |= {"strength"}
    return {name: [value] for name, value in fields.items()}, {
        name: value for name, value in options.items() if name not in unset
    }
