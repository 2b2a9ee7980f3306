"""The page: controls on the left, the picture as it forms on the right, the history below."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import gradio

import ldmkit
from ldmkit.errors import UserError
from ldmkit.pictures.png import read_about
from ldmkit_serve import metadata
from ldmkit_serve import settings as choices
from ldmkit_serve.answering import PRESS, PRESSED, Served, answer, numbers
from ldmkit_serve.controls import Control, Facts, controls, holds, random_example
from ldmkit_serve.facts import facts_of, named_pictures
from ldmkit_serve.kept import Kept

MAX_UPLOAD = "16mb"
WAIT = "looking for an example; where the data set is read for the first time, this may take minutes"
FONTS = ["system-ui", "sans-serif"]
COLUMNS = 10
"""Pictures of a row of the history."""
STYLE = f"""
#picture img {{ width: 100%; height: 100%; object-fit: contain; }}
#history .grid-container {{ grid-template-columns: repeat({COLUMNS}, minmax(0, 1fr)); }}
#history .grid-wrap {{ padding-top: 2rem; }}
"""
"""gradio alone would give the history's first picture all of its width, and show a strip of it."""


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
    """Serves the page until it is interrupted, or, without `block`, until the returned page is closed.

    out: the folder for pictures, the only one that visitors can read. host, port: where the page is reached.
    share: whether gradio makes it reachable from the internet. queue: how many requests may wait. overrides:
    those with which the recipe was opened. Raises UserError for a recipe without a denoiser and for a port
    that is taken.
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
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise UserError(f"cannot listen on {host}:{port} ({error}); choose another --port") from error
    if block:
        click.echo(f"{system.recipe.name}: {blocks.share_url or blocks.local_url} (Ctrl-C ends it)")
        blocks.block_thread()
    return blocks


def page(system: ldmkit.System, out: Path, overrides: Sequence[str] = ()) -> gradio.Blocks:
    """The page of a system that has a denoiser; see `launch`."""
    facts = facts_of(system)
    kept = Kept(out / "inputs", named_pictures(system), facts.data)
    served = Served(system, out, kept, overrides)
    title = f"{system.recipe.name} - ldmkit"
    with gradio.Blocks(title=title, analytics_enabled=False, fill_width=True) as blocks:
        gradio.Markdown(f"# {system.recipe.name}")
        with gradio.Row():
            with gradio.Column(scale=5):
                read = [c for _, c in system.named_conditioners()]
                conditions = controls(read, facts, system.guided_kinds)
                captioned = any(system.prompt_field in c.spec.fields for c in read)
                chosen = choices.settings(system, captioned)
                go, stop, example = _buttons(any(holds(facts, one) for one in conditions))
            with gradio.Column(scale=4):
                picture = _picture()
                words = gradio.Markdown(elem_id="words")
        gallery = _gallery()
        dropped = gradio.File(label="drop a picture of ours: its settings come back", file_types=[".png"])
        history, press = gradio.State([]), gradio.Textbox(visible=False, max_length=40)
        components = [c for one in conditions for c in one.components]
        inputs = [*components, *chosen.values()]
        go.click(
            partial(answer, served, conditions, chosen, numbers(out)),
            [press, history, *inputs],
            [picture, words, gallery, history],
            concurrency_id="sampling",
            js=PRESS,
            trigger_mode="always_last",  # a press that meets the end of a picture is not lost
        )
        stop.click(served.cancelled.append, press, None, js=PRESSED, queue=False)
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
