"""Judges trained on the data's own pictures: classifiers on the features of a frozen network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ldmkit.interfaces import FeatureNetwork
from ldmkit.pictures import normalize
from ldmkit.types import Pixels

BATCH = 64
GRID = 4
"""Feature maps are averaged to so many positions a side, so that a judge knows where something is."""
DEEPEST = 3
DECAY = 1e-2
"""Weight of the squared norm beside the mean cross-entropy, for standardized features."""


@torch.no_grad()
def describe(network: FeatureNetwork, pixels: Pixels) -> Float[Tensor, "n e"]:
    """For each picture the network's embedding, and its last three feature maps on a grid of 4 x 4, as one
    vector."""
    rows = []
    for part in pixels.split(BATCH):
        image = normalize(part)
        maps = [F.adaptive_avg_pool2d(m, GRID).flatten(1) for m in list(network(image))[-DEEPEST:]]
        rows.append(torch.cat([network.embed(image), *maps], dim=1))
    return torch.cat(rows)


class Classifier:
    """Multinomial logistic regression with an L2 penalty, from features to one of the labels that it was
    fitted to."""

    def __init__(self, features: Float[Tensor, "n e"], labels: Sequence[str]) -> None:
        self.names = sorted(set(labels))
        self._mean, self._std = features.mean(0), features.std(0).clamp_min(1e-6)
        targets = self.targets(labels)
        self._weight = torch.zeros(features.shape[1], len(self.names), requires_grad=True)
        self._bias = torch.zeros(len(self.names), requires_grad=True)
        self._fit(self._standardized(features), targets)

    def _fit(self, x: Float[Tensor, "n e"], targets: Int[Tensor, " n"]) -> None:
        optimizer = torch.optim.LBFGS(
            [self._weight, self._bias], max_iter=100, history_size=10, line_search_fn="strong_wolfe"
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(x @ self._weight + self._bias, targets)
            loss = loss + DECAY * self._weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)

    def _standardized(self, features: Float[Tensor, "n e"]) -> Float[Tensor, "n e"]:
        return (features - self._mean) / self._std

    def targets(self, labels: Sequence[str]) -> Int[Tensor, " n"]:
        """The number of each label's name; -1 for a label that was not fitted, which no prediction
        matches."""
        known = {name: i for i, name in enumerate(self.names)}
        return torch.tensor([known.get(label, -1) for label in labels])

    @torch.no_grad()
    def found(self, features: Float[Tensor, "n e"], labels: Sequence[str]) -> Float[Tensor, " n"]:
        """For each example 1 where its most likely label is the given one, else 0."""
        scores = self._standardized(features) @ self._weight + self._bias
        return (scores.argmax(1) == self.targets(labels)).float()

    def accuracy(self, features: Float[Tensor, "n e"], labels: Sequence[str]) -> float:
        """The share of examples whose most likely label is the given one, in [0, 1]."""
        return float(self.found(features, labels).mean())


def fitting_examples(available: int, most: int, seed: int, judged: Sequence[int]) -> list[int]:
    """Indices of `most` training pictures, in an order that `seed` draws, to which a judge is fitted.

    Pictures in `judged`, on which it will be measured, are left out unless there are no others.
    """
    order = torch.randperm(available, generator=torch.Generator().manual_seed(seed + 1)).tolist()
    left_out = set(judged)
    return ([i for i in order if i not in left_out] or order)[:most]


def shuffled(count: int) -> list[int]:
    """For each of `count` examples in random order the index of another one, whose condition the control
    takes."""
    return [(i + max(1, count // 2)) % count for i in range(count)]
