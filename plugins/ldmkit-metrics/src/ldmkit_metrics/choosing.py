"""Which captions are drawn: the same ones with the same seeds in every metric, so that samples are shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ldmkit.errors import UserError
from ldmkit.evaluation import Evaluation, Pixels


@dataclass(frozen=True)
class Chosen:
    """Some examples of a split: their places in it, what they are of, and a seed for each one's sample."""

    index: tuple[int, ...]
    captions: tuple[str, ...]
    pixels: Pixels
    seeds: tuple[int, ...]


def choose(evaluation: Evaluation, split: str, count: int, seed: int, language: str | None = None) -> Chosen:
    """`count` examples of a split, or all where it has fewer, in an order that `seed` draws.

    language: captions are those of the data set in that language; it has to hold the same pictures in the
    same order. Raises UserError for data without captions or without that language.
    """
    data = evaluation.data(split)
    if "caption" not in data.fields:
        raise UserError(f"metric ({evaluation.component.name}): the data have no captions")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    index = tuple(order[:count].tolist())
    spoken = data if language is None else evaluation.data(split, language=language)
    if any(concept_of(spoken[i]) != concept_of(data[i]) for i in index if "concept" in data.fields):
        raise UserError(
            f"metric ({evaluation.component.name}): the data in '{language}' are of other concepts"
        )
    captions = tuple(str(spoken[i]["caption"]) for i in index)
    seeds = tuple(range(seed, seed + len(index)))
    return Chosen(index, captions, evaluation.pixels(split)[list(index)], seeds)


def concept_of(example: Mapping[str, Any]) -> str:
    """What the picture is of: the field `concept`, else its caption."""
    return str(example.get("concept", example["caption"]))


def style_of(example: Mapping[str, Any]) -> str:
    """The field `style`; data without it have one style, whose name is empty."""
    return str(example.get("style", ""))


def preprocessing(pixels: Pixels, settings: Mapping[str, Any]) -> str:
    """What was done to the pictures before a network saw them, for beside a figure."""
    height, width = pixels.shape[2:]
    given = ", ".join(f"{key} {'none' if value is None else value}" for key, value in settings.items())
    return f"{height}x{width} 8-bit RGB, no crop" + (f"; {given}" if given else "")
