"""What a press of "Draw" does: the picture as it forms, its file, its line in the history."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio
import PIL.Image

import ldmkit
from ldmkit.errors import UserError
from ldmkit.pictures.png import save_picture
from ldmkit_serve import metadata
from ldmkit_serve import settings as choices
from ldmkit_serve.controls import Control
from ldmkit_serve.drawing import draw
from ldmkit_serve.kept import Kept

HISTORY = 60
"""Pictures that a visitor's history holds."""
PRESS = "(_, ...values) => [(window.pressed = String(Math.random())), ...values]"
PRESSED = "() => window.pressed"
"""The browser names each press of "Draw", so that "Cancel" reaches a picture that waits its turn."""
UNSAID = ("recipe", "inputs", "init", "options")
"""What a picture's file says but not the line below it: the same for all, or long."""


@dataclass(frozen=True)
class Served:
    """What is served. out: the folder for pictures. overrides: those with which the recipe was opened.
    cancelled: the presses of "Draw" that were cancelled last."""

    system: ldmkit.System
    out: Path
    kept: Kept
    overrides: Sequence[str] = ()
    cancelled: deque[str] = field(default_factory=lambda: deque(maxlen=1000))


def numbers(out: Path) -> Iterator[int]:
    """Numbers of the pictures in the folder, from the first after those that are there."""
    there = [int(path.name[:5]) for path in out.glob("[0-9][0-9][0-9][0-9][0-9]-*.png")]
    return itertools.count(max(there, default=-1) + 1)


def answer(
    served: Served,
    conditions: Sequence[Control],
    chosen: choices.Settings,
    count: Iterator[int],
    press: str,
    history: list[tuple[str, str]],
    *values: Any,
) -> Iterator[tuple[Any, ...]]:
    """The page's updates while one picture forms: (picture, words, gallery, history)."""
    try:
        fields, options = choices.request(conditions, chosen, values)
        with closing(draw(served.system, {"fields": fields, **options})) as steps:
            for step in steps:
                if press in served.cancelled:
                    yield gradio.skip(), "cancelled", gradio.skip(), gradio.skip()
                    return
                if step.finished and step.picture is not None:
                    kept = _keep(served, next(count), step.picture, fields, options)
                    history = [kept, *history][:HISTORY]
                    yield *kept, history, history
                else:
                    shown = gradio.skip() if step.picture is None else step.picture
                    yield shown, f"{100 * step.share:.0f} %", gradio.skip(), gradio.skip()
    except (UserError, ValueError) as error:
        gradio.Warning(str(error))  # and not an Error, which would cover picture and history
        yield gradio.skip(), f"**{error}**", gradio.skip(), gradio.skip()


def _keep(
    served: Served,
    number: int,
    picture: PIL.Image.Image,
    fields: Mapping[str, Any],
    options: Mapping[str, Any],
) -> tuple[str, str]:
    """The path of the picture's file, and the words about it."""
    about = _about(served, fields, options)
    path = served.out / f"{number:05d}-{options['seed']}.png"
    save_picture(picture, path, about)
    told = {key: value for key, value in about.items() if key not in UNSAID}
    return str(path), ", ".join(v if k == "prompt" else f"{k} {v}" for k, v in told.items())


def _about(served: Served, fields: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, str]:
    """What a picture's file says of it."""
    recipe = served.system.recipe
    overrides = [*served.overrides, metadata.sampler_override(recipe.sampler, options)]
    return metadata.about(recipe.name, served.system.prompt_field, fields, options, served.kept, overrides)
