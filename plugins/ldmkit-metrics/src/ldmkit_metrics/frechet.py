"""Frechet distance between what is sampled and the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from ldmkit.interfaces import MetricInput
from ldmkit_metrics.comparison import Comparison


class Frechet(Comparison):
    """Frechet distance (Heusel et al. 2017, eq. 6) of samples to all pictures of a split.

    It compares pictures alone, so that it measures models of any condition and of none: each sample has the
    condition of a picture of the split.

    The figure is named by its network, `frechet_NETWORK`: only with the network `inception-v3` and its
    weights is it what the field calls FID. It is biased upwards for few pictures, so only figures of equal
    counts compare; `..._of_real_pictures`, that of the conditions' own pictures to the same split, says how
    low it can get at this count.

    Args:
        captions: an older name of `pictures`.
    """

    least = 2

    def __init__(
        self,
        *,
        pictures: Annotated[int, Field(ge=2)] = 256,
        captions: Annotated[int, Field(ge=2)] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(pictures=captions or pictures, **options)

    def __call__(self, evaluation: MetricInput) -> Mapping[str, Any]:
        """The distance, its lowest value at this number of pictures, and how many pictures it compares.
        Raises UserError for a split of fewer than two pictures."""
        both = self._embeddings(evaluation)
        own = both.reference[list(both.chosen)]
        name = f"frechet_{both.network}"
        return {
            name: frechet_distance(both.reference, both.samples),
            f"{name}_of_real_pictures": frechet_distance(both.reference, own),
            **both.about,
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
