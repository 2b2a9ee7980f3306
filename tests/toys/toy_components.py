"""Components that break and keep the rules, for tests of the core."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import nn

from ldmkit.interfaces import FeatureNetwork, Loss, Spacing
from ldmkit.types import LatentSpec


class Features(nn.Module):
    """Features.

    Args:
        path: where the weights are.
    """

    def __init__(self, *, path: Path | None = None) -> None:
        super().__init__()
        self.path = path

    def forward(self, image: object) -> object:
        return image

    def embed(self, image: object) -> object:
        return image


class Bare(nn.Module):
    """Has no constructor of its own."""

    def forward(self, image: object) -> object:
        return image

    def embed(self, image: object) -> object:
        return image


class Losses(nn.Module):
    """Nested components of several forms.

    Args:
        features: a required component.
        extra: an optional one,
            told on two lines.
        parts: a list of them.
        weight: a number.
    """

    def __init__(
        self,
        *,
        features: FeatureNetwork,
        extra: Spacing | None = None,
        parts: tuple[Loss, ...] = (),
        weight: Annotated[float, Field(ge=0)] = 1.0,
    ) -> None:
        super().__init__()
        self.features, self.extra, self.parts, self.weight = features, extra, parts, weight

    def forward(self, reconstruction: object, image: object) -> object:
        return reconstruction


class Model(nn.Module):
    """All plain types."""

    def __init__(
        self,
        *,
        width: Annotated[int, Field(gt=0)] = 32,
        rate: float = 0.5,
        multipliers: tuple[int, ...] = (1, 2),
        size: int | tuple[int, int] = 8,
        mode: Literal["sum", "mean"] = "sum",
        flag: bool = False,
        text: str | None = None,
    ) -> None:
        super().__init__()
        if width > 1000:
            raise ValueError(f"width {width} is more than anyone has")
        self.width, self.rate, self.multipliers, self.size = width, rate, multipliers, size
        self.latent = LatentSpec(4, 8)


class Network(nn.Module):
    """Takes what build supplies."""

    def __init__(self, latent: LatentSpec, out_channels: int = 3, *, width: int) -> None:
        super().__init__()
        self.latent, self.out_channels, self.width = latent, out_channels, width

    def forward(self, z: object, time: object, condition: object) -> object:
        return z

    def bind(self, condition: object) -> object:
        return self


def spacing(schedule: object, steps: int, size: object = None, *, rho: float = 7.0) -> tuple[object, ...]:
    """A spacing that gives back what it was called with."""
    return schedule, steps, size, rho


class Swallows:
    """Takes anything."""

    def __init__(self, *, width: int = 1, **kwargs: object) -> None:
        self.width = width


class Positional:
    """A recipe's parameter that is not keyword-only."""

    def __init__(self, width: int) -> None:
        self.width = width


class Clashes(nn.Module):
    """A parameter with a name that its slot has."""

    def __init__(self, *, dropout: float = 0.1) -> None:
        super().__init__()


class Unhinted:
    """A parameter without a type."""

    def __init__(self, *, width=3):
        self.width = width


class Odd:
    """A type that no recipe can write."""

    def __init__(self, *, module: nn.Module) -> None:
        self.module = module


def factory(*, width: int = 3) -> object:
    """A function where a class should be."""
    return width


class Shared:
    """What two components share.

    Args:
        width: of the network.
        rate: of dropout.
    """

    def __init__(self, size: int, *, width: Annotated[int, Field(gt=0)] = 8, rate: float = 0.5) -> None:
        self.built = (size, width, rate)


class Heir(Shared):
    """One of them.

    Args:
        rate: of dropout, none by default.
        extra: its own.
    """

    def __init__(self, *, extra: str = "x", rate: float = 0.0, **shared: Any) -> None:
        super().__init__(4, rate=rate, **shared)
        self.extra = extra
