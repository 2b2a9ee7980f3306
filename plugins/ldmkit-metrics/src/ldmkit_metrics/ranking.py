"""Reference pictures, and where among them a sample stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from ldmkit.interfaces import MetricInput, Network
from ldmkit.types import Pixels
from ldmkit_metrics.examples import concept_of, style_of

TIE = 1e-6
"""Cosines that differ by no more than this are equal: the same picture embedded in another batch."""

Embedded = Float[Tensor, "n e"]
Ranks = Int[Tensor, " n"]


@dataclass(frozen=True)
class Reference:
    """The training pictures, followed by those of another split: their unit embeddings, captions, concepts
    and styles.

    trained: the number of training pictures.
    """

    pixels: Pixels
    embedded: Float[Tensor, "r e"]
    captions: tuple[str, ...]
    concepts: tuple[str, ...]
    styles: tuple[str, ...]
    trained: int

    @classmethod
    def of(cls, evaluation: MetricInput, judge: Network, split: str, field: str = "caption") -> Reference:
        """The reference for the captions of `split`, which are in the data's field `field`."""
        splits = ["train"] if split == "train" else ["train", split]
        data = [evaluation.data(name) for name in splits]
        examples = [part[i] for part in data for i in range(len(part))]
        pixels = torch.cat([evaluation.pixels(name) for name in splits])
        return cls(
            pixels,
            F.normalize(evaluation.embed(judge, pixels)),
            tuple(str(e[field]) for e in examples),
            tuple(concept_of(e, field) for e in examples),
            tuple(style_of(e) for e in examples),
            len(data[0]),
        )

    def targets(self, split: str, index: Sequence[int]) -> Targets:
        """The places in the reference of the examples `index` of `split`."""
        first = 0 if split == "train" else self.trained
        return Targets(self, torch.tensor(index) + first)

    def counts(self) -> dict[str, int]:
        """The number of pictures by style; under "all" where the data have no styles."""
        return {style or "all": self.styles.count(style) for style in sorted(set(self.styles))}

    def nearest_trained(self, embedded: Embedded) -> tuple[Float[Tensor, " n"], Int[Tensor, " n"]]:
        """For each embedding the cosine distance to the nearest training picture of any style, in [0, 2], and
        the place of that picture."""
        best = (F.normalize(embedded) @ self.embedded[: self.trained].T).max(1)
        return (1 - best.values).clamp(min=0), best.indices

    def distance(self, embedded: Embedded) -> float:
        """The mean cosine distance to the nearest training picture."""
        return float(self.nearest_trained(embedded)[0].mean())


@dataclass(frozen=True)
class Targets:
    """The pictures that samples should be nearest to: one place in the reference for each caption."""

    reference: Reference
    place: Int[Tensor, " n"]

    @cached_property
    def _same_style(self) -> Bool[Tensor, "n r"]:
        return self._same(self.reference.styles)

    @cached_property
    def _same_concept(self) -> Bool[Tensor, "n r"]:
        return self._same(self.reference.concepts)

    def _same(self, names: Sequence[str]) -> Bool[Tensor, "n r"]:
        known = {name: i for i, name in enumerate(dict.fromkeys(names))}
        ids = torch.tensor([known[name] for name in names])
        return ids[self.place, None] == ids[None]

    def ranks(self, embedded: Embedded) -> Ranks:
        """The rank of each caption's concept for the picture in the same row; 1 is the best."""
        return self._ranks(F.normalize(embedded) @ self.reference.embedded.T, slice(None))

    def ranks_of_all(self, embedded: Float[Tensor, "m e"]) -> Int[Tensor, " nm"]:
        """The ranks of each caption's concept for every picture, caption by caption: what pictures that know
        no caption score."""
        cosine = F.normalize(embedded) @ self.reference.embedded.T
        every = [self._ranks(cosine, slice(i, i + 1)) for i in range(len(self.place))]
        return torch.cat(every)

    def _ranks(self, cosine: Float[Tensor, "m r"], rows: slice) -> Ranks:
        style, concept = self._same_style[rows], self._same_concept[rows]
        own = cosine.masked_fill(~(style & concept), -torch.inf).amax(1, keepdim=True)
        return ((cosine > own + TIE) & style & ~concept).sum(1) + 1

    def other_style(self) -> tuple[Int[Tensor, " k"], Targets]:
        """The places of training pictures that show a caption's concept in another style, and the targets of
        those captions."""
        there = self._same_concept & ~self._same_style
        there[:, self.reference.trained :] = False
        matches = there.any(1)
        return there[matches].int().argmax(1), Targets(self.reference, self.place[matches])

    def styles(self) -> list[str]:
        """The style of each caption's own picture."""
        return [self.reference.styles[i] for i in self.place.tolist()]
