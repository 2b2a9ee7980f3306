"""A small segmenter, trained on the data's own pictures and maps to judge samples."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ldmkit.artifacts import read_safetensors
from ldmkit.interfaces import FeatureNetwork
from ldmkit.pictures import normalize
from ldmkit.types import Pixels

Maps = Int[Tensor, "n H W"]
BATCH = 8
HIDDEN = 64
SHALLOW = 4
"""How many of the network's feature maps are read, from the first on."""


class Segmenter(nn.Module):
    """Predicts the class of every pixel from a frozen network's first feature maps, the picture and the
    position.

    The maps are normalized, enlarged to half the picture's size, joined (a hypercolumn; Hariharan et al.
    2015) and read by two 3x3 convolutions.
    """

    def __init__(self, network: FeatureNetwork, classes: int) -> None:
        super().__init__()
        self._network = (network,)  # in a tuple, so that its weights are none of this module's
        with torch.no_grad():
            width = self._columns(torch.zeros(1, 3, 64, 64)).shape[1]
        self.head = nn.Sequential(
            nn.Conv2d(width, HIDDEN, 3, padding=1), nn.ReLU(), nn.Conv2d(HIDDEN, classes, 3, padding=1)
        )

    def forward(self, pixels: Pixels) -> Float[Tensor, "b k H W"]:
        """The score of each class at every pixel, for pictures of bytes."""
        with torch.no_grad():
            columns = self._columns(normalize(pixels))
        return F.interpolate(self.head(columns), pixels.shape[2:], mode="bilinear", align_corners=False)

    def _columns(self, image: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b w h2 w2"]:
        size = (max(1, image.shape[2] // 2), max(1, image.shape[3] // 2))
        ys, xs = (torch.linspace(-1, 1, side) for side in size)
        place = torch.stack(torch.meshgrid(ys, xs, indexing="ij")).expand(len(image), 2, *size)
        maps = [F.normalize(m, dim=1) for m in list(self._network[0](image))[:SHALLOW]]
        enlarged = [F.interpolate(m, size, mode="bilinear", align_corners=False) for m in [*maps, image]]
        return torch.cat([*enlarged, place], dim=1)

    @torch.no_grad()
    def predict(self, pixels: Pixels) -> Maps:
        """The most likely class of each pixel."""
        self.eval()
        return torch.cat([self(part).argmax(1) for part in pixels.split(BATCH)])


def train(segmenter: Segmenter, pixels: Pixels, maps: Maps, steps: int, seed: int) -> None:
    """Trains the segmenter by Adam on the cross-entropy of random batches, with a learning rate that falls to
    zero along a cosine."""
    draws = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(segmenter.head.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    segmenter.train()
    for _ in range(steps):
        rows = torch.randint(len(pixels), (BATCH,), generator=draws)
        loss = F.cross_entropy(segmenter(pixels[rows]), maps[rows].long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def cached(segmenter: Segmenter, folder: Path | None, *key: object) -> Path | None:
    """The file for a segmenter's weights in `folder`, which are loaded where the file exists; None without a
    folder.

    key: all that determines the weights.
    """
    if folder is None:
        return None
    name = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
    path = folder / f"segmenter-{name}.safetensors"
    if path.is_file():
        segmenter.load_state_dict(read_safetensors(path))
    return path
