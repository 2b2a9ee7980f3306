"""A stranger's data, denoiser, optimizer, callback, adapter and verb."""

from __future__ import annotations

import os
import signal

import click
import torch
from torch import nn
from torch.nn import functional as F


class Skies:
    """Sixteen skies, bluer the colder."""

    fields = ("degrees",)
    skipped = ()

    def __init__(self) -> None:
        self.rows = list(range(16))

    @property
    def digest(self):
        return f"skies-{self.rows}"

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        noise = torch.randint(0, 60, (3, 32, 32), generator=torch.Generator().manual_seed(row))
        colour = torch.tensor([row * 12, 90, 190 - row * 12])[:, None, None]
        return {"image": (noise + colour).to(torch.uint8), "degrees": float(row * 3 - 10)}

    def split(self, name):
        if name not in ("train", "validation"):
            raise ValueError(f"no split '{name}'; there are train, validation")
        part = Skies()
        part.rows = self.rows[:12] if name == "train" else self.rows[12:]
        return part


class Winds(nn.Module):
    """Two convolutions with time and temperature between them.

    Args:
        width: channels.
    """

    def __init__(self, latent, conditions, out_channels, *, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Conv2d(latent.channels, width, 3, padding=1)
        self.time = nn.Linear(1, width)
        self.tokens = nn.Linear(conditions.tokens, width) if conditions.tokens else None
        self.last = nn.Conv2d(width, out_channels, 3, padding=1)

    def forward(self, z, time, condition):
        return self.bind(condition)(z, time)

    def bind(self, condition):
        added = 0 if self.tokens is None else self.tokens(condition.tokens).mean(1)
        return lambda z, time: self.last(
            F.silu(self.first(z) + (added + self.time(time[:, None].to(z) / 1000))[:, :, None, None])
        )


class Nudge:
    """Sign of a moving average, which is its state.

    Args:
        keep: how much of the average stays at each step.
    """

    def __init__(self, *, keep: float = 0.9) -> None:
        self.keep = keep

    def __call__(self, groups):
        return Nudging(groups, {"keep": self.keep})


class Nudging(torch.optim.Optimizer):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in (p for p in group["params"] if p.grad is not None):
                state = self.state[p]
                state["count"] = state.get("count", 0) + 1
                average = state.setdefault("average", torch.zeros_like(p))
                average.lerp_(p.grad, 1 - group["keep"])
                p.sub_(average.sign(), alpha=group["lr"] / state["count"] ** 0.5)


class Barometer:
    """Counts what it sees; kills the process at a step, if it is told to.

    Args:
        storm: step of the stage "diffusion" at which the process is killed.
        later: the same for the adapter.
    """

    def __init__(self, *, storm: int = 0, later: int = 0) -> None:
        self.steps = {"diffusion": storm, "storm": later}

    def begin(self, run):
        self.stage, self.path = run.stage, run.folder / "barometer.txt"

    def figures(self, step, figures):
        with self.path.open("a") as file:
            file.write(f"{step} {sorted(figures)}\n")
        if step == self.steps.get(self.stage):
            os.kill(os.getpid(), signal.SIGKILL)

    def picture(self, step, picture): ...

    def end(self, outcome): ...


class Gained(nn.Module):
    def __init__(self, layer) -> None:
        super().__init__()
        self.layer, self.gains, self.strengths = layer, nn.ParameterDict(), {}

    def forward(self, x):
        y = self.layer(x)
        factors = [1 + self.strengths[n] * g[:, None, None] for n, g in self.gains.items()]
        for factor in factors:
            y = y * factor
        return y


class Gain:
    """Multiplies the channels of a layer of Winds. Takes no parameters."""

    def attach(self, system, name):
        self.system, self.name = system, name
        if not isinstance(system.denoiser.first, Gained):
            system.denoiser.first = Gained(system.denoiser.first)
        self.layer = system.denoiser.first
        self.layer.gains[name] = nn.Parameter(torch.zeros(self.layer.layer.out_channels))
        self.layer.strengths[name] = 1.0

    def state(self):
        return {"gain": self.layer.gains[self.name]}

    def set_strength(self, strength):
        self.layer.strengths[self.name] = strength

    @torch.no_grad()
    def merge(self):
        factor = 1 + self.layer.strengths[self.name] * self.layer.gains.pop(self.name)
        self.layer.layer.weight *= factor[:, None, None, None]
        self.layer.layer.bias *= factor
        if not self.layer.gains:
            self.system.denoiser.first = self.layer.layer


@click.command()
@click.argument("degrees", type=float)
def forecast(degrees):
    """Say what DEGREES mean."""
    click.echo("warm" if degrees > 15 else "cold")
