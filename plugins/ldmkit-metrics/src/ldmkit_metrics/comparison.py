"""The base of metrics that compare embeddings of samples with those of a split's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from jaxtyping import Float
from pydantic import Field, NonNegativeInt
from torch import Tensor

from ldmkit.interfaces import FeatureNetwork, MetricInput
from ldmkit_metrics.examples import choose, preprocessing

Embedded = Float[Tensor, "n e"]


@dataclass(frozen=True)
class Embeddings:
    """Embeddings in float64 of samples and of all pictures of a split.

    network: the name of the feature network. chosen: the places in the split of the pictures whose conditions
    the samples have. about: what a report says of the pictures.
    """

    network: str
    samples: Embedded
    reference: Embedded
    chosen: Sequence[int]
    about: dict[str, Any]


class Comparison:
    """Base of the metrics that compare embeddings of samples with those of a split's pictures.

    Args:
        features: the feature network whose embeddings are compared.
        split: conditions are drawn from it, and its pictures are the reference.
        pictures: how many are sampled.
        seed: draws the conditions; the picture of the i-th has the seed `seed` + i.
    """

    least: ClassVar[int] = 4
    """The fewest pictures of which the figures can be computed."""

    def __init__(
        self,
        *,
        features: FeatureNetwork,
        split: str = "train",
        pictures: Annotated[int, Field(ge=4)] = 256,
        seed: NonNegativeInt = 0,
    ) -> None:
        self.features, self.split, self.pictures, self.seed = features, split, pictures, seed

    def _embeddings(self, evaluation: MetricInput) -> Embeddings:
        """Draws the samples. Raises UserError for a split with fewer pictures than `least`."""
        chosen = choose(evaluation, self.split, self.pictures, self.seed)
        pixels = evaluation.pixels(self.split)
        if len(chosen.index) < self.least:
            raise evaluation.error(f"split '{self.split}' has fewer than {self.least} pictures")
        network, samples = evaluation.network("features", self.features), chosen.samples(evaluation)
        about = {
            "pictures": len(samples),
            "reference_pictures": len(pixels),
            "preprocessing": preprocessing(samples, network.settings),
        }
        reference = evaluation.embed(network, pixels).double()
        drawn = evaluation.embed(network, samples).double()
        return Embeddings(network.name, drawn, reference, chosen.index, about)
