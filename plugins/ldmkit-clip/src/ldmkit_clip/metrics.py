"""Agreement of samples with their captions by a CLIP network, preferably not the one that guides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, NonNegativeInt
from torch import Tensor

from ldmkit.interfaces import MetricInput
from ldmkit.pictures import normalize
from ldmkit.types import Pixels
from ldmkit_clip.network import Clip, Embedded, load_clip
from ldmkit_clip.sources import Network

BATCH = 64
Count = Annotated[int, Field(ge=2)]


@dataclass(frozen=True)
class Drawn:
    """Captions, the data's own pictures of them, and a sample of each, in one space."""

    texts: Embedded
    real: Embedded
    samples: Embedded
    places: Int[Tensor, " n"]


class OnCaptions:
    """What both metrics share: the network, and the captions of a split.

    Args:
        network: the CLIP network that judges.
        split: captions are drawn from it.
        captions: how many; all where it has fewer.
        field: the data's field that holds them.
        seed: draws the captions; the sample of the i-th has the seed `seed` + i.
    """

    def __init__(
        self,
        *,
        network: Network = Network(),  # noqa: B008 (frozen)
        split: str = "train",
        captions: Count = 256,
        field: str = "caption",
        seed: NonNegativeInt = 0,
    ) -> None:
        self.network, self.split, self.captions, self.seed = network, split, captions, seed
        self.field, self.reads = field, (field,)

    def _drawn(self, evaluation: MetricInput) -> tuple[Clip, Drawn]:
        """The network, and the captions, pictures and samples that it compares."""
        with torch.random.fork_rng(devices=[]):  # the network draws weights before it reads its own
            judge = load_clip(self.network)
        return judge, draw(evaluation, judge, self.split, self.captions, self.seed, self.field)


class ClipScore(OnCaptions):
    """100 times the cosine of a sample and its caption, at least 0, over all captions (Hessel et al. 2021).

    Beside it: the same for the data's own pictures (`real`), and for each sample with the caption of another
    one (`shuffled`), which is what a model that ignores captions would have. Figures carry the network's
    name; those of two networks do not compare.
    """

    def __call__(self, evaluation: MetricInput) -> Mapping[str, Any]:
        """The score and its controls, with the split, the count and the network."""
        judge, drawn = self._drawn(evaluation)
        figures = {
            "": score(drawn.samples, drawn.texts),
            "_real": score(drawn.real, drawn.texts),
            "_shuffled": score(drawn.samples, drawn.texts.roll(1, 0)),
        }
        named = {f"clip_score_{judge.label}{suffix}": value for suffix, value in figures.items()}
        return {**named, "captions": len(drawn.texts), "split": self.split}


class ClipRetrieval(OnCaptions):
    """The share of samples whose own caption is the nearest of all drawn captions, or among the nearest five.

    Beside it: the same for the data's own pictures (`real`), and for each sample with the caption of another
    one (`shuffled`). Equal captions do not lower each other's rank.
    """

    def __call__(self, evaluation: MetricInput) -> Mapping[str, Any]:
        """Shares of samples and of the controls, with the split, the count and the network."""
        judge, drawn = self._drawn(evaluation)
        return {
            "judge": judge.label,
            "captions": len(drawn.texts),
            "split": self.split,
            "sample": shares(drawn.samples, drawn.texts, drawn.places),
            "real": shares(drawn.real, drawn.texts, drawn.places),
            "shuffled": shares(drawn.samples.roll(1, 0), drawn.texts, drawn.places),
        }


def draw(
    evaluation: MetricInput, judge: Clip, split: str, count: int, seed: int, field: str = "caption"
) -> Drawn:
    """The first captions of a split in an order that `seed` draws, with their pictures and samples.

    Raises UserError for data without captions.
    """
    data = evaluation.data(split)
    if field not in data.fields:
        raise evaluation.error(
            f"the data have no '{field}'; they have {', '.join(data.fields) or 'no fields'}"
        )
    index = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:count].tolist()
    captions = [str(data[i][field]) for i in index]
    seeds = range(seed, seed + len(index))
    samples = evaluation.sample(evaluation.conditions(data, index), seeds)
    same = {caption: i for i, caption in reversed(list(enumerate(captions)))}
    return Drawn(
        judge.texts(captions),
        embedded(judge, evaluation.pixels(split)[index]),
        embedded(judge, samples),
        torch.tensor([same[caption] for caption in captions]),
    )


@torch.no_grad()
def embedded(judge: Clip, pixels: Pixels) -> Embedded:
    """The judge's vector of each picture."""
    device = judge.mean.device
    return torch.cat([judge.images(normalize(part).to(device)).cpu() for part in pixels.split(BATCH)])


def score(pictures: Embedded, texts: Embedded) -> float:
    """100 times the mean cosine of pictures and texts, no pair below 0."""
    return float(100 * (pictures * texts.cpu()).sum(1).clamp_min(0).mean())


def shares(pictures: Embedded, texts: Embedded, places: Int[Tensor, " n"]) -> dict[str, float]:
    """How often the picture's own text is the first, and among the first five, of all different texts."""
    cosines: Float[Tensor, "n n"] = pictures @ texts.cpu().T
    repeated = places != torch.arange(len(places))
    own = cosines.gather(1, places.unsqueeze(1))
    rank = ((cosines > own) & ~repeated).sum(1)
    return {"first": _share(rank < 1), "within_5": _share(rank < 5)}


def _share(hits: Bool[Tensor, " n"]) -> float:
    return float(hits.float().mean())
