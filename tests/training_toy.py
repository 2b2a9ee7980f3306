"""Tiny components of every kind that training needs; as a program, trains them. No plugin is used."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ldmkit.engine.adapters import give_adapters
from ldmkit.engine.system import assemble
from ldmkit.host.registry import Entry, Registry
from ldmkit.recipe import load, resolve
from ldmkit.types import Condition, ConditionSpec, Estimate, LatentSpec, Level, Posterior

SIZE, CHANNELS, FACTOR = 16, 3, 4


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


class Pixel(nn.Module):
    def forward(self, reconstruction, image):
        return (reconstruction - image).abs()


class Explosive(nn.Module):
    """Infinite where a picture is red enough."""

    def __init__(self, *, above: float = 0.99) -> None:
        super().__init__()
        self.above = above

    def forward(self, reconstruction, image):
        return (reconstruction - image).abs() / (image[:, :1].amax((1, 2, 3), keepdim=True) < self.above)


class Adversary(nn.Module):
    def __init__(self, *, warm: int = 1, start: int = 3, norm: bool = True) -> None:
        super().__init__()
        self.warm, self.start = warm, start
        self.net = nn.Sequential(
            nn.Conv2d(3, 4, 4, 4),
            nn.BatchNorm2d(4) if norm else nn.Identity(),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4, 1, 1),
        )

    def trains(self, step):
        return step >= self.warm

    def weight(self, step):
        return 0.5 if step >= self.start else 0.0

    def generator_loss(self, reconstruction):
        return -self.net(reconstruction).mean()

    def balance(self, reconstruction_loss, generator_loss, gradient):
        reconstructing, fooling = (gradient(loss).norm() for loss in (reconstruction_loss, generator_loss))
        return (reconstructing / (fooling + 1e-4)).clamp(0, 1e4).detach()

    def discriminator_loss(self, image, reconstruction):
        return (F.relu(1 - self.net(image)).mean() + F.relu(1 + self.net(reconstruction)).mean()) / 2


class Pictures:
    """Coloured rectangles with words, the same ones every time."""

    fields = ("caption", "captions", "label")
    skipped = ()

    def __init__(self, *, count: int = 23, red: int = -1) -> None:
        self.count, self.red, self._rows = count, red, range(count)
        self.read = []

    @property
    def digest(self):
        return hashlib.sha256(f"{self.count} {self.red} {self._rows}".encode()).hexdigest()

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, index):
        i = self._rows[index]
        self.read.append(i)
        image = torch.randint(
            0, 250, (3, SIZE, SIZE), generator=torch.Generator().manual_seed(i), dtype=torch.uint8
        )
        if i == self.red:
            image[0] = 255
        return {
            "image": image,
            "caption": f"thing {i}",
            "captions": (f"thing {i}", f"the {i}"),
            "label": i % 3,
        }

    def split(self, name):
        part = Pictures(count=self.count, red=self.red)
        part._rows = range(0, self.count - 5) if name == "train" else range(self.count - 5, self.count)
        return part


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


class Counting(torch.optim.SGD):
    """Its state has a number a parameter, and one a group, that change the updates."""

    def step(self, closure=None):
        super().step()
        for group in self.param_groups:
            group["seen"] = group.get("seen", 0) + 1
            for p in (p for p in group["params"] if p.grad is not None):
                self.state[p]["count"] = self.state[p].get("count", 0) + 1
                p.data.mul_(1 - 1e-3 / self.state[p]["count"] - 1e-3 / group["seen"])


class Momentum:
    def __init__(self, *, momentum: float = 0.9) -> None:
        self.momentum = momentum

    def __call__(self, groups):
        return Counting(groups, momentum=self.momentum)


class Brightness(nn.Module):
    """Asks a layer for the mean of the picture; the head takes its width from the first call."""

    def __init__(self, *, weight: float = 1.0, layer: str = "into") -> None:
        super().__init__()
        self.layers, self.weight = (layer,), weight
        self.head = nn.Sequential(nn.LazyLinear(4), nn.Dropout(0.2), nn.LazyLinear(1))

    def forward(self, features, image, level):
        (h,) = features.values()
        return self.weight * (self.head(h.mean((2, 3)))[:, 0] - image.mean((1, 2, 3))).square()


class Imitation:
    """The student's clean estimate should be the guided teacher's."""

    def __init__(self, schedule, *, scale: float = 2.0) -> None:
        self.schedule, self.scale = schedule, scale

    def __call__(self, student, teacher, clean, noise, t):
        level = self.schedule.level(t)
        z = level.add_noise(clean, noise)
        led, blind = teacher(z, level)
        assert not led.clean.requires_grad
        target = blind.clean + self.scale * (led.clean - blind.clean)
        return (student(z, level).clean - target).square().mean((1, 2, 3))


class Meddler:
    """Writes down what it sees, and disturbs whatever a callback can reach; raises at one event."""

    def __init__(self, *, raises: str = "") -> None:
        self.raises = raises
        self.seen = []

    def begin(self, run):
        self.folder = run.folder
        self._event("begin", run.stage, run.step, run.steps, run.recipe["name"])

    def figures(self, step, figures):
        self._event("figures", step, *sorted(figures))
        figures.clear()

    def picture(self, step, picture):
        self._event("picture", step, *picture.size)
        picture.putdata([0] * (picture.width * picture.height))

    def end(self, outcome):
        self._event("end", outcome)

    def _event(self, name, *values):
        torch.manual_seed(5)
        torch.rand(3)
        random.seed(1)
        np.random.seed(2)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.seen.append([name, *values])
        (self.folder / "seen.json").write_text(json.dumps(self.seen))
        if name == self.raises:
            raise RuntimeError("no such tracker")


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


COMPONENTS = {
    ("compression", "toy"): "Autoencoder",
    ("loss", "toy"): "Pixel",
    ("loss", "explosive"): "Explosive",
    ("adversary", "toy"): "Adversary",
    ("data", "toy"): "Pictures",
    ("conditioner", "toy"): "Words",
    ("denoiser", "toy"): "Denoiser",
    ("schedule", "toy"): "Cosine",
    ("objective", "toy"): "Epsilon",
    ("auxiliary", "toy"): "Brightness",
    ("distillation", "toy"): "Imitation",
    ("adapter", "toy"): "Shift",
    ("callback", "toy"): "Meddler",
    ("optimizer", "toy"): "Momentum",
    ("optimizer", "muon"): "ldmkit_training.optimizers:Muon",
    ("spacing", "toy"): "evenly",
    ("sampler", "toy"): "euler",
}
RECIPE = {
    "recipe": 1,
    "name": "toy",
    "data": "toy",
    "compression": "toy",
    "conditioners": {
        "text": {"name": "toy", "dropout": 0.3},
        "frozen": {"name": "toy", "frozen": True, "dropout": 0.3},
    },
    "denoiser": "toy",
    "schedule": "toy",
    "objective": "toy",
    "train": {
        "compression": {
            "steps": 12,
            "batch": 4,
            "lr": 1e-2,
            "warmup": 3,
            "decay": "cosine",
            "clip": 1.0,
            "ema": 0.9,
            "flip": True,
            "learn_variance": True,
            "loss": ["toy"],
            "adversary": "toy",
            "checkpoint_every": 2,
            "validate_every": 6,
            "picture_every": 6,
        },
        "diffusion": {
            "steps": 12,
            "batch": 4,
            "lr": 1e-2,
            "weight_decay": 0.01,
            "ema": 0.9,
            "flip": True,
            "checkpoint_every": 2,
            "validate_every": 6,
            "picture_every": 6,
        },
    },
    "sampler": {"name": "toy", "spacing": "toy", "steps": 3},
    "sample": {"prompts": ["thing 1", "thing 2"], "size": [16, 16]},
}


def registry():
    """A registry of these components alone."""
    made = Registry()
    for (kind, name), attribute in COMPONENTS.items():
        target = attribute if ":" in attribute else f"training_toy:{attribute}"
        made.add(Entry(kind, name, target, "A toy.", "toy", "1"))
    return made


def toy(*overrides):
    """An assembled toy system."""
    known = registry()
    return assemble(resolve(load(RECIPE, overrides, known), known), known)


def train(runs, *overrides, stages=("compression", "diffusion"), say=print):
    """Trains a toy system's stages; the system."""
    from ldmkit.training.adapter import train_adapter
    from ldmkit.training.run import train_stage

    system = toy(*overrides)
    for stage in stages:
        train_stage(system, stage, Path(runs), say=say)
    if "diffusion" in stages:
        give_adapters(
            system, Path(runs), without=lambda s, name: train_adapter(s, name, Path(runs), say=say), say=say
        )
    return system


if __name__ == "__main__":
    train(*sys.argv[1:])
