"""Pictures on disk: written as they are drawn; each PNG carries what makes it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from warnings import warn

import torch

from ldmkit.checkpoint.files import tensors_digest
from ldmkit.engine import plans, pretrained, sampling
from ldmkit.engine.compiling import check_compiler
from ldmkit.engine.data import buckets_of
from ldmkit.engine.requests import Inputs, check_strength, inputs_of
from ldmkit.engine.stage_state import stage_state
from ldmkit.engine.system import System
from ldmkit.engine.weights import stages_of
from ldmkit.errors import Note, UserError, shortened
from ldmkit.pictures import normalize, open_picture, shown, to_pictures
from ldmkit.pictures.png import file_name, grid, read_about, save_picture
from ldmkit.progress import Meter
from ldmkit.recipe import changed, complete, digest
from ldmkit.recipe.digests import SIZE
from ldmkit.types import Say
from ldmkit.verbs import examples, records
from ldmkit.verbs.asked import Asked

FROZEN = "frozen"
"""What a file calls the digest of the weights that no stage holds."""


@dataclass(frozen=True)
class RecordedInputs:
    """The pictures to draw, and what each file is to say of its inputs."""

    inputs: Inputs
    records: Sequence[Mapping[str, str]]


def recorded_inputs(system: System, asked: Asked) -> RecordedInputs:
    """The pictures of a command line, completed from the recipe, and where that has no inputs either, from
    the validation split of its data.

    Raises UserError for inputs that do not fit the recipe, before any weight is used.
    """
    _set_guidance(system, asked.guidance)
    inputs, plan = _inputs(system, asked), plans.plan(system)
    shown: Sequence[int] | None = None
    if not inputs.raw and (fields := plans.fields_needed(system, plan)):
        inputs, shown = examples.inputs(system, fields, inputs, asked.count)
    check_strength(inputs, asked.strength)
    sampling.check_inputs(system, plan, inputs)
    options = records.options(asked.overrides, asked.guidance)
    kept = [
        records.of(system, inputs, i, None if shown is None else shown[i]) | options
        for i in range(len(inputs.seeds))
    ]
    return RecordedInputs(inputs, kept)


def draws(system: System) -> bool:
    """Does the recipe draw pictures? A compression model alone does where guidance is to move its latents."""
    return system.denoiser is not None or bool(system.recipe.guidance)


def check(system: System, asked: Asked) -> None:
    """UserError for pictures that could not be drawn when the stages are trained."""
    if draws(system):
        recorded_inputs(system, asked)
        plans.plan(system)
        if system.recipe.sample.compile:
            check_compiler(system.device, "sample.compile")


def _set_guidance(system: System, scale: float | None) -> None:
    if scale is not None:
        guidance = tuple(plans.scaled(system, scale))
        system.recipe = system.recipe.model_copy(update={"guidance": guidance})


def _inputs(system: System, asked: Asked) -> Inputs:
    return inputs_of(
        system,
        list(asked.prompts) or None,
        asked.fields,
        count=asked.count,
        seed=asked.seed,
        negative=asked.negative,
        init=list(asked.init) or None,
        strength=asked.strength,
    )


def asked_again(picture: Path, asked: Asked) -> Asked:
    """The options with which a picture was made, where none are given now.

    Raises UserError for inputs beside the picture, but for files that have moved.
    """
    if beside := asked.inputs_beside("fields"):
        raise UserError(f"--again takes everything from the picture: leave out {', '.join(beside)}")
    if asked.overrides or asked.guidance is not None:
        return asked
    overrides, guidance = records.read_options(read_about(picture))
    return replace(asked, overrides=overrides, guidance=guidance)


def recorded_again(
    system: System, picture: Path, asked: Asked, source: str | Path | None = None
) -> RecordedInputs:
    """The inputs that made a picture, read from it; `asked.fields` are files that have moved since. source:
    of the recipe, to tell in which values it differs from the picture's. A picture of the page does not say
    its weights: those that are there are taken, with a note.

    Raises UserError where this recipe or its weights are not those that made it, and for files that have
    changed or are gone.
    """
    _set_guidance(system, asked.guidance)
    about = read_about(picture)
    own = digest(system.recipe, "samples")
    if "digest" not in about and not about.keys() >= {"seed", "recipe"}:
        names = f": it shows {shown(about['pictures'])}" if "pictures" in about else ""
        raise UserError(
            f"{picture} does not say how it was drawn{names}; name one of the pictures themselves"
        )
    if "digest" not in about and about["recipe"] != system.recipe.name:
        raise UserError(
            f"{picture} was made by recipe '{shown(about['recipe'])}', this is '{system.recipe.name}'"
        )
    if "digest" not in about:
        warn(Note(f"{picture} does not say which weights made it: those of today draw it"), stacklevel=2)
    elif about["digest"] != own:
        raise UserError(
            f"{picture} was made by recipe digest {about['digest'][:12]}, this is {own[:12]}"
            f"{_differing(system, about, source)}{records.how(about)}"
        )
    if about.get("weights", weights := _weights(system)) != weights:
        raise UserError(f"{picture} was made with weights {about['weights'][:12]}, these are {weights[:12]}")
    if FROZEN in about and {FROZEN: about[FROZEN]} != _pretrained(system):
        raise UserError(
            f"{picture} was made with other weights of a pretrained encoder, or of a network that guidance "
            "asks, than those that are there now: put those back"
        )
    inputs = records.read(system, about, picture, asked.fields)
    sampling.check_inputs(system, plans.plan(system), inputs)
    return RecordedInputs(
        inputs, [records.of(system, inputs, 0, records.example(about)) | records.kept_options(about)]
    )


def _differing(system: System, about: Mapping[str, str], source: str | Path | None) -> str:
    """In which values the recipe differs from the one that made a picture, as far as that can be told."""
    if source is None:
        return ""
    overrides, guidance = records.read_options(about)
    try:
        before = complete(source, overrides, system.registry)
    except UserError:
        return ""
    if guidance is not None:
        before = before.model_copy(
            update={"guidance": tuple(plans.scaled(system, guidance, before.guidance))}
        )
    if digest(before, "samples") != about["digest"]:
        return ": the recipe itself has changed since, or is another one"
    pairs = changed(before, system.recipe, "samples").items()
    words = [_was(path, x, y) for path, (x, y) in pairs]
    return f": {shortened(', '.join(words), 300)}"


def _was(path: str, then: Any, now: Any) -> str:
    """A value that has changed; a size as a person would give it."""
    if path == SIZE:
        path, then, now = "size", *(x and f"{x[0]}x{x[1]}" for x in (then, now))
    words = ["null" if x is None else x for x in (then, now)]
    return f"{path} was {words[0]}, is {words[1]}"


def make_pictures(system: System, recorded: RecordedInputs, out: Path, say: Say) -> list[Path]:
    """Writes a PNG a picture, as soon as it is drawn, and in the end `grid.png`.

    Pictures that are there already, drawn alike, are kept: an interrupted call goes on where it stopped.
    """
    shared = {
        "recipe": system.recipe.name,
        "digest": digest(system.recipe, "samples"),
        "weights": _weights(system),
        **({"data": system.trained_on} if system.trained_on else {}),
        **_pretrained(system),
    }
    abouts = [
        {"seed": str(seed), **shared, **record}
        for seed, record in zip(recorded.inputs.seeds, recorded.records, strict=True)
    ]
    paths = [out / file_name(i, records.title(about), int(about["seed"])) for i, about in enumerate(abouts)]
    missing = [i for i, path in enumerate(paths) if not _made(path, abouts[i])]
    say(f"samples: {len(paths) - len(missing)} reused, {len(missing)} to make in {out}")
    if missing:
        _draw(
            system, recorded.inputs.rows(missing), [paths[i] for i in missing], [abouts[i] for i in missing]
        )
    _save_grid(paths, out / "grid.png")
    return paths


def _draw(system: System, inputs: Inputs, paths: Sequence[Path], abouts: Sequence[Mapping[str, str]]) -> None:
    """Draws the pictures batch by batch and writes each batch at once."""
    todo = iter(zip(paths, abouts, strict=True))
    with Meter("samples", len(paths)) as meter:
        for batch in sampling.pictures(system, inputs, meter=meter.update):
            for picture in batch:
                path, about = next(todo)
                save_picture(picture, path, about)
        meter.update(len(paths))


def _weights(system: System) -> str:
    """The digest of all weights."""
    tensors = {f"{s}.{k}": x for s in stages_of(system.recipe) for k, x in stage_state(system, s).items()}
    return tensors_digest(tensors)


def _pretrained(system: System) -> dict[str, str]:
    """The digest of the weights that no stage holds, where there are any."""
    found = pretrained.digest(system, plans.plan(system))
    return {} if found is None else {FROZEN: found}


def _made(path: Path, about: Mapping[str, str]) -> bool:
    try:
        held = read_about(path) if path.exists() else {}
    except UserError:
        return False
    silent = {FROZEN} - held.keys()  # earlier versions did not write it
    return _essence(held) == {key: x for key, x in _essence(about).items() if key not in silent}


def _essence(about: Mapping[str, str]) -> dict[str, str]:
    """What determines the picture: the options that led to the recipe's digest do not, beside the digest."""
    return {key: value for key, value in about.items() if key not in ("options", "guidance")}


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
