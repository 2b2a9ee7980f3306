"""Pictures on disk: written as they are drawn; each PNG carries what makes it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ldmkit.engine import plans, sampling
from ldmkit.engine.compiling import check_compiler
from ldmkit.engine.data import buckets_of
from ldmkit.engine.input_checks import check_inputs
from ldmkit.engine.parts import CAPTION
from ldmkit.engine.requests import Inputs, check_strength, check_texts, inputs_of
from ldmkit.engine.system import System
from ldmkit.engine.unread import note_unread
from ldmkit.errors import UserError
from ldmkit.pictures import normalize, open_picture, to_pictures
from ldmkit.pictures.png import file_name, grid, save_picture
from ldmkit.progress import Meter
from ldmkit.types import Say
from ldmkit.verbs import drawn_by, examples, records
from ldmkit.verbs.arguments import PictureArguments


@dataclass(frozen=True)
class RecordedInputs:
    """The pictures to draw, what each file is to say of its inputs, and the (height, width) where a command
    line asks for one."""

    inputs: Inputs
    records: Sequence[Mapping[str, str]]
    size: tuple[int, int] | None = None


def recorded_inputs(system: System, arguments: PictureArguments) -> RecordedInputs:
    """The pictures of a command line, completed from the recipe, and where that has no inputs either, from
    the validation split of its data.

    Raises UserError for inputs that do not fit the recipe, before any weight is used.
    """
    set_guidance(system, arguments.guidance)
    inputs, plan = _inputs(system, arguments), plans.plan(system)
    check_texts(system, inputs)
    shown: Sequence[int] | None = None
    fields = [field for field in plans.fields_needed(system, plan) if field not in inputs.left_out]
    if fields and not inputs.raw:
        inputs, shown = examples.inputs(system, fields, inputs, arguments.count)
    check_strength(inputs, arguments.strength)
    check_inputs(system, plan, inputs)
    if arguments.size is not None:  # conditions say their size when they are encoded, with whatever weights
        sampling.request_for(system, inputs.rows([0]), arguments.size)
    options = records.options(arguments.overrides, arguments.guidance)
    kept = [
        records.of(system, inputs, i, None if shown is None else shown[i]) | options
        for i in range(len(inputs.seeds))
    ]
    return RecordedInputs(inputs, kept, arguments.size)


def draws(system: System) -> bool:
    """Whether the recipe draws pictures. A compression model alone does where guidance moves its latents."""
    return system.denoiser is not None or bool(system.recipe.guidance)


def check(system: System, arguments: PictureArguments) -> None:
    """UserError for pictures that could not be drawn after the stages are trained."""
    if draws(system):
        recorded_inputs(system, arguments)
        plans.plan(system)
        if system.recipe.sample.compile:
            check_compiler(system.device, "sample.compile")


def set_guidance(system: System, scale: float | None) -> None:
    """Sets the scale of the recipe's guidance, unless `scale` is None."""
    if scale is not None:
        guidance = tuple(plans.scaled(system, scale))
        system.recipe = system.recipe.model_copy(update={"guidance": guidance})


def _inputs(system: System, arguments: PictureArguments) -> Inputs:
    return inputs_of(
        system,
        list(arguments.prompts) or None,
        arguments.inputs({CAPTION, *system.text_fields}),
        count=arguments.count,
        seed=arguments.seed,
        negative=arguments.negative,
        init=list(arguments.init) or None,
        strength=arguments.strength,
    )


def make_pictures(system: System, recorded: RecordedInputs, out: Path, say: Say) -> list[Path]:
    """Writes a PNG for each picture as soon as it is drawn, and at the end `grid.png`.

    Pictures that are there already, drawn alike, are kept: an interrupted call goes on where it stopped.
    Those whose pixels were replaced since are drawn again, which is told.
    """
    model = drawn_by.of(system)
    abouts = [
        {"seed": str(seed), **model, **record}
        for seed, record in zip(recorded.inputs.seeds, recorded.records, strict=True)
    ]
    paths = [out / file_name(i, records.title(about), int(about["seed"])) for i, about in enumerate(abouts)]
    missing = drawn_by.missing(paths, abouts, say)
    say(f"samples: {len(paths) - len(missing)} reused, {len(missing)} to make in {out}")
    if missing:
        note_unread(system, recorded.inputs)
        todo = replace(recorded, inputs=recorded.inputs.rows(missing), records=[abouts[i] for i in missing])
        _draw(system, todo, [paths[i] for i in missing])
    _save_grid(paths, out / "grid.png")
    return paths


def _draw(system: System, recorded: RecordedInputs, paths: Sequence[Path]) -> None:
    """Draws the pictures batch by batch and writes each batch at once."""
    todo = iter(zip(paths, recorded.records, strict=True))
    with Meter("samples", len(paths)) as meter:
        for batch in sampling.pictures(system, recorded.inputs, size=recorded.size, meter=meter.update):
            for picture in batch:
                path, about = next(todo)
                save_picture(picture, path, about)
        meter.update(len(paths))


def _save_grid(paths: Sequence[Path], target: Path) -> None:
    about = {"pictures": ", ".join(path.name for path in paths)}
    save_picture(grid([open_picture(path) for path in paths]), target, about)


def make_reconstructions(system: System, out: Path, say: Say, count: int = 16) -> Path:
    """For a compression model alone: validation pictures above what it makes of them, as `grid.png`."""
    if system.recipe.data is None:
        raise UserError(f"recipe '{system.recipe.name}' has neither denoiser nor data: nothing to show")
    data = system.dataset().split("validation")
    images = torch.stack([data[i]["image"] for i in buckets_of(data)[0][:count]])
    images = normalize(images.to(system.device))
    with torch.no_grad():
        again = system.compression.decode(system.compression.encode(images))
    sheet = grid([*to_pictures(images), *to_pictures(again)], columns=len(images))
    save_picture(
        sheet, out / "grid.png", {"recipe": system.recipe.name, "shows": "originals over reconstructions"}
    )
    say(f"reconstructions: {out / 'grid.png'}")
    return out / "grid.png"
