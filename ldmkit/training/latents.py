"""Latents of a data set: moments cached in shards, named by their content; mean and deviation a channel."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ldmkit.checkpoint import files
from ldmkit.checkpoint.sums import Sums
from ldmkit.errors import UserError
from ldmkit.interfaces import CompressionModel, Dataset
from ldmkit.training.data import Examples, images_of
from ldmkit.types import Latent, Posterior

BATCH = 64
SHARD = 1024
"""Examples in one file."""


@dataclass(frozen=True)
class Latents:
    """Posterior moments of every example of a split: mode and std, and those of the mirrored pictures.

    They stay on the disk: a step reads the rows that it needs, so that memory does not grow with their
    number. shards: the files, `SHARD` examples in each but the last.
    """

    shards: Sequence[Path]

    def posterior(self, indices: Sequence[int], flip: Bool[Tensor, " b"] | None) -> Posterior:
        """The posteriors of some examples, mirrored where `flip`."""
        flips = [flip is not None and bool(flip[i]) for i in range(len(indices))]
        rows = self._rows(indices, flips)
        mode, std = (torch.stack(part) if part[0] is not None else None for part in zip(*rows, strict=True))
        assert mode is not None
        return Posterior(mode, std, torch.zeros(len(mode)))

    def _rows(self, indices: Sequence[int], flips: Sequence[bool]) -> list[tuple[Tensor, Tensor | None]]:
        """(mode, std) of each example; std is None where the posterior is a point.

        Copies: a slice would keep its whole file mapped.
        """
        rows: dict[int, tuple[Tensor, Tensor | None]] = {}
        for number in sorted({index // SHARD for index in indices}):
            with _opened(self.shards[number]) as shard:
                names = set(shard.keys())
                for place, (index, flip) in enumerate(zip(indices, flips, strict=True)):
                    if index // SHARD == number:
                        end, row = "_flipped" if flip else "", index % SHARD
                        std = shard.get_slice(f"std{end}")[row].clone() if f"std{end}" in names else None
                        rows[place] = shard.get_slice(f"mode{end}")[row].clone(), std
        return [rows[place] for place in range(len(indices))]

    @property
    def size(self) -> tuple[int, int]:
        """The latents' (h, w)."""
        with _opened(self.shards[0]) as shard:
            height, width = shard.get_slice("mode").get_shape()[2:]
        return height, width


def _opened(path: Path) -> safe_open:
    try:
        return safe_open(path, "pt")
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{path}: latents that cannot be read ({error}): remove it and start again"
        ) from error


def cached_latents(compression: CompressionModel, dataset: Dataset, folder: Path, flip: bool) -> Latents:
    """The split's latents: the shards in the folder that are whole, and those that are missing, encoded now.

    The folder's name says what they hold: data, compression weights, mirrored or not. After an interruption
    the shards that are there stay; a damaged one is encoded again.
    """
    weights = files.tensors_digest(compression.state_dict())  # type: ignore[attr-defined]
    key = hashlib.sha256(f"{dataset.digest} {weights} {flip} {SHARD}".encode()).hexdigest()
    place = folder / f"latents-{key[:16]}"
    sums, examples = Sums(place), Examples(dataset, ["image"], memory=0)
    shards = [place / f"{start // SHARD:06}.safetensors" for start in range(0, len(dataset), SHARD)]
    for number, path in enumerate(shards):
        if not (path.exists() and sums.whole(path) and _readable(path)):
            indices = range(number * SHARD, min((number + 1) * SHARD, len(dataset)))
            files.write_tensors(path, latent_moments(compression, examples, flip, indices))
            sums.remember(path)
    return Latents(shards)


def _readable(path: Path) -> bool:
    try:
        with _opened(path):
            return True
    except UserError:
        return False


@torch.no_grad()
def latent_moments(
    compression: CompressionModel, examples: Examples, flip: bool, indices: Sequence[int]
) -> dict[str, Tensor]:
    """mode and std of some examples, and mode_flipped and std_flipped where asked for."""
    found: dict[str, list[Tensor]] = {}
    for start in range(0, len(indices), BATCH):
        following = indices[start + BATCH : start + 2 * BATCH]
        image = images_of(examples.read(indices[start : start + BATCH], then=following))
        image = image.to(compression.scale.device)
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
