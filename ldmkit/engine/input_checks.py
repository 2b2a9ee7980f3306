"""Checks of a sampling's inputs that need no weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ldmkit.engine.batching import even_parts
from ldmkit.engine.parts import Parts
from ldmkit.engine.plans import Plan, check_fields, named_guide
from ldmkit.engine.requests import Inputs
from ldmkit.engine.sampling_memory import check_fits, check_room
from ldmkit.engine.sizes import known_size, latent_size
from ldmkit.errors import UserError
from ldmkit.pictures import fitted
from ldmkit.types import Image


def check_inputs(system: Parts, plan: Plan, inputs: Inputs) -> None:
    """UserError for inputs that cannot be read. It uses no weights, so it can run before a training."""
    check_asked(system, plan, inputs)
    read = {field for _, c in system.named_conditioners() for field in c.spec.fields}
    system.check_given({field: values for field, values in inputs.raw.items() if field in read})
    parts = even_parts(len(inputs.seeds), system.recipe.sample.batch)
    check_batches(system, system.recipe.sample.size, parts)
    if known := known_size(system):
        check_fits(system, known)
        plan.levels(system, latent_size(system, known))
    size = _size_before_encoding(system, inputs)
    for part in map(inputs.rows, parts):
        for i in range(len(part.init)):
            fitted_start(part.init[i : i + 1], known_size(system))
        for name, conditioner in system.named_conditioners():
            if set(conditioner.spec.fields) <= set(part.raw):
                system.prepared(name, conditioner, part.raw)
        _check_guides(plan, part.raw, size)


def check_asked(system: Parts, plan: Plan, inputs: Inputs) -> None:
    """UserError for fields that nothing reads or guidance lacks, and for a negative prompt without
    guidance; for a recipe that draws nothing."""
    if not plan.guidance:
        _ = system.network  # UserError where there is none
    check_fields(system, plan, inputs.raw, inputs.left_out)
    check_negative(system, inputs, inputs.raw)
    if inputs.negative is not None and not plan.guidance:
        raise UserError(
            "a negative prompt needs guidance, which steers away from it, and there is none: add a component "
            "to `guidance`, or leave the negative prompt out"
        )


def _check_guides(plan: Plan, raw: Mapping[str, Any], size: tuple[int, int] | None) -> None:
    """UserError for inputs that guidance cannot read or that do not fit pictures of that size."""
    for name, guide in plan.guidance:
        check = getattr(guide, "check_inputs", None)
        if check is not None:
            with named_guide(name):
                check(raw, size)


def _size_before_encoding(system: Parts, inputs: Inputs) -> tuple[int, int] | None:
    """The pictures' (height, width) as far as it is known of inputs that are not encoded: maps have their
    own."""
    mapped = any(c.spec.concat and {*c.spec.fields} <= {*inputs.raw} for _, c in system.named_conditioners())
    return None if mapped else known_size(system)


def check_negative(system: Parts, inputs: Inputs, raw: Mapping[str, Any]) -> None:
    """UserError for a negative prompt where no prompt is read."""
    if inputs.negative is not None and system.prompt_field not in raw:
        raise UserError("a negative prompt needs a recipe with captions")


def check_batches(system: Parts, size: tuple[int, int] | None, parts: Sequence[range]) -> None:
    """UserError where memory cannot hold the largest batch, as far as its size is known."""
    size = known_size(system) if size is None else size
    if size is not None:
        latent_size(system, size)
        check_room(system, size, max(map(len, parts), default=0))


def fitted_start(init: Any, size: tuple[int, int] | None) -> Image:
    """Pictures to start from, as a tensor of that size or of their own; UserError where they do not fit."""
    try:
        return fitted(init, "init", size)
    except ValueError as error:
        raise UserError(str(error)) from error
