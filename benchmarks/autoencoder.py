"""The autoencoders beside diffusers' with the same weights: encode, decode and a training step.

    python benchmarks/autoencoder.py [--rounds 10] [--threads 1]

The published kl-f8 and vq-f4 topologies at full width on pictures of 128 x 128; the training step has half
the width. Encoding is to the posterior's mode (VQ: the latent before quantization), decoding from it (VQ:
with quantization). A step is forward, L1 and the posterior's penalty, backward and fused AdamW.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from paired import Case, Job, main
from torch import Tensor, nn
from torch.nn import functional as F
from twins import autoencoders

KL = {"factor": 8, "channels": 4, "multipliers": (1, 2, 4, 4)}
VQ = {"factor": 4, "channels": 3, "multipliers": (1, 2, 4), "codebook_size": 8192}
PENALTY = 1e-6


def encode(name: str, parameters: dict[str, Any], size: int) -> dict[str, Job]:
    """Picture to latent."""
    ours, theirs = autoencoders(name, parameters)
    image = torch.rand(1, 3, size, size) * 2 - 1

    def their_mode() -> Tensor:
        made = theirs.encode(image)
        return made.latent_dist.mode() if name == "kl-autoencoder" else made.latents

    return {"ours": lambda: ours.encode(image), "theirs": their_mode}


def decode(name: str, parameters: dict[str, Any], size: int) -> dict[str, Job]:
    """Latent to picture."""
    ours, theirs = autoencoders(name, parameters)
    side = size // ours.latent.factor
    latent = torch.randn(1, ours.latent.channels, side, side)
    return {"ours": lambda: ours.decode(latent), "theirs": lambda: theirs.decode(latent).sample}


def train(parameters: dict[str, Any], size: int, batch: int) -> dict[str, Job]:
    """One update of a KL autoencoder."""
    ours, theirs = autoencoders("kl-autoencoder", parameters)
    image = torch.rand(batch, 3, size, size) * 2 - 1

    def our_loss() -> Tensor:
        posterior = ours.posterior(image)
        made = ours.decode(posterior.sample(torch.randn_like(posterior.mode)))
        return F.l1_loss(made, image) + PENALTY * posterior.penalty.mean()

    def their_loss() -> Tensor:
        posterior = theirs.encode(image).latent_dist
        made = theirs.decode(posterior.sample()).sample
        return F.l1_loss(made, image) + PENALTY * posterior.kl().mean()

    return {"ours": step(ours.train(), our_loss), "theirs": step(theirs.train(), their_loss)}


def step(model: nn.Module, loss: Any) -> Job:
    """Forward, backward and a fused AdamW step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)

    def update() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return update


CASES = (
    Case("kl-f8, encode 128x128", partial(encode, "kl-autoencoder", KL, 128), same=1e-4),
    Case("kl-f8, decode 128x128", partial(decode, "kl-autoencoder", KL, 128), same=1e-4),
    Case("vq-f4, encode 128x128", partial(encode, "vq-autoencoder", VQ, 128), same=1e-4),
    Case("vq-f4, decode 128x128", partial(decode, "vq-autoencoder", VQ, 128), same=1e-4),
    Case(
        "kl-f8 of half the width, training step, 64x64, batch 4",
        partial(train, {**KL, "width": 64}, 64, 4),
        train=True,
    ),
)

if __name__ == "__main__":
    main(CASES, __doc__ or "")
