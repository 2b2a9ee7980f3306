"""Restoration quality: super-resolution beside bicubic interpolation, inpainting beside a smooth fill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from jaxtyping import Bool, Float
from pydantic import Field, NonNegativeInt
from torch import Tensor
from torch.nn import functional as F

from ldmkit.interfaces import FeatureNetwork, MetricInput
from ldmkit.pictures import batch, denormalize, masks, normalize
from ldmkit.types import Pixels
from ldmkit_metrics.examples import Chosen, choose, preprocessing
from ldmkit_metrics.probes import shuffled
from ldmkit_metrics.reconstruction import fidelity, summary
from ldmkit_metrics.sheets import show

RELAXATIONS = 60
"""Jacobi steps at each size of the smooth fill."""


class Restoration:
    """Base of the metrics that compare samples with the pictures that their conditions were made from.

    Args:
        features: a network that is in no loss and no guidance; without one no distance of embeddings is
            measured.
        split: where conditions are drawn from.
        pictures: how many are sampled.
        seed: draws the conditions; the picture of the i-th has the seed `seed` + i.
    """

    def __init__(
        self,
        *,
        features: FeatureNetwork | None = None,
        split: str = "validation",
        pictures: Annotated[int, Field(ge=2)] = 64,
        seed: NonNegativeInt = 0,
    ) -> None:
        self.features, self.split, self.pictures, self.seed = features, split, pictures, seed

    def _chosen(self, evaluation: MetricInput, *fields: str) -> Chosen:
        if missing := [f for f in fields if f not in evaluation.condition_fields]:
            raise evaluation.error(f"the recipe does not read {', '.join(missing)}, which this metric needs")
        return choose(evaluation, self.split, self.pictures, self.seed)

    def _compared(self, evaluation: MetricInput, pixels: Pixels, restored: Pixels) -> dict[str, float]:
        """PSNR and SSIM, and the distance of the network's embeddings where there is a network."""
        if pixels.shape != restored.shape:
            sampled, stored = ("x".join(map(str, x.shape[2:])) for x in (restored, pixels))
            raise evaluation.error(f"samples are {sampled}, the data's pictures {stored}: set sample.size")
        scores = summary(fidelity(pixels, restored))
        figures: dict[str, float] = {name: scores[name] for name in ("psnr", "ssim")}
        if self.features is not None:
            network = evaluation.network("features", self.features)
            own, other = (evaluation.embed(network, x) for x in (pixels, restored))
            figures[f"feature_distance_{network.name}"] = float(1 - F.cosine_similarity(own, other).mean())
        return figures


class SuperResolution(Restoration):
    """Samples of low-resolution pictures against the pictures that these were made from.

    PSNR, SSIM and, with `features`, the mean cosine distance of embeddings, beside those of the bicubic
    enlargement. Sharp samples may have a lower PSNR than a blurred enlargement and be nearer in features.
    `consistency` is the PSNR in dB between the low-resolution picture and the sample reduced to its size
    (bicubic, antialiased): does the sample say what its condition says? Beside it those of the enlargement,
    of the pictures themselves, and `shuffled`, of the samples against other conditions.

    Args:
        field: the condition with the low-resolution pictures.
    """

    def __init__(self, *, field: str = "low_res", **options: Any) -> None:
        super().__init__(**options)
        self.field = field

    def __call__(self, evaluation: MetricInput) -> Mapping[str, Any]:
        """The figures of the samples and of the bicubic enlargement. Raises UserError where the recipe does
        not read the condition, or samples are of another size than the data's pictures."""
        chosen = self._chosen(evaluation, self.field)
        small = batch(chosen.fields, self.field)
        samples, real = chosen.samples(evaluation), chosen.pixels
        size = (int(real.shape[2]), int(real.shape[3]))
        bicubic = denormalize(F.interpolate(small, size, mode="bicubic", align_corners=False))
        of = {"sample": samples, "bicubic": bicubic}
        figures: dict[str, Any] = {n: self._compared(evaluation, real, x) for n, x in of.items()}
        consistency = {n: consistent(x, small) for n, x in {**of, "real": real}.items()}
        consistency["shuffled"] = consistent(samples, small[shuffled(len(small))])
        show(evaluation, f"super-resolution of {self.split}", chosen, {**of, "real": real})
        about = {"pictures": len(samples), "preprocessing": preprocessing(samples, {})}
        return {**figures, "consistency": consistency, **about}


class Inpainting(Restoration):
    """Samples of pictures with holes against the pictures themselves, within the holes.

    `psnr` over the pixels of the holes and, with `features`, the mean cosine distance of the whole pictures'
    embeddings, beside those of a smooth fill (the holes' pixels solve Laplace's equation, as heat diffuses
    in from the rim) and `shuffled`: the samples against other pictures. `known_pixels_off_by` is the largest
    difference of a known pixel, in 255ths: 0 or 1 where the known region is kept.

    Args:
        image: the condition with the pictures.
        mask: the condition with the masks.
    """

    def __init__(self, *, image: str = "image", mask: str = "mask", **options: Any) -> None:
        super().__init__(**options)
        self.image, self.mask = image, mask

    def __call__(self, evaluation: MetricInput) -> Mapping[str, Any]:
        """The figures of the samples and of the smooth fill. Raises UserError where the recipe does not read
        the conditions, or samples are of another size than the data's pictures."""
        chosen = self._chosen(evaluation, self.image, self.mask)
        hole, real = masks(chosen.fields, self.mask) > 0, chosen.pixels
        samples = chosen.samples(evaluation)
        smooth = smooth_fill(normalize(real), hole)
        figures: dict[str, Any] = {}
        for name, restored in {"sample": samples, "smooth_fill": denormalize(smooth)}.items():
            scores = self._compared(evaluation, real, restored)
            del scores["ssim"]  # of windows that are mostly known
            figures[name] = {**scores, "psnr": psnr(real, restored, hole)}
        show(
            evaluation,
            f"holes of {self.split}",
            chosen,
            {"sample": samples, "smooth fill": denormalize(smooth)},
        )
        other = real[shuffled(len(real))]
        figures["shuffled"] = {"psnr": psnr(other, samples, hole)}
        off = (samples.int() - real.int()).abs().masked_fill(hole, 0)
        about = {"pictures": len(samples), "holes": float(hole.float().mean())}
        about["known_pixels_off_by"] = int(off.max())
        return {**figures, **about, "preprocessing": preprocessing(samples, {})}


def psnr(pixels: Pixels, restored: Pixels, where: Bool[Tensor, "n 1 H W"]) -> float:
    """The mean over pictures of the PSNR in dB over the pixels `where`; equal pictures count as 100 dB."""
    error = ((pixels.double() - restored.double()) / 255).square().mean(1, keepdim=True)
    mean = (error * where).sum((1, 2, 3)) / where.sum((1, 2, 3)).clamp_min(1)
    there = where.flatten(1).any(1)
    return float((-10 * mean[there].clamp_min(1e-10).log10()).mean())


def consistent(pixels: Pixels, small: Float[Tensor, "n 3 h w"]) -> float:
    """The PSNR in dB between pictures, reduced to the size of `small`, and `small`, whose values are in [-1,
    1]."""
    size = (int(small.shape[2]), int(small.shape[3]))
    reduced = F.interpolate(pixels.float(), size, mode="bicubic", antialias=True, align_corners=False)
    everywhere = torch.ones(len(small), 1, *size, dtype=torch.bool)
    return psnr(denormalize(small), denormalize(reduced / 127.5 - 1), everywhere)


def smooth_fill(image: Float[Tensor, "n c H W"], hole: Bool[Tensor, "n 1 H W"]) -> Float[Tensor, "n c H W"]:
    """The pictures with each hole filled by a solution of Laplace's equation, by Jacobi steps from coarse to
    fine."""
    known = (~hole).to(image)
    filled = image * known
    if min(image.shape[2:]) > 2:
        weight = F.avg_pool2d(known, 2, ceil_mode=True)
        coarse = F.avg_pool2d(filled, 2, ceil_mode=True) / weight.clamp_min(1e-6)
        coarse = smooth_fill(coarse, weight == 0)
        size = (int(image.shape[2]), int(image.shape[3]))
        guess = F.interpolate(coarse, size, mode="bilinear", align_corners=False)
    else:
        guess = (filled.sum((2, 3)) / known.sum((2, 3)).clamp_min(1))[:, :, None, None].expand_as(image)
    filled = torch.where(hole, guess, image)
    for _ in range(RELAXATIONS):
        padded = F.pad(filled, (1, 1, 1, 1), mode="replicate")
        above, below, left, right = (
            padded[..., :-2, 1:-1],
            padded[..., 2:, 1:-1],
            padded[..., 1:-1, :-2],
            padded[..., 1:-1, 2:],
        )
        filled = torch.where(hole, (above + below + left + right) / 4, image)
    return filled
