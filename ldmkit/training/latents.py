"""Latents of a data set: cached moments, named by their content; mean and deviation a channel."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ldmkit.checkpoint import files
from ldmkit.interfaces import CompressionModel, Dataset
from ldmkit.training.data import Examples, images_of
from ldmkit.types import Latent, Posterior

BATCH = 64


@dataclass(frozen=True)
class Latents:
    """Posterior moments of every example of a split: mode and std, and those of the mirrored pictures."""

    moments: Mapping[str, Tensor]

    def posterior(self, indices: Sequence[int], flip: Bool[Tensor, " b"] | None) -> Posterior:
        """The posteriors of some examples, mirrored where `flip`."""
        mode, std = self._take("mode", indices, flip), self._take("std", indices, flip)
        assert mode is not None
        return Posterior(mode, std, torch.zeros(len(mode)))

    def _take(self, part: str, indices: Sequence[int], flip: Bool[Tensor, " b"] | None) -> Latent | None:
        if part not in self.moments:
            return None
        rows = self.moments[part][indices]
        if flip is None:
            return rows
        return torch.where(flip.view(-1, 1, 1, 1), self.moments[f"{part}_flipped"][indices], rows)

    @property
    def size(self) -> tuple[int, int]:
        """The latents' (h, w)."""
        height, width = self.moments["mode"].shape[2:]
        return height, width


def cached_latents(compression: CompressionModel, dataset: Dataset, folder: Path, flip: bool) -> Latents:
    """The split's latents, from the folder or made now.

    The file's name says what it holds: data, compression weights, mirrored or not.
    """
    weights = files.tensors_digest(compression.state_dict())  # type: ignore[attr-defined]
    key = hashlib.sha256(f"{dataset.digest} {weights} {flip}".encode()).hexdigest()
    path = folder / f"latents-{key[:16]}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        files.write_tensors(path, latent_moments(compression, Examples(dataset, memory=0), flip))
    return Latents(files.read_tensors(path))


@torch.no_grad()
def latent_moments(compression: CompressionModel, examples: Examples, flip: bool) -> dict[str, Tensor]:
    """mode and std of all examples, and mode_flipped and std_flipped where asked for."""
    found: dict[str, list[Tensor]] = {}
    for batch in examples.batches(BATCH):
        image = images_of(batch).to(compression.scale.device)
        for suffix, picture in [("", image), *([("_flipped", image.flip(-1))] if flip else [])]:
            posterior = compression.posterior(picture)
            found.setdefault(f"mode{suffix}", []).append(posterior.mode.cpu())
            if posterior.std is not None:
                found.setdefault(f"std{suffix}", []).append(posterior.std.cpu())
    return {name: torch.cat(parts) for name, parts in found.items()}


class LatentMoments:
    """Mean and standard deviation of each latent channel over posteriors: E[x], Var[mode] + E[std^2]."""

    def __init__(self) -> None:
        self._count, self._sum, self._square = 0, torch.zeros(()), torch.zeros(())

    def add(self, mode: Latent, std: Latent | None) -> None:
        """Takes in a batch of posteriors."""
        mode = mode.double()
        second = mode**2 if std is None else mode**2 + std.double() ** 2
        self._count += mode[:, 0].numel()
        self._sum = self._sum.to(mode) + mode.sum((0, 2, 3))
        self._square = self._square.to(mode) + second.sum((0, 2, 3))

    def mean_and_std(self) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
        """One entry a channel."""
        mean = self._sum / self._count
        return mean, (self._square / self._count - mean**2).clamp_min(0).sqrt()
