"""VQ-reg: a codebook that the decoder absorbs (van den Oord et al. 2017; section 3.1)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from ldmkit.types import Latent, Posterior

Order = Literal["paper", "legacy"]
Decay = Annotated[float, Field(gt=0, lt=1)]
Codes = Int[Tensor, "b h w"]
Vectors = Float[Tensor, "n c"]

CHUNK = 2**22
"""Distances held at once: 16 MB in float32, whatever the codebook and the picture."""


def nearest(vectors: Vectors, codebook: Float[Tensor, "k c"]) -> Int[Tensor, " n"]:
    """The row of the codebook that is nearest to each vector, by squared distance.

    |z|^2, which is the same for all rows, is left out.
    """
    squares, rows = codebook.square().sum(1), codebook.T
    parts = torch.split(vectors, max(1, CHUNK // len(codebook)))
    return torch.cat([torch.addmm(squares, part, rows, alpha=-2).argmin(1) for part in parts])


def summed(x: Tensor) -> Tensor:
    """The sum over all processes of a training."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(x)
    return x


class VectorQuantizer(nn.Module):
    """VQ-reg: the decoder replaces the vector at each position of the latent by the nearest code.

    The diffusion model works on the latent before it is quantized. Source: Rombach et al. 2022, section 3.1.

    Args:
        channels: channels of a code; those of the latent
        codebook_size: number of codes
        beta: weight of the commitment term, which pulls the encoder to its code
        order: what beta weighs; paper: the commitment; legacy, as the published code: the codebook term
        ema: decay of a codebook that follows the mean of its latents; default: it follows the gradient
        revive_after: a code unused for that many training passes is set to a latent of the batch; 0: never
    """

    idle: Tensor
    passes: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(
        self,
        *,
        channels: PositiveInt = 4,
        codebook_size: PositiveInt = 8192,
        beta: NonNegativeFloat = 0.25,
        order: Order = "paper",
        ema: Decay | None = None,
        revive_after: NonNegativeInt = 100,
    ) -> None:
        super().__init__()
        self.ema, self.revive_after = ema, revive_after
        self.commitment, self.attraction = (beta, 1.0) if order == "paper" else (1.0, beta)
        start = torch.empty(codebook_size, channels).uniform_(-1 / codebook_size, 1 / codebook_size)
        self.codebook = nn.Parameter(start, requires_grad=ema is None)
        self.register_buffer("idle", torch.zeros(codebook_size, dtype=torch.long))
        self.register_buffer("passes", torch.zeros((), dtype=torch.long))
        if ema is not None:
            self.register_buffer("counts", torch.ones(codebook_size))
            self.register_buffer("sums", start.clone())

    def moments(self, channels: int) -> int:
        """The encoder gives the latent alone: as many channels."""
        return channels

    def mode(self, moments: Latent) -> Latent:
        """The latent before quantization."""
        return moments

    def posterior(self, moments: Latent) -> Posterior:
        """The latent without a standard deviation, and the codebook and commitment terms as the penalty.

        The penalty is a mean over a picture's latent. In training the codebook counts the uses of its codes.
        Metrics: `usage`, the share of codes that this batch uses, and `perplexity`, exp(entropy) of the uses.
        """
        codes = self.codes(moments)
        uses = torch.bincount(codes.flatten(), minlength=len(self.codebook)).to(moments)
        if self.training and torch.is_grad_enabled():
            uses = summed(uses)
            self.observe(moments.detach(), codes, uses)
        quantized = self.lookup(codes)
        commitment = (quantized.detach() - moments).square()
        attraction = (quantized - moments.detach()).square()
        penalty = self.commitment * commitment + self.attraction * attraction
        share = uses / uses.sum()
        metrics = {
            "usage": (uses > 0).float().mean(),
            "perplexity": torch.special.entr(share).sum().exp(),
        }
        return Posterior(moments, None, penalty.flatten(1).mean(1), metrics)

    def restore(self, latent: Latent) -> Latent:
        """The nearest codes; the gradient passes as if nothing had been done (straight-through)."""
        return latent + (self.lookup(self.codes(latent)) - latent).detach()

    @torch.no_grad()
    def codes(self, latent: Latent) -> Codes:
        """The index of each position's nearest code."""
        b, _, h, w = latent.shape
        indices = nearest(rearrange(latent, "b c h w -> (b h w) c"), self.codebook)
        return rearrange(indices, "(b h w) -> b h w", b=b, h=h, w=w)

    def lookup(self, codes: Codes) -> Latent:
        """The latent that consists of these codes."""
        return rearrange(F.embedding(codes, self.codebook), "b h w c -> b c h w")

    @torch.no_grad()
    def observe(self, latent: Latent, codes: Codes, uses: Float[Tensor, " k"]) -> None:
        """One training pass: moves an averaged codebook, revives codes that have been idle for too long."""
        vectors = rearrange(latent, "b c h w -> (b h w) c")
        self.passes += 1
        self.idle.add_(1).masked_fill_(uses > 0, 0)
        if self.ema is not None:
            gathered = torch.zeros_like(self.sums).index_add_(0, codes.flatten(), vectors)
            self.counts.lerp_(uses, 1 - self.ema)
            self.sums.lerp_(summed(gathered), 1 - self.ema)
            # a code unused for thousands of passes keeps its place: its count may underflow
            used = self.counts > 1e-12
            self.codebook[used] = self.sums[used] / self.counts[used, None]
        if self.revive_after:
            self.revive(vectors)

    def revive(self, vectors: Vectors) -> None:
        """Sets dead codes to latents drawn from the batch.

        The draw follows from the number of passes, so that a resumed training repeats it; all processes take
        the first one's.
        """
        dead = (self.idle >= self.revive_after).nonzero().flatten()[: len(vectors)]
        if not len(dead):
            return
        generator = torch.Generator().manual_seed(int(self.passes))
        chosen = vectors[torch.randperm(len(vectors), generator=generator)[: len(dead)].to(vectors.device)]
        if distributed.is_available() and distributed.is_initialized():
            distributed.broadcast(chosen, src=0)
        self.codebook[dead] = chosen
        self.idle[dead] = 0
        if self.ema is not None:
            self.counts[dead], self.sums[dead] = 1.0, chosen
