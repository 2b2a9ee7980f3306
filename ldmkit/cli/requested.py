"""Options that say what to make pictures of."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from ldmkit.disk import opened, text_of
from ldmkit.errors import UserError
from ldmkit.verbs.arguments import PictureArguments

F = TypeVar("F", bound=Callable[..., Any])


class Size(click.ParamType):  # type: ignore[type-arg]  # only newer versions of click have a parameter
    """A picture's height and width: 64x512, or 64 for a square."""

    name = "HxW"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """(height, width)."""
        match = re.fullmatch(r"(\d{1,9})(?:[xX](\d{1,9}))?", str(value))
        if not match:
            self.fail(f"'{value}' is no size; expects HEIGHTxWIDTH, as 64x512", param, ctx)
        return int(match[1]), int(match[2] or match[1])


REQUEST = [
    click.option("--prompt", "prompts", multiple=True, help="A prompt; may be given again and again."),
    click.option(
        "--prompts-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="A text file with a prompt a line.",
    ),
    click.option(
        "--input", "inputs", multiple=True, metavar="FIELD=VALUE",
        help="A condition: a file, a class, a number, JSON; null leaves it out. Again and again.",
    ),
    click.option("--mask", "mask", multiple=True, metavar="FILE", help="The same as --input mask=FILE."),
    click.option("--init", "init", multiple=True, metavar="FILE", help="A picture to start from."),
    click.option("--strength", type=float, help="How much of it is drawn anew, above 0, up to 1."),
    click.option("--negative", help="What to steer away from."),
    click.option("--count", type=click.IntRange(1), help="How many pictures of each input."),
    click.option("--size", type=Size(), help="Height and width of the pictures."),
    click.option("--steps", type=click.IntRange(1), help="Steps of the sampler."),
    click.option("--guidance", type=float, help="The scale of the guidance."),
    click.option("--batch", type=click.IntRange(1), help="How many pictures are drawn together."),
    click.option(
        "--seed", type=click.IntRange(0, 2**63 - 1), help="Seed of the first picture; then one more each."
    ),
]  # fmt: skip
"""What to make pictures of."""
SAME = ("count", "seed", "negative", "init", "strength", "guidance", "size")
"""Those options whose values `PictureArguments` takes as they are."""


def request(function: F) -> F:
    """What to make pictures of, as one argument `arguments`, and `out`, where to write them."""

    @functools.wraps(function)
    def gathered(*, overrides: tuple[str, ...], **given: Any) -> Any:
        changes = (*overrides, *_changes(given["size"], given.pop("steps"), given.pop("batch")))
        masks = (f"mask={path}" for path in given.pop("mask"))
        arguments = PictureArguments(
            prompts=all_prompts(given.pop("prompts"), given.pop("prompts_file")),
            fields=all_fields((*given.pop("inputs"), *masks)),
            overrides=changes,
            **{name: given.pop(name) for name in SAME},
        )
        return function(arguments=arguments, overrides=changes, **given)

    command: Any = click.option(
        "-o", "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the pictures."
    )(gathered)
    for option in reversed(REQUEST):
        command = option(command)
    return cast(F, command)


def _changes(size: tuple[int, int] | None, steps: int | None, batch: int | None) -> list[str]:
    """The overrides that options are short for."""
    values = {
        "sample.size": size and f"[{size[0]}, {size[1]}]",
        "sampler.steps": steps,
        "sample.batch": batch,
    }
    return [f"{key}={value}" for key, value in values.items() if value is not None]


def all_prompts(prompts: tuple[str, ...], prompts_file: Path | None) -> list[str]:
    """Prompts of the command line, then the file's lines that are not empty.

    Raises UserError for an empty prompt, and for a file without prompts or that is no UTF-8 text.
    """
    if any(not prompt.strip() for prompt in prompts):
        raise UserError("--prompt: is empty; say what to draw, or leave the option out")
    if prompts_file is None:
        return list(prompts)
    try:
        with opened(prompts_file) as file:
            text = text_of(file.read())
    except (OSError, ValueError) as error:
        raise UserError(f"--prompts-file: {prompts_file} cannot be read ({error})") from error
    lines = [line.strip() for line in text.replace("\r", "\n").split("\n")]
    if not any(lines):
        raise UserError(f"--prompts-file: {prompts_file} holds no prompt")
    return [*prompts, *(line for line in lines if line)]


def all_fields(inputs: tuple[str, ...]) -> dict[str, list[str] | None]:
    """Inputs by field as texts, in the order given; None for a field that is to be left out."""
    fields: dict[str, list[str]] = {}
    for text in inputs:
        field, equals, value = text.partition("=")
        if not equals or not field.strip() or not value:
            raise UserError(f"--input {text}: expects FIELD=VALUE, as segmentation=map.png")
        fields.setdefault(field.strip(), []).append("null" if value.strip() == "null" else value)
    for field, values in fields.items():
        if "null" in values and len(values) > 1:
            raise UserError(f"--input {field}: is left out (null) and given as well")
    return {field: None if values == ["null"] else values for field, values in fields.items()}
