"""The page: controls on the left, the picture as it forms on the right, the history below."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio

import ldmkit
from ldmkit.errors import UserError
from ldmkit.pictures.png import read_about, save_picture
from ldmkit_serve import metadata
from ldmkit_serve import settings as choices
from ldmkit_serve.controls import Control, Facts, controls, holds, random_example
from ldmkit_serve.drawing import draw
from ldmkit_serve.facts import facts_of, named_pictures
from ldmkit_serve.kept import Kept

MAX_UPLOAD = "16mb"
HISTORY = 60
"""Pictures that a visitor's history holds."""
WAIT = "looking for an example; where the data set is read for the first time, this may take minutes"
UNSAID = ("recipe", "inputs", "init", "options")
"""What a picture's file says but not the line below it: the same for all, or long."""
FONTS = ["system-ui", "sans-serif"]
COLUMNS = 10
"""Pictures of a row of the history."""
STYLE = f"""
#picture img {{ width: 100%; height: 100%; object-fit: contain; }}
#history .grid-container {{ grid-template-columns: repeat({COLUMNS}, minmax(0, 1fr)); }}
#history .grid-wrap {{ padding-top: 2rem; }}
"""
"""gradio alone would give the history's first picture all of its width, and show a strip of it."""


@dataclass(frozen=True)
class Served:
    """What is served: pictures go to the folder `out`. overrides: those with which the recipe was opened."""

    system: ldmkit.System
    out: Path
    kept: Kept
    overrides: Sequence[str] = ()


def launch(
    system: ldmkit.System,
    out: Path,
    *,
    host: str,
    port: int,
    share: bool,
    queue: int,
    block: bool = True,
    overrides: Sequence[str] = (),
) -> gradio.Blocks:
    """Serves the page until it is interrupted (or, without `block`, until the page is closed). Pictures go to
    `out`, the one folder that can be read.

    Raises UserError for a recipe without a denoiser and for a port that is taken.
    """
    if system.denoiser is None:
        raise UserError(f"recipe '{system.recipe.name}' has no denoiser: there are no pictures to draw")
    out.mkdir(parents=True, exist_ok=True)
    blocks = page(system, out, overrides).queue(max_size=queue, default_concurrency_limit=1)
    try:
        blocks.launch(
            server_name=host,
            server_port=port or None,
            share=share,
            allowed_paths=[str(out.resolve())],
            max_file_size=MAX_UPLOAD,
            footer_links=[],
            theme=gradio.themes.Soft(font=FONTS, font_mono=["monospace"]),
            css=STYLE,
            show_error=True,
            prevent_thread_lock=not block,
        )
    except OSError as error:
        raise UserError(f"cannot listen on {host}:{port} ({error}); choose another --port") from error
    return blocks


def page(system: ldmkit.System, out: Path, overrides: Sequence[str] = ()) -> gradio.Blocks:
    """The page of a system with a denoiser."""
    facts = facts_of(system)
    kept = Kept(out / "inputs", named_pictures(system), facts.data)
    served = Served(system, out, kept, overrides)
    title = f"{system.recipe.name} - ldmkit"
    with gradio.Blocks(title=title, analytics_enabled=False, fill_width=True) as blocks:
        gradio.Markdown(f"# {system.recipe.name}")
        with gradio.Row():
            with gradio.Column(scale=5):
                conditions = controls([c for _, c in system.named_conditioners()], facts)
                captioned = any(system.prompt_field in one.fields for one in conditions)
                chosen = choices.settings(system, captioned)
                go, stop, example = _buttons(any(holds(facts, one) for one in conditions))
            with gradio.Column(scale=4):
                picture = _picture()
                words = gradio.Markdown(elem_id="words")
        gallery = _gallery()
        dropped = gradio.File(label="drop a picture of ours: its settings come back", file_types=[".png"])
        history = gradio.State([])
        components = [c for one in conditions for c in one.components]
        inputs = [*components, *chosen.values()]
        drawing = go.click(
            partial(_draw, served, conditions, chosen, _numbers(out)),
            [history, *inputs],
            [picture, words, gallery, history],
            concurrency_id="sampling",
        )
        stop.click(lambda: "cancelled", None, words, cancels=[drawing])
        example.click(lambda: WAIT, None, words).then(
            partial(_example, conditions, facts), None, [*components, words]
        )
        dropped.upload(partial(_dropped, served, conditions, chosen), dropped, [*inputs, words])
        for one in conditions:
            one.listen()
    return blocks


def _buttons(examples: bool) -> tuple[gradio.Button, gradio.Button, gradio.Button]:
    """A row that draws, cancels and, where the data have `examples`, fills in one of them."""
    with gradio.Row():
        return (
            gradio.Button("Draw", variant="primary", elem_id="draw"),
            gradio.Button("Cancel", elem_id="cancel"),
            gradio.Button("Random example", elem_id="example", visible=examples),
        )


def _picture() -> gradio.Image:
    """Where the picture forms."""
    return gradio.Image(
        label="picture",
        format="png",
        interactive=False,
        height=420,
        buttons=["download", "fullscreen"],
        elem_id="picture",
    )


def _gallery() -> gradio.Gallery:
    """The pictures that were drawn before."""
    return gradio.Gallery(
        label="history",
        columns=COLUMNS,
        height=190,
        object_fit="contain",
        buttons=["download"],
        elem_id="history",
    )


def _numbers(out: Path) -> Iterator[int]:
    """Numbers of the pictures in the folder, from the first after those that are there."""
    there = [int(path.name[:5]) for path in out.glob("[0-9][0-9][0-9][0-9][0-9]-*.png")]
    return itertools.count(max(there, default=-1) + 1)


def _draw(
    served: Served,
    conditions: Sequence[Control],
    chosen: choices.Settings,
    numbers: Iterator[int],
    history: list[tuple[str, str]],
    *values: Any,
) -> Iterator[tuple[Any, ...]]:
    """The page's updates while one picture forms: (picture, words, gallery, history)."""
    try:
        fields, options = choices.request(conditions, chosen, values)
        for step in draw(served.system, {"fields": fields, **options}):
            if not step.finished or step.picture is None:
                shown = gradio.skip() if step.picture is None else step.picture
                yield shown, f"{100 * step.share:.0f} %", gradio.skip(), gradio.skip()
                continue
            about = _about(served, fields, options)
            path = served.out / f"{next(numbers):05d}-{options['seed']}.png"
            save_picture(step.picture, path, about)
            told = {key: value for key, value in about.items() if key not in UNSAID}
            words = ", ".join(v if k == "prompt" else f"{k} {v}" for k, v in told.items())
            history = [(str(path), words), *history][:HISTORY]
            yield str(path), words, history, history
    except (UserError, ValueError) as error:
        gradio.Warning(str(error))  # and not an Error, which would cover picture and history
        yield gradio.skip(), f"**{error}**", gradio.skip(), gradio.skip()


def _about(served: Served, fields: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, str]:
    """What a picture's file says of it."""
    recipe = served.system.recipe
    overrides = [*served.overrides, metadata.sampler_override(recipe.sampler, options)]
    return metadata.about(recipe.name, served.system.prompt_field, fields, options, served.kept, overrides)


def _example(conditions: Sequence[Control], facts: Facts) -> list[Any]:
    """A random example's values for the components of the conditions, and no words."""
    one = random_example(facts, random.Random())
    values: list[Any] = []
    for control in conditions:
        if one is None or not holds(facts, control):
            values += [gradio.skip()] * len(control.components)
        else:
            values += control.show(one)
    return [*values, ""]


def _dropped(served: Served, conditions: Sequence[Control], chosen: choices.Settings, path: str) -> list[Any]:
    """The inputs and settings of a picture that was dropped on the page, and words about them."""
    try:
        about = read_about(Path(path))
    except UserError:
        gradio.Warning(f"{Path(path).name}: not a picture of ours")
        kept = sum(len(one.components) for one in conditions) + len(chosen)
        return [*[gradio.skip()] * kept, f"**{Path(path).name}: not a picture of ours**"]
    prompt = served.system.prompt_field
    values, missing = metadata.from_picture(conditions, chosen, prompt, about, served.kept)
    return [*values, "; ".join(["settings taken from the picture", *missing])]
