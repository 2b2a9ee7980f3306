"""The inputs of a sampling: raw values by field, completed from the recipe, and a seed for each picture."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any

from torch import Tensor

from ldmkit.engine.parts import Parts
from ldmkit.engine.whole_numbers import is_whole
from ldmkit.errors import UserError
from ldmkit.pictures import OTHER_SUFFIXES, SUFFIXES

PICTURES = (*SUFFIXES, *OTHER_SUFFIXES)
"""A text with one of these endings, given for a field other than the caption, is the path of a picture."""

MOST = 100_000
"""The most pictures of one call: their inputs and seeds are held in memory."""


@dataclass(frozen=True)
class Inputs:
    """The inputs of a sampling; each sequence has one entry per picture.

    raw: inputs by field, as conditioners and guidance read them. seeds: of the noise. negative: the prompt to
    steer away from. init: pictures to start from instead of noise; empty: none. strength: how much of the
    noise such a start gets, 0 (none) to 1 (all). left_out: fields that the user leaves out.
    """

    raw: Mapping[str, Sequence[Any]]
    seeds: Sequence[int]
    negative: str | None = None
    init: Sequence[Any] = ()
    strength: float = 0.6
    left_out: Collection[str] = ()

    def rows(self, chosen: Sequence[int]) -> Inputs:
        """The inputs of the chosen pictures."""
        return replace(
            self,
            raw={field: rows(values, chosen) for field, values in self.raw.items()},
            seeds=rows(self.seeds, chosen),
            init=rows(self.init, chosen) if len(self.init) else (),
        )


def inputs_of(
    system: Parts,
    prompts: str | Sequence[str] | None = None,
    fields: Mapping[str, Any] | None = None,
    *,
    count: int | None = None,
    seed: int | None = None,
    seeds: Sequence[int] | None = None,
    negative: str | None = None,
    init: Any = None,
    strength: float | None = None,
) -> Inputs:
    """The user's inputs, completed from the recipe's `sample` section.

    A field with a single value has it for every picture; what is None is left out, and a field that is not
    given at all comes from the recipe. `count` pictures are drawn of each input. Raises UserError for fields
    of different lengths and for a strength, count or seed out of range.
    """
    sample = system.recipe.sample
    given = _given(system, prompts, fields)
    numbers = seeds.tolist() if isinstance(seeds, Tensor) else seeds
    listed = None if numbers is None else _checked("seeds", numbers)
    starts = _listed(init if init is not None else located(sample.init, system))
    raw = _completed(system, given, () if init is None else starts)
    chosen = _chosen(_length(raw, starts), count, sample.count, listed)
    return Inputs(
        {field: _of_each(values, chosen) for field, values in raw.items()},
        _seeds(len(chosen), whole_number("seed", sample.seed if seed is None else seed, 0), listed),
        sample.negative if negative is None else negative,
        _of_each(starts, chosen) if len(starts) else (),
        _strength(sample.strength if strength is None else strength),
        [field for field, values in {**sample.fields, **given}.items() if values is None],
    )


def check_strength(inputs: Inputs, strength: float | None) -> None:
    """UserError for a strength that is given where there are no pictures to start from."""
    if strength is not None and not len(inputs.init):
        raise UserError("strength: says how much of pictures to start from is drawn anew: give some (init)")


def check_texts(system: Parts, inputs: Inputs) -> None:
    """UserError for an empty text that a user or a recipe gives; the data may hold empty captions."""
    for field in system.text_fields:
        texts = inputs.raw.get(field, ())
        if any(isinstance(text, str) and not text.strip() for text in texts):
            raise UserError(f"{field}: is empty; say what to draw, or leave {field} out")


def rows(values: Any, chosen: Sequence[int]) -> Any:
    """Some entries of a list, a tuple or a tensor."""
    return values[list(chosen)] if isinstance(values, Tensor) else [values[i] for i in chosen]


def located(value: Any, system: Parts) -> Any:
    """A value of the recipe: the path of a picture starts at the recipe's folder."""
    return str(system.recipe.located(value)) if is_picture_file(value) else value


def is_picture_file(value: Any) -> bool:
    """Is the value of a field the path of a picture?"""
    return isinstance(value, Path) or (isinstance(value, str) and value.lower().endswith(PICTURES))


def _given(
    system: Parts, prompts: str | Sequence[str] | None, fields: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The inputs that the user gives, a list a field; None for a field that is left out."""
    if not isinstance(fields, Mapping | None):
        raise UserError(f"fields: expects a mapping of names to inputs, not {type(fields).__name__}")
    given = dict(fields or {})
    if prompts is not None:
        if given.get(system.prompt_field) is not None:
            raise UserError(f"{system.prompt_field}: given as prompts and in fields: give one of them")
        given[system.prompt_field] = prompts
    return {field: None if values is None else _checked(field, values) for field, values in given.items()}


def _checked(field: str, values: Any) -> Any:
    """A batch of inputs; UserError for an empty one, and for a text that no file and no tokenizer could
    hold."""
    values = _listed(values)
    if not len(values):
        raise UserError(f"{field}: an empty list; give one a picture, or leave {field} out")
    for value in values if not isinstance(values, Tensor) else ():
        if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise UserError(f"{field}: {value!r} is no readable text: half a character (a lone surrogate)")
    return values


def _listed(value: Any) -> Any:
    """A batch: a single text, number, picture or anything else without entries is a batch of one."""
    if value is None:
        return ()
    if getattr(value, "ndim", None) == 0:  # a number of numpy or torch
        value = value.item()
    if isinstance(value, Mapping | str | bytes) or not isinstance(value, Iterable):
        return [value]
    return value if isinstance(value, Tensor) else list(value)


def _length(raw: Mapping[str, Any], init: Any) -> int:
    """How many inputs there are; 0 where none is given."""
    lengths = {field: len(values) for field, values in {**raw, "init": init}.items() if len(values)}
    longest = max(lengths.values(), default=0)
    if set(lengths.values()) - {1, longest}:
        raise UserError(f"fields differ in length: {lengths}; give one value or the same number of each")
    return longest


def _completed(system: Parts, given: Mapping[str, Any], starts: Any) -> dict[str, Any]:
    """The given inputs, and the recipe's for all other fields, repeated to the number of those given."""
    sample, texts = system.recipe.sample, system.text_fields
    values = {field: listed for field, listed in given.items() if listed is not None}
    length = _length(values, starts)
    own: dict[str, Any] = {
        f: list(values) if f in texts else [located(v, system) for v in values]
        for f, values in sample.fields.items()
        if values is not None
    }
    if sample.prompts:
        own[system.prompt_field] = list(sample.prompts)
    own = {field: values for field, values in own.items() if field not in given and values}
    return {f: [v[i % len(v)] for i in range(length)] if length else v for f, v in own.items()} | values


def _chosen(inputs: int, count: int | None, default: int, seeds: Sequence[int] | None) -> list[int]:
    """The index of the input of each picture.

    There are `count` pictures of each input: by default as many as there are seeds for, else the recipe's
    `default`. A recipe without inputs has a single one, or one for each seed.
    """
    each = whole_number("count", default if count is None else count)
    if seeds is not None and count is None:
        inputs = inputs or len(seeds)
        each = len(seeds) // inputs or 1
    inputs = inputs or 1
    if inputs * each > MOST:
        raise UserError(
            f"{inputs * each:,} pictures: at most {MOST:,} are drawn in one call; take a smaller count"
        )
    return [i for i in range(inputs) for _ in range(each)]


def _of_each(values: Any, chosen: Sequence[int]) -> Any:
    """The value of each picture; a single value is repeated."""
    return rows(values, chosen if len(values) > 1 else [0] * len(chosen))


def whole_number(name: str, value: Any, least: int = 1) -> int:
    """A whole number of at least `least`; UserError that names the option for anything else."""
    if not is_whole(value) or value < least:
        raise UserError(f"{name} {value!r}: expects a whole number of at least {least}")
    return int(value)


def _strength(strength: float) -> float:
    if not isinstance(strength, Real) or not 0 < strength <= 1:
        raise UserError(f"strength {strength}: expects a number above 0, up to 1")
    return float(strength)


def _seeds(count: int, first: int, seeds: Sequence[int] | None) -> list[int]:
    """One seed a picture: those given, else first, first + 1, ..."""
    chosen = [first + i for i in range(count)] if seeds is None else list(seeds)
    if len(chosen) != count:
        raise UserError(f"{len(chosen)} seeds for {count} pictures")
    numbers = [whole_number("seed", seed, 0) for seed in chosen]
    if any(number >= 2**63 for number in numbers):
        raise UserError("a seed must be between 0 and 2^63 - 1")
    return numbers
