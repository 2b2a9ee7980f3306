"""What a training of the toy needs besides its system: pictures, losses, optimizer, callback."""

from __future__ import annotations

import hashlib
import json
import random
import signal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

SIZE = 16


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
