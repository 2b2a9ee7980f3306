"""Which examples metrics draw: the same ones with the same seeds in every metric, so that samples are
shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ldmkit.interfaces import Dataset, MetricInput
from ldmkit.types import Pixels


@dataclass(frozen=True)
class Chosen:
    """Some examples of a split: their places in it, the condition inputs of their samples, and a seed for
    each.

    captions: the examples' captions; empty texts where the data have none.
    """

    index: tuple[int, ...]
    fields: Mapping[str, Sequence[Any]]
    captions: tuple[str, ...]
    pixels: Pixels
    seeds: tuple[int, ...]

    def samples(self, evaluation: MetricInput) -> Pixels:
        """A sample for each example, uint8 "n 3 H W"."""
        return evaluation.sample(self.fields, self.seeds)


def check_field(evaluation: MetricInput, data: Dataset, field: str) -> None:
    """Raises UserError, which lists the fields of the data, where they lack the field that a metric reads."""
    if field not in data.fields:
        there = ", ".join(data.fields) or "no fields"
        raise evaluation.error(f"the data have no '{field}'; they have {there}")


def choose(evaluation: MetricInput, split: str, count: int, seed: int, language: str | None = None) -> Chosen:
    """`count` examples of a split in an order that `seed` draws; all of them where it has fewer.

    language: takes the captions of the data set in that language, which must hold the same pictures in the
    same order. Raises UserError for data without that language or without a field that the recipe reads.
    """
    data = evaluation.data(split)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    index = tuple(order[:count].tolist())
    spoken = data if language is None else evaluation.data(split, language=language)
    if any(concept_of(spoken[i]) != concept_of(data[i]) for i in index if "concept" in data.fields):
        raise evaluation.error(
            f"the data in '{language}' are of other concepts, so that the captions do not match"
        )
    return Chosen(
        index,
        evaluation.conditions(spoken, index),
        tuple(str(spoken[i].get("caption", "")) for i in index),
        evaluation.pixels(split)[list(index)],
        tuple(range(seed, seed + len(index))),
    )


def concept_of(example: Mapping[str, Any], captions: str = "caption") -> str:
    """What the picture shows: its field `concept`, or else its caption, which is in the field `captions`."""
    return str(example.get("concept", example.get(captions, "")))


def style_of(example: Mapping[str, Any]) -> str:
    """The example's field `style`; empty where there is none, so that such data are of one style."""
    return str(example.get("style", ""))


def preprocessing(pixels: Pixels, settings: Mapping[str, Any]) -> str:
    """A line for reports on how pictures were prepared for a network."""
    height, width = pixels.shape[2:]
    listing = ", ".join(f"{key} {'none' if value is None else value}" for key, value in settings.items())
    return f"{height}x{width} 8-bit RGB, no crop" + (f"; {listing}" if listing else "")
