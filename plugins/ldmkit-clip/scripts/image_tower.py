"""The image tower that `train_clip.py` tunes: augmented pictures, and the stages that stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

SIDE = 128
KEPT = 5
"""Stages of the image tower that are not tuned."""
MEAN, STD = 127 / 255, 128 / 255
"""As EfficientNet-Lite was trained: (x - 127) / 128 of x in 0..255."""
AUGMENTATION = v2.Compose(
    [
        v2.RandomResizedCrop(SIDE, scale=(0.4, 1.0), ratio=(0.85, 1.18), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.RandomApply([v2.GaussianBlur(9, sigma=(0.5, 5.0))], p=0.5),
        v2.ColorJitter(0.15, 0.15, 0.15),
    ]
)


def augmented(pixels: UInt8[Tensor, "b 3 H W"]) -> Float[Tensor, "b 3 128 128"]:
    """Network input: each picture changed by itself, half of them with noise."""
    x = torch.stack([AUGMENTATION(picture) for picture in pixels.float() / 255])
    noisy = (torch.rand(len(x), 1, 1, 1) < 0.5).float() * 0.1 * torch.rand(len(x), 1, 1, 1)
    return ((x + noisy * torch.randn_like(x)) - MEAN) / STD


def plain(pixels: UInt8[Tensor, "b 3 H W"]) -> Float[Tensor, "b 3 128 128"]:
    """Network input, unchanged but for its size."""
    x = F.interpolate(pixels.float() / 255, (SIDE, SIDE), mode="bilinear", antialias=True)
    return (x - MEAN) / STD


def lower(trunk: Any, x: Float[Tensor, "b 3 128 128"]) -> Float[Tensor, "b 112 8 8"]:
    """The stages that stay as they are."""
    x = trunk.bn1(trunk.conv_stem(x))
    for stage in trunk.blocks[:KEPT]:
        x = stage(x)
    return x


def embedded(visual: Any, x: Float[Tensor, "b 112 8 8"]) -> Float[Tensor, "b e"]:
    """The tower's embedding of what `lower` gave, of unit length."""
    trunk = visual.trunk
    for stage in trunk.blocks[KEPT:]:
        x = stage(x)
    return F.normalize(visual.head(trunk.forward_head(trunk.bn2(trunk.conv_head(x)))), dim=-1)


@torch.no_grad()
def cached(trunk: Any, pixels: UInt8[Tensor, "n 3 H W"], rounds: int, folder: Path) -> list[Tensor]:
    """The kept stages' output for every picture, unchanged and then in `rounds` augmentations."""
    trunk.eval()
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for turn in range(rounds + 1):
        path = folder / f"{turn}.pt"
        if not path.exists():
            torch.manual_seed(turn)
            change = augmented if turn else plain
            torch.save(torch.cat([lower(trunk, change(part)).half() for part in pixels.split(64)]), path)
            print(f"features {turn} of {rounds}", flush=True)
        found.append(torch.load(path, weights_only=True))
    return found
