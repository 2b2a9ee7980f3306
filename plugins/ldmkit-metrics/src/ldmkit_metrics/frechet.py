"""Frechet distance between what is sampled and the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from jaxtyping import Float
from pydantic import Field, NonNegativeInt
from torch import Tensor, nn

from ldmkit.interfaces import FeatureNetwork, MetricInput
from ldmkit_metrics.examples import choose, preprocessing


class Frechet:
    """Frechet distance (Heusel et al. 2017, eq. 6) of samples to all pictures of a split.

    It compares pictures alone, so that it measures models of any condition and of none: each sample has the
    condition of a picture of the split.

    The figure is named by its network, `frechet_NETWORK`: only with the network `inception-v3` and its
    weights is it what the field calls FID. It is biased upwards for few pictures, so only figures of equal
    counts compare; `..._of_real_pictures`, that of the conditions' own pictures to the same split, says how
    low it can get at this count.

    Args:
        features: the feature network whose embeddings are compared.
        split: conditions are drawn from it, and its pictures are the reference.
        pictures: how many are sampled.
        captions: an older name of `pictures`.
        seed: draws the conditions; the picture of the i-th has the seed `seed` + i.
    """

    def __init__(
        self,
        *,
        features: FeatureNetwork,
        split: str = "train",
        pictures: Annotated[int, Field(ge=2)] = 256,
        captions: Annotated[int, Field(ge=2)] | None = None,
        seed: NonNegativeInt = 0,
    ) -> None:
        self.features = features
        self.split = split
        self.pictures = captions or pictures
        self.seed = seed

    def __call__(self, evaluation: MetricInput) -> Mapping[str, Any]:
        """The distance, its lowest value at this number of pictures, and how many pictures it compares.
        Raises UserError for a split of fewer than two pictures."""
        chosen = choose(evaluation, self.split, self.pictures, self.seed)
        pixels = evaluation.pixels(self.split)
        if len(chosen.index) < 2:
            raise evaluation.error(f"split '{self.split}' has fewer than two pictures")
        network = evaluation.network("features", self.features)
        samples = chosen.samples(evaluation)
        reference = evaluation.embed(network, pixels)
        own = reference[list(chosen.index)]
        name = f"frechet_{network.name}"
        return {
            name: frechet_distance(reference, evaluation.embed(network, samples)),
            f"{name}_of_real_pictures": frechet_distance(reference, own),
            "pictures": len(samples),
            "reference_pictures": len(pixels),
            "preprocessing": preprocessing(samples, network.settings),
        }


def frechet_distance(reference: Float[Tensor, "m e"], other: Float[Tensor, "n e"]) -> float:
    """The Frechet distance of two sets of embeddings: |mu_1 - mu_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2)) of
    their means and covariances."""
    from torchmetrics.image.fid import FrechetInceptionDistance  # here: a recipe is checked without it

    metric = FrechetInceptionDistance(feature=_Embedded(reference.shape[1]))
    metric.update(reference.double(), real=True)
    metric.update(other.double(), real=False)
    return float(metric.compute())


class _Embedded(nn.Identity):
    """Stands where torchmetrics wants a network: what it is given is embedded already."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width
