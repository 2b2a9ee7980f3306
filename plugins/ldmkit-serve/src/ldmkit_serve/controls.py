"""The controls of a page, which follow from the fields that the recipe's conditioners read."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio
import numpy as np
import PIL.Image
import torch
from gradio.components import Component

from ldmkit.interfaces import Conditioner, Dataset
from ldmkit.pictures import batch, class_maps, masks, to_pictures
from ldmkit.types import ConditionSpec, FieldKind
from ldmkit_serve import painter

WIDER = 8
"""How many times a painted map may be widened to."""
MASK = ("known", "to paint")


@dataclass(frozen=True)
class Control:
    """The components of the page for some fields of the input.

    raw: turns the components' values into raw inputs by field; raises ValueError that says what is missing.
    show: the reverse, for raw inputs in any form in which people, data sets and files give them; raises
    ValueError, TypeError or KeyError where it cannot show them. fields: the fields that `raw` gives.
    """

    fields: tuple[str, ...]
    components: tuple[Component, ...]
    raw: Callable[..., Mapping[str, Any]]
    show: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    listen: Callable[[], None] = field(default=lambda: None)


@dataclass(frozen=True)
class Facts:
    """What is known of the inputs besides the fields' names.

    data: the recipe's data; None where they are not on this machine. Besides, the names of the classes by
    field, texts to begin with, the pictures' (height, width), and the fields that the recipe leaves out.
    """

    data: Dataset | None
    names: Mapping[str, Sequence[str]]
    texts: Sequence[str]
    size: tuple[int, int]
    left_out: Collection[str] = ()


def controls(
    conditioners: Iterable[Conditioner], facts: Facts, guided: Mapping[str, FieldKind] | None = None
) -> list[Control]:
    """A control for every field that the conditioners read, in their order, then for those that guidance
    reads, by what they hold; a picture and its mask share one. What the recipe leaves out has none."""
    kinds = guided or {}
    parts: dict[str, Control] = {}
    for spec in (
        *(conditioner.spec for conditioner in conditioners),
        ConditionSpec(tuple(kinds), kinds=kinds),
    ):
        holes = {kind: name for name, kind in spec.kinds.items() if kind in ("picture", "mask")}
        if len(holes) == 2 and holes["mask"] not in parts:
            parts[holes["mask"]] = _inpainting(holes["picture"], holes["mask"], facts)
        for name in (f for f in spec.fields if f not in facts.left_out):
            if name not in parts and (len(holes) < 2 or name not in holes.values()):
                parts[name] = BY_KIND.get(spec.kinds.get(name, "other"), _json)(name, facts)
    return list(parts.values())


def random_example(facts: Facts, choose: random.Random) -> Mapping[str, Any] | None:
    """An example of the data's validation split that `choose` draws; None without data."""
    if facts.data is None:
        return None
    split = facts.data.split("validation")
    return split[choose.randrange(len(split))]


def holds(facts: Facts, control: Control) -> bool:
    """Whether the data's examples have all the fields that the control shows."""
    return facts.data is not None and set(control.fields) <= {"image", *facts.data.fields}


def _caption(name: str, facts: Facts) -> Control:
    text = gradio.Textbox(label=name, value=next(iter(facts.texts), ""), lines=2, max_length=1000)
    if facts.texts:
        gradio.Examples([[t] for t in facts.texts], [text], examples_per_page=24, label="examples")

    def raw(value: str) -> Mapping[str, Any]:
        if not value.strip():
            raise ValueError(f"{name}: write something first")
        return {name: value}

    return Control((name,), (text,), raw, lambda given: (str(given[name]),))


def _label(name: str, facts: Facts) -> Control:
    names = facts.names.get(name)
    menu = (
        gradio.Dropdown([(n, i) for i, n in enumerate(names)], value=0, label=name)
        if names
        else gradio.Number(0, precision=0, label=f"{name} (the class's number)")
    )

    def show(fields: Mapping[str, Any]) -> tuple[Any, ...]:
        number = int(fields[name])
        if number < 0 or (names and number >= len(names)):
            raise ValueError(f"there is no class {number}")
        return (number,)

    return Control((name,), (menu,), lambda value: {name: int(value)}, show)


def _map(name: str, facts: Facts) -> Control:
    names = facts.names.get(name) or [f"class {i}" for i in range(16)]
    canvas = painter.painter("classes", names, facts.size, widest=WIDER * facts.size[1], name=f"paint-{name}")

    def raw(value: str) -> Mapping[str, Any]:
        labels = painter.read_map(value, len(names))
        return {name: torch.from_numpy(labels.astype(np.int64))}

    def show(fields: Mapping[str, Any]) -> tuple[Any, ...]:
        (labels,) = class_maps({name: [_no_text(fields[name])]}, name, len(names))
        return (painter.write_map(labels.numpy().astype(np.uint8)),)

    return Control((name,), (canvas,), raw, show)


def _boxes(name: str, facts: Facts) -> Control:
    names = facts.names.get(name) or [f"class {i}" for i in range(16)]
    canvas = painter.painter("boxes", names, facts.size, name=f"paint-{name}")

    def show(fields: Mapping[str, Any]) -> tuple[Any, ...]:
        text = painter.write_boxes(fields[name], facts.size)
        painter.read_boxes(text, len(names))  # raises what is wrong with boxes of anybody's picture
        return (text,)

    return Control((name,), (canvas,), lambda value: {name: painter.read_boxes(value, len(names))}, show)


def _picture(name: str, facts: Facts) -> Control:
    picture = gradio.Image(label=name, type="pil", image_mode="RGB", format="png")

    def raw(value: Any) -> Mapping[str, Any]:
        if value is None:
            raise ValueError(f"{name}: upload a picture first")
        return {name: value}

    return Control((name,), (picture,), raw, lambda given: (_shown(given[name]),))


def _no_text(value: Any) -> Any:
    """The value; ValueError for a text, which would be opened as a path and may be anybody's."""
    if isinstance(value, str):
        raise ValueError("a text is no picture")
    return value


def _shown(value: Any) -> PIL.Image.Image:
    """A picture in any form as one of PIL's."""
    return to_pictures(batch({"picture": [_no_text(value)]}, "picture"))[0]


def _inpainting(image: str, mask: str, facts: Facts) -> Control:
    """A picture, and a mask that is brushed over it."""
    height, width = facts.size
    picture = gradio.Image(label="picture", type="pil", image_mode="RGB", format="png")
    canvas = painter.painter("mask", MASK, facts.size, name="paint-mask")

    def listen() -> None:
        def show(value: Any) -> Any:
            return gradio.HTML(
                background="" if value is None else painter.background(value.resize((width, height)))
            )

        picture.change(show, picture, canvas, show_progress="hidden")

    def raw(value: Any, brushed: str) -> Mapping[str, Any]:
        if value is None:
            raise ValueError("upload a picture first")
        painted = painter.read_map(brushed, len(MASK))
        if not painted.any():
            raise ValueError("brush over what is to be painted anew first")
        return {image: value.resize((width, height)), mask: torch.from_numpy(painted.astype(np.float32))}

    def show(fields: Mapping[str, Any]) -> tuple[Any, ...]:
        ((holes,),) = masks({mask: [_no_text(fields[mask])]}, mask)
        return _shown(fields[image]), painter.write_map(holes.numpy().astype(np.uint8))

    return Control((image, mask), (picture, canvas), raw, show, listen)


def _json(name: str, facts: Facts) -> Control:
    """A field that this page does not know: its value as JSON."""
    text = gradio.Textbox(label=f"{name} (JSON)", max_length=10000)

    def raw(value: str) -> Mapping[str, Any]:
        try:
            return {name: json.loads(value)}
        except (ValueError, RecursionError):
            raise ValueError(f"{name}: not JSON") from None

    return Control((name,), (text,), raw, lambda given: (json.dumps(given[name], ensure_ascii=False),))


BY_KIND: Mapping[FieldKind, Callable[[str, Facts], Control]] = {
    "text": _caption,
    "label": _label,
    "map": _map,
    "boxes": _boxes,
    "picture": _picture,
}
"""The control of each kind of field; any other is a text of JSON."""
