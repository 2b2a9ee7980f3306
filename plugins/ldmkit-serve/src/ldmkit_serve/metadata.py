"""The metadata of a served picture, in the form of `ldmkit sample`, and the page's values read back from
them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio
import PIL.Image
from gradio.components import Component

from ldmkit.pictures import open_picture
from ldmkit.recipe import SamplerSlot
from ldmkit_serve.controls import Control
from ldmkit_serve.kept import Kept
from ldmkit_serve.settings import Settings

OPTIONS = {"sampler.name": "sampler", "sampler.steps": "steps"}
"""The settings of the page by the values of a recipe that `ldmkit sample --set` replaces."""
UNREADABLE = (ValueError, TypeError, KeyError, RecursionError)
"""What reading a picture's metadata may raise: they are anybody's."""


def about(
    name: str,
    prompt: str,
    fields: Mapping[str, Sequence[Any]],
    options: Mapping[str, Any],
    kept: Kept,
    overrides: Sequence[str] = (),
) -> dict[str, str]:
    """The metadata of a picture. name: of the recipe. prompt: the field that holds the prompt. fields: raw
    inputs. options: arguments of `System.sample`. overrides: the changes of the recipe that lead to the
    picture's values."""
    inputs = {field: kept.record(field, value) for field, (value,) in fields.items()}
    texts = {k: str(v) for k, v in options.items() if isinstance(v, str | int | float)}
    if prompt in inputs:
        texts = {"prompt": str(inputs.pop(prompt)), **texts}
    if inputs:
        texts["inputs"] = json.dumps(inputs, ensure_ascii=False)
    if isinstance(options["init"], PIL.Image.Image):
        texts["init"] = json.dumps(kept.record("init", options["init"]))
    if overrides:
        texts["options"] = json.dumps([*overrides], ensure_ascii=False)
    return {**texts, "recipe": name}


def sampler_override(slot: SamplerSlot, options: Mapping[str, Any]) -> str:
    """The page's sampler and steps as an override of the recipe's `sampler`, whose spacing is kept."""
    if options["sampler"] == slot.name:
        return f"sampler.steps={options['steps']}"
    own = {"name": options["sampler"], "spacing": slot.spacing.flat(), "reuse": slot.reuse}
    return f"sampler={json.dumps({**own, 'steps': options['steps']}, default=str)}"


def from_picture(
    conditions: Sequence[Control], chosen: Settings, prompt: str, metadata: Mapping[str, str], kept: Kept
) -> tuple[list[Any], list[str]]:
    """The components' values out of a picture's metadata, and messages about what could not be restored.

    A condition that the metadata do not hold is left as it is; a setting returns to the recipe's own value.
    """
    values: list[Any] = []
    missing: list[str] = []
    records, told = _inputs(metadata, prompt), {**_options(metadata), **metadata}
    for one in conditions:
        try:
            fields = {name: kept.value(records[name]) for name in one.fields if name in records}
            values += one.show(fields) if fields else _unchanged(one)
        except UNREADABLE as error:
            values += _unchanged(one)
            missing.append(f"{', '.join(one.fields)}: {error}")
    for name, component in chosen.items():
        try:
            values.append(_init(told, kept) if name == "init" else _value(told.get(name), component))
        except UNREADABLE as error:
            values.append(None)
            missing.append(f"{name}: {error}")
    return values, missing


def _unchanged(one: Control) -> list[Any]:
    return [gradio.skip()] * len(one.components)


def _inputs(metadata: Mapping[str, str], prompt: str) -> dict[str, Any]:
    """The records of the inputs by field; none where they cannot be read."""
    records = _json(metadata, "inputs")
    records = dict(records) if isinstance(records, dict) else {}
    return {**records, prompt: metadata["prompt"]} if "prompt" in metadata else records


def _options(metadata: Mapping[str, str]) -> dict[str, str]:
    """The settings that `ldmkit sample --set` changed."""
    overrides = _json(metadata, "options")
    pairs = (str(one).partition("=") for one in overrides) if isinstance(overrides, list) else ()
    return {OPTIONS[path]: value for path, _, value in pairs if path in OPTIONS}


def _json(metadata: Mapping[str, str], key: str) -> Any:
    try:
        return json.loads(metadata.get(key, "null"))
    except UNREADABLE:
        return None


def _init(metadata: Mapping[str, str], kept: Kept) -> PIL.Image.Image | None:
    record = _json(metadata, "init")
    return open_picture(kept.value(record)) if isinstance(record, dict) and "file" in record else None


def _value(text: str | None, component: Component) -> Any:
    """A text as the component's value; what it cannot take leaves it as it is, none is its first value."""
    if text is None:
        return component.value
    if isinstance(component, gradio.Dropdown):
        offered = {str(value): value for _, value in component.choices}
        return offered.get(text, gradio.skip())
    if not isinstance(component, gradio.Number | gradio.Slider):
        return text
    try:
        return float(text)
    except ValueError:
        return gradio.skip()
