"""Guidance by the gradient of a CLIP network's similarity between text and picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt

from ldmkit.guidance import Score, score_gradient
from ldmkit.interfaces import ConditionedEstimate
from ldmkit.types import Conditions, Estimate, FieldKind, Image, Latent, Level, PerPicture, Request
from ldmkit_clip.cutouts import cutouts
from ldmkit_clip.network import Embedded, load_clip
from ldmkit_clip.sources import Network


class ClipGuidance:
    """Moves the estimate towards pictures that a CLIP network finds near a text; works with any model.

    The clean estimate is decoded, the whole picture and some cut-outs of it are compared with the text, and
    the gradient of their mean logit (the cosine over the network's temperature, a log-likelihood but for a
    constant) moves the estimate: classifier guidance with CLIP as the classifier. An unconditional model
    draws what a prompt says; a conditional one is drawn further, after `classifier-free` in the recipe.
    Source: Dhariwal and Nichol 2021, algorithm 2; Nichol et al. 2022 (GLIDE), section 2.4; Rombach et al.
    2022, appendix C; Radford et al. 2021 for the network.

    Args:
        network: the CLIP network; by default the small one that ldmkit-clip ships, trained on emoji.
        field: the raw input that holds one text for each picture; prompts fill `caption`.
        prompt: one text for all pictures instead of the field.
        scale: factor of the log-likelihood; 0 is no guidance.
        cutouts: random squares that are compared besides the whole picture.
        smallest: side of the smallest square, as a part of the picture's shorter side.
        interval: (low, high): guide only where low < sigma / alpha <= high. None: everywhere.
        through_network: differentiate the denoiser too, which is exact and costs two to three times as
            much; else its Jacobian is taken to be that of Gaussian data of unit variance.
    """

    def __init__(
        self,
        *,
        network: Network = Network(),  # noqa: B008 (frozen)
        field: str = "caption",
        prompt: str | None = None,
        scale: NonNegativeFloat = 10.0,
        cutouts: NonNegativeInt = 4,
        smallest: Annotated[float, Field(gt=0, le=1)] = 0.6,
        interval: tuple[NonNegativeFloat, NonNegativeFloat] | None = None,
        through_network: bool = False,
    ) -> None:
        if interval is not None and interval[0] >= interval[1]:
            raise ValueError(f"interval {list(interval)}: the first must be below the second")
        if prompt is not None and not prompt.strip():
            raise ValueError("the prompt is empty; leave it out to read the field")
        self.network, self.field, self.prompt = load_clip(network), field, prompt
        self.fields = (field,) if prompt is None else ()
        self.kinds: dict[str, FieldKind] = dict.fromkeys(self.fields, "text")
        self.scale, self.cutouts, self.smallest = scale, cutouts, smallest
        self.interval, self.through_network = interval, through_network

    def check_inputs(self, raw: Mapping[str, Any], size: tuple[int, int] | None) -> None:
        """ValueError where there is no text for each picture."""
        self._texts(raw)

    def bind(self, estimate: ConditionedEstimate, request: Request) -> ConditionedEstimate:
        """The guided estimate; ValueError where the request has no text for the field."""
        if self.scale == 0:
            return estimate
        texts = self.network.texts(self._texts(request.raw))
        steered = score_gradient(
            estimate, request, self._score(texts), self.scale, through_network=self.through_network
        )

        def guided(z: Latent, level: Level, conditions: Sequence[Conditions]) -> Sequence[Estimate]:
            if not self._guides(level):
                return estimate(z, level, conditions)
            self.network.to(z.device)
            return steered(z, level, conditions)

        return guided

    def _score(self, texts: Embedded) -> Score:
        """The logit of picture and text, mean over the picture and its cut-outs."""
        generator = torch.Generator().manual_seed(0)

        def score(image: Image) -> PerPicture:
            parts = cutouts(image, self.cutouts, self.smallest, generator)
            target = texts.to(image)
            cosines = [(self.network.images(part) * target).sum(1) for part in parts]
            return self.network.scale * torch.stack(cosines).mean(0)

        return score

    def _texts(self, raw: Mapping[str, Any]) -> list[str]:
        if self.prompt is not None:
            return [self.prompt]
        texts = raw.get(self.field)
        if texts is None or isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise ValueError(
                f"needs a text a picture in '{self.field}': give prompts (numbers in quotes), or set `prompt`"
            )
        return list(texts)

    def _guides(self, level: Level) -> bool:
        low, high = self.interval or (0.0, math.inf)
        return low < float(level.sigma / level.alpha) <= high
