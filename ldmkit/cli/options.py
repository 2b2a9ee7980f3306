"""Options that several verbs share."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from ldmkit.cli import completing
from ldmkit.disk import check_writable
from ldmkit.errors import UserError, shortened
from ldmkit.progress import quiet, timed
from ldmkit.verbs.asked import Asked

F = TypeVar("F", bound=Callable[..., Any])


def say(line: str) -> None:
    """What is being done, on standard output; nothing with --quiet."""
    if not quiet():
        click.echo(timed(line))


def say_aside(line: str) -> None:
    """The same on standard error, where standard output is for programs."""
    if not quiet():
        click.echo(timed(line), err=True)


def json_output(function: F) -> F:
    """`--json`, as the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")(function)


def write_json(value: Any) -> None:
    """One JSON value on standard output."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False))


def overrides(function: F) -> F:
    """`-s path=value`, again and again."""
    return click.option(
        "-s", "--set", "overrides", multiple=True, metavar="PATH=VALUE",
        help="Replace a value of the recipe.", shell_complete=completing.override,
    )(function)  # fmt: skip


def runs(function: F) -> F:
    """Where trainings live."""
    return click.option(
        "--runs",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("runs"),
        show_default=True,
        help="Folder of trainings and their outputs.",
    )(function)


def start(function: F) -> F:
    """`--from`, what a training starts from, as an override of the recipe's `weights`."""

    @functools.wraps(function)
    def gathered(*, start: str | None, overrides: tuple[str, ...], **rest: Any) -> Any:
        if start is not None:
            folder = Path(start).expanduser()
            shipped = not folder.exists() and folder.name == start
            weights = {"recipe": start} if shipped else str(folder.absolute())
            overrides = (f"weights={json.dumps(weights)}", *overrides)
        return function(overrides=overrides, **rest)

    return click.option(
        "--from", "start", metavar="NAME|FOLDER",
        help="Start from the weights shipped for a recipe, or from a folder of weights or trainings.",
    )(cast(F, gathered))  # fmt: skip


def running(function: F) -> F:
    """`--precision` and `--compile`, as overrides of the recipe's `sample` section."""

    @functools.wraps(function)
    def gathered(*, precision: str | None, compile: bool, overrides: tuple[str, ...], **rest: Any) -> Any:
        asked = [f"sample.precision={precision}"] if precision else []
        asked += ["sample.compile=true"] if compile else []
        return function(overrides=(*overrides, *asked), **rest)

    command: Any = click.option(
        "--compile", is_flag=True, help="Compile the denoiser; says what that takes and saves."
    )(gathered)
    choice = click.Choice(["no", "bf16", "auto"])
    return cast(F, click.option("--precision", type=choice, help="Of the denoiser.  [default: no]")(command))


def device(function: F) -> F:
    """Where the work is done."""
    return click.option(
        "--device", metavar="NAME", help="As cpu or cuda:1.  [default: the accelerator where there is one]"
    )(function)


def wait(function: F) -> F:
    """What to do where another process trains the same stage."""
    return click.option(
        "--wait", is_flag=True, help="Wait for a process that trains this recipe into the same folder."
    )(function)


def any_size(function: F) -> F:
    """Whether what memory cannot hold is refused."""
    return click.option(
        "--any-size", is_flag=True, help="Do not refuse what takes more memory than this machine has."
    )(function)


class Size(click.ParamType):  # type: ignore[type-arg]
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


def check_out(out: Path | None) -> None:
    """DiskError where pictures could not be written into `--out`, before there are any."""
    if out is not None:
        check_writable(out, "--out")


def accept(function: F) -> F:
    """What to do where data or weights are no longer those that a training began with."""
    return click.option(
        "--accept-changed-data",
        "accept",
        is_flag=True,
        help="Go on with data, or weights of the first stage, that have changed since the training.",
    )(function)


def request(function: F) -> F:
    """What to make pictures of, as one argument `asked`, and `out`, where to write them."""

    @functools.wraps(function)
    def gathered(
        *,
        prompts: tuple[str, ...],
        prompts_file: Path | None,
        inputs: tuple[str, ...],
        mask: tuple[str, ...],
        init: tuple[str, ...],
        strength: float | None,
        negative: str | None,
        count: int | None,
        size: tuple[int, int] | None,
        steps: int | None,
        guidance: float | None,
        batch: int | None,
        seed: int | None,
        overrides: tuple[str, ...],
        **rest: Any,
    ) -> Any:
        values = {
            "sample.size": size and f"[{size[0]}, {size[1]}]",
            "sampler.steps": steps,
            "sample.batch": batch,
        }
        changes = (*overrides, *(f"{key}={value}" for key, value in values.items() if value is not None))
        asked = Asked(
            prompts=all_prompts(prompts, prompts_file),
            fields=all_fields((*inputs, *(f"mask={path}" for path in mask))),
            count=count,
            seed=seed,
            negative=negative,
            init=init,
            strength=strength,
            guidance=guidance,
            overrides=changes,
        )
        return function(asked=asked, overrides=changes, **rest)

    command: Any = click.option(
        "-o", "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the pictures."
    )(gathered)
    for option in reversed(REQUEST):
        command = option(command)
    return cast(F, command)


def all_prompts(prompts: tuple[str, ...], prompts_file: Path | None) -> list[str]:
    """Prompts of the command line, then the file's lines that are not empty.

    Raises UserError for an empty prompt, and for a file without prompts or that is no UTF-8 text.
    """
    if any(not prompt.strip() for prompt in prompts):
        raise UserError("--prompt: is empty; say what to draw, or leave the option out")
    if prompts_file is None:
        return list(prompts)
    try:
        text = prompts_file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--prompts-file: {prompts_file} cannot be read as UTF-8 text ({error})") from error
    lines = [line.strip() for line in text.replace("\r", "\n").split("\n")]
    if not any(lines):
        raise UserError(f"--prompts-file: {prompts_file} holds no prompt")
    return [*prompts, *(line for line in lines if line)]


def all_fields(inputs: tuple[str, ...]) -> dict[str, list[Any] | None]:
    """Raw inputs by field, in the order given; None for a field that is to be left out."""
    fields: dict[str, list[Any]] = {}
    for text in inputs:
        field, equals, value = text.partition("=")
        if not equals or not field.strip() or not value:
            raise UserError(f"--input {text}: expects FIELD=VALUE, as segmentation=map.png")
        fields.setdefault(field.strip(), []).append(_value(field.strip(), value))
    for field, values in fields.items():
        if None in values and len(values) > 1:
            raise UserError(f"--input {field}: is left out (null) and given as well")
    return {field: None if values == [None] else values for field, values in fields.items()}


def _value(field: str, text: str) -> Any:
    """A number, or what JSON says; any other text, and every caption, as it is."""
    if field == "caption":
        return None if text == "null" else text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if text[0] in "[{":
            raise UserError(f"--input {field}={shortened(text, 200)}: is no JSON") from None
        return text
