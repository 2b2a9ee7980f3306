"""Tiny parts of a system: autoencoder, conditioner, denoiser, schedule, objective, sampler and adapter."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from ldmkit.types import Condition, ConditionSpec, Estimate, LatentSpec, Level, Posterior

CHANNELS, FACTOR = 3, 4


class Autoencoder(nn.Module):
    """Two convolutions, with dropout so that the global generator matters."""

    def __init__(self, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.latent = LatentSpec(CHANNELS, FACTOR)
        self.encoder = nn.Conv2d(3, 2 * CHANNELS, FACTOR, FACTOR)
        self.dropout = nn.Dropout(dropout)
        self.decoder = nn.ConvTranspose2d(CHANNELS, 3, FACTOR, FACTOR)
        self.register_buffer("scale", torch.ones(CHANNELS))
        self.register_buffer("shift", torch.zeros(CHANNELS))

    def posterior(self, image):
        mean, log_variance = self.encoder(image).chunk(2, 1)
        std = (log_variance / 2).exp()
        penalty = 0.5 * (mean**2 + std**2 - 1 - log_variance).sum((1, 2, 3))
        scale, shift = (x.view(1, -1, 1, 1) for x in (self.scale, self.shift))
        return Posterior((mean - shift) * scale, std * scale, penalty)

    def encode(self, image):
        return self.posterior(image).mode

    def decode(self, latent):
        scale, shift = (x.view(1, -1, 1, 1) for x in (self.scale, self.shift))
        return self.decoder(self.dropout(latent / scale + shift))


class Words(nn.Module):
    """Letters to tokens; learned, with a learned null."""

    def __init__(
        self, *, field: str = "caption", width: int = 8, frozen: bool = False, noise: float = 0.1
    ) -> None:
        super().__init__()
        self.field = field
        self.spec = ConditionSpec(fields=(field,), tokens=width)
        self.table = nn.Embedding(128, width)
        self.empty = nn.Parameter(torch.randn(1, 1, width))
        self.dropout = nn.Dropout(noise)
        self.encoded = 0
        if frozen:  # as if from a file: the same ones every time
            nn.init.normal_(self.table.weight, generator=torch.Generator().manual_seed(0))
            nn.init.ones_(self.empty)
            self.requires_grad_(False)

    def prepare(self, raw):
        given = raw[self.field]
        if isinstance(given, torch.Tensor):
            return {"ids": given}
        return {"ids": torch.tensor([[min(ord(c), 127) for c in str(w).ljust(12)[:12]] for w in given])}

    def encode(self, prepared, generator=None):
        self.encoded += len(prepared["ids"])
        ids = prepared["ids"]
        return Condition(tokens=self.dropout(self.table(ids)), mask=ids != 32)

    def null(self, like):
        mask = torch.zeros_like(like.mask)
        mask[:, :1] = True
        return Condition(tokens=self.empty.expand_as(like.tokens), mask=mask)


class Denoiser(nn.Module):
    def __init__(self, latent, conditions, out_channels, *, width: int = 8) -> None:
        super().__init__()
        self.into = nn.Conv2d(latent.channels, width, 3, padding=1)
        self.time = nn.Linear(1, width)
        self.words = nn.Linear(conditions.tokens, width) if conditions.tokens else None
        self.out = nn.Conv2d(width, out_channels, 3, padding=1)

    def forward(self, z, time, condition):
        h = self.into(z) + self.time(time[:, None])[:, :, None, None]
        if self.words is not None:
            weights = condition.mask[:, :, None].float()
            h = h + self.words((condition.tokens * weights).sum(1) / weights.sum(1))[:, :, None, None]
        return self.out(F.silu(h))

    def bind(self, condition):
        return lambda z, time: self(z, time, condition)


class Cosine:
    timesteps = None
    zero_snr = False

    def level(self, t, size=None):
        angle = (0.02 + 0.96 * t.double()) * torch.pi / 2
        return Level(angle.cos(), angle.sin(), t.double())

    def draw(self, n, generator, size=None):
        return torch.rand(n, generator=generator)

    def invert(self, log_snr, size=None):
        return ((-log_snr / 2).exp().atan() * 2 / torch.pi - 0.02) / 0.96


class Epsilon:
    def out_channels(self, latent_channels):
        return latent_channels

    def scale_input(self, z, level):
        return z

    def loss(self, raw, clean, noise, level):
        return (raw - noise).square().mean((1, 2, 3))

    def estimate(self, raw, z, level):
        level = level.like(z)
        return Estimate((z - level.sigma * raw) / level.alpha, raw)

    def check(self, schedule):
        pass


class Shifted(nn.Module):
    """A layer and what adapters add to its output."""

    def __init__(self, layer) -> None:
        super().__init__()
        self.layer, self.shifts, self.strengths = layer, nn.ParameterDict(), {}

    def forward(self, x):
        h = self.layer(x)
        for name, shift in self.shifts.items():
            h = h + self.strengths[name] * shift[:, None, None]
        return h


class Shift:
    """Adds a trained vector to the output of the denoiser's first layer."""

    def attach(self, system, name):
        self.system, self.name = system, name
        layer = system.denoiser.into
        if not isinstance(layer, Shifted):
            system.denoiser.into = layer = Shifted(layer)
        layer.shifts[name] = nn.Parameter(torch.zeros(8))
        layer.strengths[name] = 1.0
        self.layer = layer

    def state(self):
        return {"shift": self.layer.shifts[self.name]}

    def set_strength(self, strength):
        self.layer.strengths[self.name] = strength

    @torch.no_grad()
    def merge(self):
        self.layer.layer.bias += self.layer.strengths[self.name] * self.layer.shifts.pop(self.name)
        if not self.layer.shifts:
            self.system.denoiser.into = self.layer.layer


def evenly(schedule, steps: int, size=None) -> Level:
    return schedule.level(torch.linspace(1, 0, steps + 1), size)


def euler(estimate, z, levels, noise):
    for i in range(len(levels) - 1):
        found, following = estimate(z, levels[i]), levels[i + 1].like(z)
        z = following.alpha * found.clean + following.sigma * found.noise
    return z
