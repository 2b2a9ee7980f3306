"""What a page offers beside the conditions: seed, steps, sampler, guidance, a picture to start from."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import gradio
from gradio.components import Component

import ldmkit
from ldmkit_serve.controls import Control

MAX_STEPS = 200
MAX_SEED = 2**31 - 1
Settings = Mapping[str, Component]
"""Components by the argument of `System.sample` that they stand for, in the order of the page."""


def settings(system: ldmkit.System, captioned: bool) -> Settings:
    """The components, set to what the recipe says. `captioned`: is there a prompt to steer away from?"""
    recipe = system.recipe
    scales = [g.parameters["scale"] for g in recipe.guidance if "scale" in g.parameters]
    parts: dict[str, Component] = {}
    with gradio.Accordion("Settings", open=False):
        with gradio.Row():
            parts["seed"] = gradio.Number(
                recipe.sample.seed, label="seed", precision=0, minimum=0, maximum=MAX_SEED, elem_id="seed"
            )
            parts["steps"] = gradio.Slider(1, MAX_STEPS, recipe.sampler.steps, step=1, label="steps")
        with gradio.Row():
            names = system.registry.names("sampler")
            parts["sampler"] = gradio.Dropdown(names, value=recipe.sampler.name, label="sampler")
            if scales:
                parts["guidance"] = gradio.Slider(0, 15, scales[0], step=0.1, label="guidance scale")
        if captioned:
            parts["negative"] = gradio.Textbox(recipe.sample.negative or "", label="away from")
        parts["init"] = gradio.Image(label="start from this picture", type="pil", image_mode="RGB")
        parts["strength"] = gradio.Slider(0.05, 1, 0.6, step=0.05, label="strength: how much is drawn anew")
    return parts


def request(
    conditions: Sequence[Control], chosen: Settings, values: Sequence[Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Raw inputs by field, and the other arguments of `System.sample`, out of the components' values.

    Raises ValueError for what is missing or outside its range: a request may come from anywhere.
    """
    rest = iter(values)
    fields: dict[str, Any] = {}
    for one in conditions:
        fields |= one.raw(*itertools.islice(rest, len(one.components)))
    options = dict(zip(chosen, rest, strict=True))
    options |= {"seed": int(options["seed"] or 0), "steps": int(options["steps"] or 0)}
    if not 0 <= options["seed"] <= MAX_SEED or not 1 <= options["steps"] <= MAX_STEPS:
        raise ValueError(f"seeds go from 0 to {MAX_SEED}, steps from 1 to {MAX_STEPS}")
    optional: set[str] = {"negative", "init"} & set(options)
    unset = {name for name in optional if not options[name]}
    unset |= {"strength"} if "init" in unset else set()
    return {name: [value] for name, value in fields.items()}, {
        name: value for name, value in options.items() if name not in unset
    }


def about(name: str, fields: Mapping[str, Sequence[Any]], options: Mapping[str, Any]) -> dict[str, str]:
    """What the PNG says of itself: texts and numbers; painted maps and pictures are too large for that."""
    plain = {"prompt" if k == "caption" else k: v[0] for k, v in fields.items()}
    values = {**plain, **options, "recipe": name}
    return {k: str(v) for k, v in values.items() if isinstance(v, str | int | float)}


def from_picture(conditions: Sequence[Control], chosen: Settings, metadata: Mapping[str, str]) -> list[Any]:
    """The components' values out of a picture's metadata; what it does not tell stays as it is."""
    values: list[Any] = []
    for one in conditions:
        key = "prompt" if one.fields == ("caption",) else one.fields[0]
        alone = len(one.components) == 1
        values.append(_value(metadata.get(key), one.components[0]) if alone else gradio.skip())
        values += [gradio.skip()] * (len(one.components) - 1)
    return values + [_value(metadata.get(name), component) for name, component in chosen.items()]


def _value(text: str | None, component: Component) -> Any:
    """A metadata text as the component's value; what it cannot take leaves it as it is."""
    if text is None:
        return gradio.skip()
    if isinstance(component, gradio.Dropdown):
        offered = {str(value): value for _, value in component.choices}
        return offered.get(text, gradio.skip())
    if not isinstance(component, gradio.Number | gradio.Slider):
        return text
    try:
        return float(text)
    except ValueError:
        return gradio.skip()
