"""A picture made again from what its file says: `ldmkit sample --again`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from warnings import warn

from ldmkit.engine import plans
from ldmkit.engine.input_checks import check_inputs
from ldmkit.engine.system import System
from ldmkit.errors import Note, UserError, shortened
from ldmkit.pictures import shown
from ldmkit.pictures.png import read_about
from ldmkit.recipe import changed, complete, digest
from ldmkit.recipe.digests import SIZE
from ldmkit.verbs import drawn_by, records
from ldmkit.verbs.arguments import PictureArguments
from ldmkit.verbs.run import RecordedInputs, set_guidance


def arguments_again(picture: Path, arguments: PictureArguments) -> PictureArguments:
    """The options with which a picture was made, unless other options are given now.

    Raises UserError for inputs beside the picture, except for files that have moved.
    """
    if beside := arguments.inputs_beside("fields"):
        raise UserError(f"--again takes everything from the picture: leave out {', '.join(beside)}")
    if arguments.overrides or arguments.guidance is not None:
        return arguments
    overrides, guidance = records.read_options(read_about(picture))
    return replace(arguments, overrides=overrides, guidance=guidance)


def recorded_again(
    system: System, picture: Path, arguments: PictureArguments, source: str | Path | None = None
) -> RecordedInputs:
    """The inputs that made a picture, read from it; `arguments.fields` are files that have moved since.

    source: the recipe's, to tell in which values it differs from the picture's. Uses no weights: compare
    those with `check_weights` once they are loaded. Raises UserError where the recipe or an input are not
    those of the picture, or the settings cannot draw.
    """
    set_guidance(system, arguments.guidance)
    about = read_about(picture)
    if "digest" in about:
        _check_recipe(system, picture, about, source)
    else:
        _check_name(system, picture, about)
    inputs = records.read(system, about, picture, arguments.fields)
    check_inputs(system, plans.plan(system), inputs)
    return RecordedInputs(
        inputs, [records.of(system, inputs, 0, records.example(about)) | records.kept_options(about)]
    )


def _check_recipe(system: System, picture: Path, about: Mapping[str, str], source: str | Path | None) -> None:
    """UserError where another recipe made the picture, by its digest."""
    own = digest(system.recipe, "samples")
    if about["digest"] != own:
        raise UserError(
            f"{picture} was made by recipe digest {about['digest'][:12]}, this is {own[:12]}"
            f"{_differing(system, about, source)}{records.how(about)}"
        )


def _check_name(system: System, picture: Path, about: Mapping[str, str]) -> None:
    """UserError where another recipe made the picture, by its name: a picture of the page says no more."""
    if not about.keys() >= {"seed", "recipe"}:
        names = f": it shows {shown(about['pictures'])}" if "pictures" in about else ""
        raise UserError(
            f"{picture} does not say how it was drawn{names}; name one of the pictures themselves"
        )
    if about["recipe"] != system.recipe.name:
        raise UserError(
            f"{picture} was made by recipe '{shown(about['recipe'])}', this is '{system.recipe.name}'"
        )


def check_weights(system: System, picture: Path) -> None:
    """UserError where other weights made the picture than those that are there, as far as it says which. A
    picture of the page does not: the weights that are there are taken, with a note."""
    about = read_about(picture)
    if "digest" not in about:
        warn(Note(f"{picture} does not say which weights made it: those of today draw it"), stacklevel=2)
    if about.get("weights", weights := drawn_by.weights(system)) != weights:
        raise UserError(f"{picture} was made with weights {about['weights'][:12]}, these are {weights[:12]}")
    if drawn_by.FROZEN in about and {drawn_by.FROZEN: about[drawn_by.FROZEN]} != drawn_by.frozen(system):
        raise UserError(
            f"{picture} was made with other weights of a pretrained encoder, or of a network that guidance "
            "asks, than those that are there now: put those back"
        )


def _differing(system: System, about: Mapping[str, str], source: str | Path | None) -> str:
    """The values in which the recipe differs from the one that made a picture, where that can be told."""
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
    """A value that has changed, as text; sizes as on the command line."""
    if path == SIZE:
        path, then, now = "size", *(x and f"{x[0]}x{x[1]}" for x in (then, now))
    words = ["null" if x is None else x for x in (then, now)]
    return f"{path} was {words[0]}, is {words[1]}"
