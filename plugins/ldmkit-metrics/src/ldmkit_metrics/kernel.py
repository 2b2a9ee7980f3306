"""Distances of samples to the data besides Frechet's: kernel distance, precision and recall."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor

from ldmkit.interfaces import MetricInput
from ldmkit_metrics.comparison import Comparison, Embedded


class KernelDistance(Comparison):
    """Kernel distance of samples to the pictures of a split (KID; Binkowski et al. 2018, section 4).

    The squared maximum mean discrepancy under the kernel (x y / d + 1)^3 of embeddings, without bias, as the
    mean over `subsets` draws of equally many samples and pictures. Unlike Frechet's distance it does not
    depend on how many there are. The figure is named by its network, `kid_NETWORK`: only with Inception-v3
    is it what the field calls KID. `..._deviation` is the standard deviation over the draws.

    Args:
        subsets: how many draws.
    """

    def __init__(self, *, subsets: PositiveInt = 50, **options: Any) -> None:
        super().__init__(**options)
        self.subsets = subsets

    def __call__(self, evaluation: MetricInput) -> Mapping[str, Any]:
        """The distance and its standard deviation over the draws, with the numbers of pictures and the
        preprocessing."""
        both = self._embeddings(evaluation)
        distances = kernel_distances(both.samples, both.reference, self.subsets, self.seed)
        name = f"kid_{both.network}"
        return {
            name: float(distances.mean()),
            f"{name}_deviation": float(distances.std(unbiased=False)),
            **both.about,
        }


class PrecisionRecall(Comparison):
    """Precision and recall of samples (Kynkaanniemi et al. 2019, "Improved Precision and Recall Metric").

    A set of embeddings covers what is nearer to one of them than that one's `neighbours`-th nearest.
    Precision is the share of samples that the split's pictures cover, recall the share of pictures that the
    samples cover. The figures are named by their network. Recall falls with fewer samples: compare equal
    counts.

    Args:
        neighbours: which neighbour's distance is the radius.
    """

    def __init__(self, *, neighbours: PositiveInt = 3, **options: Any) -> None:
        super().__init__(**options)
        self.neighbours = neighbours

    def __call__(self, evaluation: MetricInput) -> Mapping[str, Any]:
        """Precision and recall in [0, 1], with the numbers of pictures and the preprocessing."""
        both = self._embeddings(evaluation)
        return {
            f"precision_{both.network}": covered(both.samples, both.reference, self.neighbours),
            f"recall_{both.network}": covered(both.reference, both.samples, self.neighbours),
            **both.about,
        }


def kernel_distances(samples: Embedded, reference: Embedded, subsets: int, seed: int) -> Float[Tensor, " s"]:
    """The unbiased squared maximum mean discrepancy of `subsets` draws of equally many samples and reference
    embeddings, at most 1000 of each."""
    from torchmetrics.image.kid import poly_mmd  # here: a recipe is checked without it

    draws, size = torch.Generator().manual_seed(seed), min(len(samples), len(reference), 1000)

    def drawn(embedded: Embedded) -> Embedded:
        return embedded[torch.randperm(len(embedded), generator=draws)[:size]]

    return torch.stack([poly_mmd(drawn(reference), drawn(samples)) for _ in range(subsets)])


def covered(embedded: Embedded, by: Embedded, neighbours: int) -> float:
    """The share of `embedded` that lies within the radius of one of `by`: the distance to its `neighbours`-th
    nearest neighbour in `by`."""
    count = min(neighbours, len(by) - 1)
    radius = torch.cdist(by, by).kthvalue(count + 1, dim=1).values  # the nearest of all is itself
    return float((torch.cdist(embedded, by) <= radius).any(1).double().mean())
