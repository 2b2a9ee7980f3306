"""A check of a recipe's data before a training: every field that conditioners read is there and fits."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from ldmkit.engine.data import drawn_of, field_kinds, of_one_shape
from ldmkit.engine.dry_runs import IN_TRAINING
from ldmkit.engine.parts import Parts
from ldmkit.engine.promises import (
    check_condition,
    check_dataset,
    check_null,
    check_prepared,
    check_repeated,
)
from ldmkit.engine.rehearsal import in_mode, learns, named
from ldmkit.engine.trial import WRONG
from ldmkit.engine.unread import unread
from ldmkit.errors import UserError
from ldmkit.host.contained import described
from ldmkit.interfaces import Conditioner, Dataset
from ldmkit.pictures import SUFFIXES
from ldmkit.recipe.stages import DiffusionTraining
from ldmkit.training.data import Examples, raw_of
from ldmkit.training.look_pictures import check_sizes, name_of, picture_of
from ldmkit.types import Condition

LOOKED = 10_000
"""Examples of a split that are looked at, evenly spaced; of a smaller one all."""
BATCH = 64
SHOWN_NAMES = 20
"""Classes of the data that a message names, at most."""
SPLITS = ("train", "validation")


def look_at_data(system: Parts, data: Dataset) -> list[str]:
    """Refuses what would end a training later: UserError names the condition, the field and the example.
    Returns a line for each input that is not read whole.

    Fields are there and of the type that their conditioner reads, files open, maps and masks give the
    latent's size, and with `flip` everything that lies on the picture can be mirrored with it. Uses no
    weights; modules may be on the meta device.
    """
    options = system.recipe.train.diffusion
    check_crop(options, data)
    flip = options is not None and options.flip
    cut: list[str] = []
    _check_names(system, data)
    assert system.recipe.data is not None
    for split in SPLITS:
        with named("data", system.recipe.data, WRONG):
            part = data.split(split)
            check_dataset(part)
            if len(part) == 0:
                raise ValueError(f"split '{split}' holds no examples")
        unsure = () if hasattr(part, "buckets") else ("image",)  # nothing says that pictures have one size
        examples = Examples(part, [*fields_of(system), *unsure], memory=0)
        check_fields(system, part[0])
        if flip and split == "train":
            _check_mirrored(system, part)
        indices = np.linspace(0, len(part) - 1, min(len(part), LOOKED)).astype(int).tolist()
        for group in of_one_shape(indices, examples.buckets):
            for start in range(0, len(group), BATCH):
                cut += _look(system, part, examples, group, start, flip and split == "train")
        for bucket in examples.buckets:
            _check_conditions(system, part, bucket[:2])
    return cut


def fields_of(system: Parts) -> tuple[str, ...]:
    """The fields that the recipe's conditioners read."""
    return tuple(dict.fromkeys(f for _, c in system.named_conditioners() for f in c.spec.fields))


def check_fields(system: Parts, example: Mapping[str, Any]) -> None:
    """UserError unless an example has every field that a conditioner reads."""
    for name, conditioner in system.named_conditioners():
        missing = sorted(set(conditioner.spec.fields) - set(example))
        if missing:
            there = ", ".join(sorted(example)) or "none"
            raise UserError(
                f"condition '{name}' reads {', '.join(missing)}, which the data does not have; "
                f"it has {there}: choose one with conditioners.{name}.field"
            )


def _check_names(system: Parts, data: Dataset) -> None:
    """UserError where a conditioner gives the name of a class another number than the data do."""
    for name, conditioner in system.named_conditioners():
        own: Sequence[str] = getattr(conditioner, "names", ())
        for field in conditioner.spec.fields:
            known = list(getattr(data, "class_names", {}).get(field, ()))
            for number, called in enumerate(own):
                if called in known and known.index(called) != number:
                    raise UserError(
                        f"condition '{name}': {field} {number} is called '{called}', in the data "
                        f"'{called}' is {known.index(called)}: give conditioners.{name}.names in the data's "
                        f"order: {', '.join(known[:SHOWN_NAMES])}"
                    )


def _look(
    system: Parts, data: Dataset, examples: Examples, group: Sequence[int], start: int, flip: bool
) -> list[str]:
    """Prepares a batch of a group of one shape; where that fails, one example after another, to name the
    first that does. Returns a line for each input that is not read whole."""
    first, indices = group[0], group[start : start + BATCH]
    batch = examples.read(indices)
    check_sizes(data, first, indices, batch)
    try:
        _prepare(system, batch, flip)
        return unread(system, raw_of(batch, fields_of(system)))
    except Exception:  # a stranger's conditioner may raise anything
        for index, example in zip(indices, batch, strict=True):
            try:
                _prepare(system, [example], flip)
            except Exception as error:
                reason = str(error) if isinstance(error, ValueError | UserError) else described(error)
                raise UserError(f"{name_of(data, index)}: {reason}") from error
        raise


def _prepare(system: Parts, batch: Sequence[Mapping[str, Any]], flip: bool) -> None:
    kinds = field_kinds(system.named_conditioners())
    for name, conditioner in system.named_conditioners():
        fields = conditioner.spec.fields
        try:
            flips = torch.ones(len(batch), dtype=torch.bool) if flip else None
            choice = torch.zeros(len(batch), dtype=torch.long)
            check_prepared(conditioner.prepare(raw_of(batch, fields, choice, flips, kinds)), len(batch))
        except ValueError as error:
            raise UserError(f"condition '{name}': {error}") from error


def _check_mirrored(system: Parts, data: Dataset) -> None:
    """UserError where a field looks as if it lay on the picture, and no conditioner says what it holds."""
    example, kinds = data[0], field_kinds(system.named_conditioners())
    for name, conditioner in system.named_conditioners():
        for field in (f for f in conditioner.spec.fields if f not in kinds):
            if _lies_on_picture(example[field]) and not _fits(example[field], example["image"]):
                raise UserError(
                    f"{name_of(data, 0)}: condition '{name}': {field}: train.diffusion.flip mirrors the "
                    f"pictures, but the conditioner does not say (spec.kinds) what this field holds, so that "
                    f"it cannot be mirrored: set flip: false"
                )


def _lies_on_picture(value: Any) -> bool:
    """Is it a picture, its file, or an array of two dimensions or more?"""
    file = isinstance(value, str | Path) and os.path.splitext(value)[1].lower() in SUFFIXES
    return file or isinstance(value, PIL.Image.Image) or getattr(value, "ndim", 0) > 1


def _fits(value: Any, image: Tensor) -> bool:
    """Is it a tensor with the picture's sides, or the same part of both, which can only lie on it?"""
    if not isinstance(value, Tensor):
        return False
    (height, width), (h, w) = image.shape[-2:], value.shape[-2:]
    return height * w == width * h and (height % h == 0 or h % height == 0)


def check_crop(options: DiffusionTraining | None, data: Dataset) -> None:
    """UserError where crops are drawn anew at each step, and stage two, whose latents are encoded once, does
    not say which one it takes."""
    if options is not None and options.crop is None and "image" in drawn_of(data):
        raise UserError(
            "data: draws another crop of each picture at every step, but the latents of the diffusion stage "
            "are encoded once: set train.diffusion.crop: center to train it on the middle of each picture"
        )


def _check_conditions(system: Parts, data: Dataset, indices: Sequence[int]) -> None:
    """UserError where a condition is not what its conditioner announces, its null condition does not fit in
    its place, or what joins the latent on channels has not its height and width."""
    examples = [data[index] for index in indices]
    factor = system.compression.latent.factor
    check_sizes(data, indices[0], indices, examples)
    for index, example in zip(indices, examples, strict=True):
        height, width = (side // factor for side in picture_of(data, index, example, factor).shape[-2:])
    raw = raw_of(examples, fields_of(system))
    for name, conditioner in system.named_conditioners():
        slot = system.recipe.conditioners[name]
        with named("conditioner", slot, WRONG), in_mode(conditioner, training=False):
            condition = _encoded(conditioner, raw, system.device)
            check_condition("encode", conditioner.spec, condition, len(examples))
            check_null(conditioner.null(condition), condition)
            check_repeated(condition, _encoded(conditioner, raw, system.device))
        if system.recipe.train.diffusion and learns(conditioner):
            with named("conditioner", slot, IN_TRAINING), in_mode(conditioner, training=True):
                learning = _encoded(conditioner, raw, system.device)
                check_condition("encode", conditioner.spec, learning, len(examples))
                check_null(conditioner.null(learning), learning)
        if conditioner.spec.concat and condition.concat is not None:
            h, w = condition.concat.shape[2:]
            if (h, w) != (height, width):
                fields = ", ".join(conditioner.spec.fields)
                raise UserError(
                    f"{name_of(data, indices[0])}: condition '{name}' ({fields}) gives {h}x{w} positions, "
                    f"the latent of a picture has {height}x{width}"
                )


@torch.no_grad()
def _encoded(conditioner: Conditioner, raw: Mapping[str, Any], device: torch.device) -> Condition:
    prepared = conditioner.prepare({f: raw[f] for f in conditioner.spec.fields})
    generator = None if device.type == "meta" else torch.Generator(device).manual_seed(0)
    return conditioner.encode({k: v.to(device) for k, v in prepared.items()}, generator)
