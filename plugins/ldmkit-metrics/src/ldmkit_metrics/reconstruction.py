"""Reconstruction quality of a compression model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from ldmkit.interfaces import FeatureNetwork, MetricInput
from ldmkit.types import Pixels
from ldmkit_metrics.examples import preprocessing, style_of

WHITE = 250
"""From this value on in all three channels a pixel of the original counts as white background."""


class Reconstruction:
    """PSNR and SSIM of decode(encode(x)), the posterior's mode, against x, as 8-bit pictures.

    For each split, and for each style where the data have any: `psnr` is the mean over pictures of each
    one's PSNR in dB, `psnr_pooled` that of the mean squared error over all pixels (lower wherever pictures
    differ in difficulty), `ssim` the mean of the SSIM map (Wang et al. 2004; Gaussian window of 11, sigma
    1.5). The same over the pixels that are not white in the original (a channel below 250) has `_non_white`
    in its name: a white background is easy and flatters. With `features`, `feature_distance_NETWORK` is the
    mean cosine distance of the two pictures' embeddings.

    Args:
        splits: which pictures; "validation" ones were never trained on.
        features: a feature network to measure a distance with besides.
    """

    def __init__(
        self,
        *,
        splits: Annotated[tuple[str, ...], Field(min_length=1)] = ("validation",),
        features: FeatureNetwork | None = None,
    ) -> None:
        self.splits = splits
        self.features = features

    def __call__(self, evaluation: MetricInput) -> Mapping[str, Any]:
        """The figures by split, and by "SPLIT/STYLE" where the data have styles, with the preprocessing."""
        figures: dict[str, Any] = {}
        for split in self.splits:
            scores = self._scores(evaluation, split)
            figures[split] = summary(scores)
            data = evaluation.data(split)
            styles = [style_of(data[i]) for i in range(len(data))] if "style" in data.fields else []
            for style in sorted(set(styles)):
                of_style = torch.tensor([s == style for s in styles])
                figures[f"{split}/{style}"] = summary({name: x[of_style] for name, x in scores.items()})
        shape = evaluation.pixels(self.splits[0])
        return {**figures, "preprocessing": preprocessing(shape, {}), "white": f"all channels >= {WHITE}"}

    def _scores(self, evaluation: MetricInput, split: str) -> dict[str, Tensor]:
        """One figure a picture for each name."""
        pixels, reconstructions = evaluation.pixels(split), evaluation.reconstructions(split)
        scores = fidelity(pixels, reconstructions)
        if self.features is not None:
            network = evaluation.network("features", self.features)
            original, copy = (evaluation.embed(network, x) for x in (pixels, reconstructions))
            scores[f"feature_distance_{network.name}"] = 1 - F.cosine_similarity(original, copy)
        return scores


def fidelity(pixels: Pixels, reconstructions: Pixels) -> dict[str, Float[Tensor, " n"]]:
    """The mean squared error (of values in [0, 1]) and SSIM of each picture over all pixels and over those
    that are not white, and the share of the latter."""
    from torchmetrics.functional.image import (  # here: a recipe is checked without it
        structural_similarity_index_measure,
    )

    coloured = (pixels < WHITE).any(1, keepdim=True).expand_as(pixels)
    original, copy = pixels.float() / 255, reconstructions.float() / 255
    error = (original - copy).square()
    _, similarity = structural_similarity_index_measure(
        copy, original, data_range=1.0, reduction="none", return_full_image=True
    )
    every = torch.ones_like(coloured)
    return {
        "mse": _mean(error, every),
        "mse_non_white": _mean(error, coloured),
        "ssim": _mean(similarity, every),
        "ssim_non_white": _mean(similarity, coloured),
        "weight_non_white": coloured.float().mean((1, 2, 3)),
    }


def _mean(values: Float[Tensor, "n 3 H W"], where: Bool[Tensor, "n 3 H W"]) -> Float[Tensor, " n"]:
    """The mean of each picture over the pixels `where`; NaN where there are none."""
    return (values * where).sum((1, 2, 3)) / where.sum((1, 2, 3))


def summary(scores: Mapping[str, Float[Tensor, " n"]]) -> dict[str, Any]:
    """The means of `fidelity` over pictures, with squared errors as PSNR in dB."""
    figures: dict[str, Any] = {"pictures": len(scores["mse"])}
    weights = {"": torch.ones_like(scores["mse"]), "_non_white": scores["weight_non_white"]}
    for suffix, weight in weights.items():
        error = scores[f"mse{suffix}"]
        pooled = (error * weight).nansum() / weight.sum()
        figures[f"psnr{suffix}"] = _decibel(error).nanmean().item()
        figures[f"psnr_pooled{suffix}"] = _decibel(pooled).item()
        figures[f"ssim{suffix}"] = scores[f"ssim{suffix}"].nanmean().item()
    others = {name: x.mean().item() for name, x in scores.items() if name.startswith("feature_distance")}
    return {**figures, **others}


def _decibel(error: Tensor) -> Tensor:
    """-10 log10 of a mean squared error of values in 0..1; infinite for none."""
    return -10 * error.log10()
