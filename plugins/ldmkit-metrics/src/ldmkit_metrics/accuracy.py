"""Agreement of samples with their captions: nearest neighbours by a network that no loss uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from jaxtyping import UInt8
from PIL import Image
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from ldmkit.interfaces import FeatureNetwork, MetricInput, Network
from ldmkit.pictures.sheet import Row, Section
from ldmkit.types import Pixels
from ldmkit_metrics.examples import Chosen, check_field, choose, preprocessing
from ldmkit_metrics.ranking import Embedded, Ranks, Reference, Targets


class CaptionAccuracy:
    """The share of samples whose nearest reference picture (or one of the nearest five) is of the caption's
    concept.

    One picture is sampled for each caption. The reference are the data's pictures of the caption's own style:
    the training ones, and with them those of the captions' split, so that a held-out picture competes with
    all that was seen. Nearness is the cosine of the embeddings. The rank is 1 + the number of reference
    pictures of other concepts that are nearer than the concept's own by more than 1e-6: ties, as of
    identical pictures, do not lower the rank.

    `first` and `within_5` are shares of the captions. `distance_to_training` is the mean cosine distance to
    the nearest training picture of any style: near 0 where pictures are memorised. Controls, ranked likewise:
    `unconditional` (null condition, no guidance, the same seeds; each of its pictures against each caption,
    which is what blind guessing scores) and `other_style` (the training picture of the concept in another
    style: what copying it would score). `real`: the distance of the captions' own pictures.

    Args:
        features: the judge; a network that is in no loss and no guidance.
        splits: where captions are drawn from, each measured by itself.
        captions: how many of each split; all where it has fewer.
        field: the data's field that holds them.
        language: captions in another language of the data set, for the same pictures.
        seed: draws the captions; the picture of the i-th has the seed `seed` + i.
        shown: how many rows of each split go on the contact sheet.
    """

    def __init__(
        self,
        *,
        features: FeatureNetwork,
        splits: Annotated[tuple[str, ...], Field(min_length=1)] = ("train",),
        captions: PositiveInt = 256,
        field: str = "caption",
        language: str | None = None,
        seed: NonNegativeInt = 0,
        shown: NonNegativeInt = 12,
    ) -> None:
        self.features, self.reads = features, (field,)
        self.splits = splits
        self.captions, self.field = captions, field
        self.language = language
        self.seed = seed
        self.shown = shown

    def __call__(self, evaluation: MetricInput) -> Mapping[str, Any]:
        """The shares and distances of the samples and of the controls, by split, with the network that judged
        them and its preprocessing. Raises UserError for data without the captions' field."""
        judge = evaluation.network("features", self.features)
        figures: dict[str, Any] = {split: self._measure(evaluation, judge, split) for split in self.splits}
        shape = evaluation.pixels(self.splits[0])
        about = {"judge": judge.name, "preprocessing": preprocessing(shape, judge.settings)}
        return {**figures, **about, **({"language": self.language} if self.language else {})}

    def _measure(self, evaluation: MetricInput, judge: Network, split: str) -> dict[str, Any]:
        check_field(evaluation, evaluation.data(split), self.field)
        chosen = choose(evaluation, split, self.captions, self.seed, self.language)
        reference = Reference.of(evaluation, judge, split, self.field)
        targets = reference.targets(split, chosen.index)
        samples = chosen.samples(evaluation)
        embedded = evaluation.embed(judge, samples)
        ranks = targets.ranks(embedded)
        if self.shown:
            evaluation.sections.append(self._section(split, samples, embedded, ranks, targets))
        return {
            "captions": len(chosen.captions),
            "reference_pictures": reference.counts(),
            "sample": {**shares(ranks), "distance_to_training": reference.distance(embedded)},
            **by_style(targets.styles(), ranks),
            **_controls(evaluation, judge, chosen, targets),
        }

    def _section(
        self, split: str, samples: Pixels, embedded: Embedded, ranks: Ranks, targets: Targets
    ) -> Section:
        """The first samples beside the concept's own picture and the nearest training picture."""
        reference = targets.reference
        distances, nearest = reference.nearest_trained(embedded[: self.shown])
        rows = []
        for i, near in enumerate(nearest.tolist()):
            place = int(targets.place[i])
            pixels = (samples[i], reference.pixels[place], reference.pixels[near])
            note = f"rank {int(ranks[i])}, distance {float(distances[i]):.3f}"
            # The data set's own caption, since the sheet's font need not have another language's letters.
            rows.append(Row(reference.captions[place], note, tuple(map(to_picture, pixels))))
        spoken = f" ({self.language})" if self.language else ""
        title = f"{split}{spoken}: {shares(ranks)['within_5']:.0%} within 5"
        return Section(title, ("sample", "its picture", "nearest training"), tuple(rows))


def _controls(evaluation: MetricInput, judge: Network, chosen: Chosen, targets: Targets) -> dict[str, Any]:
    """The figures that the samples' are to be read against."""
    reference = targets.reference
    blind = evaluation.embed(judge, evaluation.sample_unconditional(chosen.seeds, chosen.fields))
    own = evaluation.embed(judge, chosen.pixels)
    figures: dict[str, Any] = {
        "unconditional": {
            **shares(targets.ranks_of_all(blind)),
            "distance_to_training": reference.distance(blind),
        },
        "real": {"distance_to_training": reference.distance(own)},
    }
    place, captions = targets.other_style()
    if len(place):
        copied = reference.embedded[place]
        figures["other_style"] = {**shares(captions.ranks(copied)), "captions": len(place)}
    return figures


def shares(ranks: Ranks) -> dict[str, float]:
    """The shares of captions whose concept is the nearest (`first`) and one of the nearest five
    (`within_5`)."""
    return {"first": float((ranks <= 1).float().mean()), "within_5": float((ranks <= 5).float().mean())}


def by_style(styles: Sequence[str], ranks: Ranks) -> dict[str, Any]:
    """The shares of each style's captions under "sample/STYLE"; empty where all captions are of one style."""
    names = sorted(set(styles))
    if len(names) < 2:
        return {}
    where = {name: torch.tensor([style == name for style in styles]) for name in names}
    return {f"sample/{name}": {**shares(ranks[m]), "captions": int(m.sum())} for name, m in where.items()}


def to_picture(pixels: UInt8[Tensor, "3 H W"]) -> Image.Image:
    """A picture of bytes as a PIL picture."""
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
