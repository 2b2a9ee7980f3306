"""Latents of a data set: moments cached in shards, named by their content; mean and deviation a channel."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ldmkit.checkpoint import files
from ldmkit.checkpoint.sums import Sums
from ldmkit.engine.data import picture_digest_of
from ldmkit.interfaces import CompressionModel, Dataset
from ldmkit.training.data import Examples
from ldmkit.training.look_pictures import named_images
from ldmkit.training.shards import SHARD, Shards
from ldmkit.types import Latent, Posterior, Say

BATCH = 64
STAND_INS = "stand-ins"
"""In a file's metadata: the examples that stand in for broken ones, by index."""


@dataclass(frozen=True)
class Latents:
    """Posterior moments of every example of a split: mode and std, and those of the mirrored pictures.

    They stay on the disk: a step reads the rows that it needs. shards: the files of each shape. stand_ins:
    the examples whose latents stand where a picture turned out broken.
    """

    shards: Sequence[Shards]
    buckets: Sequence[Sequence[int]]
    stand_ins: Mapping[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        places = {i: (n, row) for n, bucket in enumerate(self.buckets) for row, i in enumerate(bucket)}
        object.__setattr__(self, "_places", places if len(self.buckets) > 1 else None)

    def posterior(self, indices: Sequence[int], flip: Bool[Tensor, " b"] | None) -> Posterior:
        """The posteriors of some examples of one shape, mirrored where `flip`."""
        flips = [flip is not None and bool(flip[i]) for i in range(len(indices))]
        names = [("mode_flipped", "std_flipped") if turn else ("mode", "std") for turn in flips]
        bucket, rows = self._rows(indices)
        modes, stds = zip(*self.shards[bucket].rows(rows, names), strict=True)
        std = None if stds[0] is None else torch.stack([s for s in stds if s is not None])
        mode = torch.stack([m for m in modes if m is not None])
        return Posterior(mode, std, torch.zeros(len(mode)))

    def size(self, bucket: int = 0) -> tuple[int, int]:
        """The latents' (h, w)."""
        height, width = self.shards[bucket].shape("mode")[1:]
        return height, width

    def size_of(self, index: int) -> tuple[int, int]:
        """The (h, w) of an example's latent."""
        return self.size(self._rows([index])[0])

    def _rows(self, indices: Sequence[int]) -> tuple[int, Sequence[int]]:
        """The bucket of the examples, and their rows in it."""
        places: Mapping[int, tuple[int, int]] | None = getattr(self, "_places", None)
        if places is None:
            return 0, indices
        return places[indices[0]][0], [places[i][1] for i in indices]


def cached_latents(
    compression: CompressionModel,
    dataset: Dataset,
    folder: Path,
    flip: bool,
    say: Say = lambda _: None,
    older: Path | None = None,
) -> Latents:
    """The split's latents: the shards in the folder that are whole, and those that are missing, encoded now
    by all processes together.

    The folder's name says what they hold: pictures, compression weights, mirrored or not; so recipes that
    have these in common share them. older: where trainings kept them before there was a common folder.
    """
    weights = files.tensors_digest(compression.state_dict())
    examples = Examples(dataset, ["image"], memory=0)
    if older is not None:
        before = Shards(older / _name(dataset.digest, weights, flip), len(dataset))
        if len(examples.buckets) == 1 and _kept(before):
            return Latents([before], examples.buckets)
    place = folder / _name(picture_digest_of(dataset), weights, flip)
    shards = []
    for number, bucket in enumerate(examples.buckets):
        part = Shards(place if len(examples.buckets) == 1 else place / f"shape-{number}", len(bucket))
        encoding = _Encoding(compression, examples, flip, bucket)
        part.fill("latents", encoding, say)
        shards.append(part)
    return Latents(shards, examples.buckets, _stand_ins(shards))


def _name(digest: str, weights: str, flip: bool) -> str:
    key = hashlib.sha256(f"{digest} {weights} {flip} {SHARD}".encode()).hexdigest()
    return f"latents-{key[:16]}"


def _kept(shards: Shards) -> bool:
    """Whether all files of an older training are there and unchanged."""
    sums = Sums(shards.folder)
    return all(path.exists() and sums.is_unchanged(path) for path in shards.paths)


def _stand_ins(shards: Sequence[Shards]) -> dict[int, int]:
    tables = [json.loads(text) for part in shards for text in part.about(STAND_INS) if text]
    return {int(index): other for pairs in tables for index, other in pairs.items()}


@dataclass(frozen=True)
class _Encoding:
    """The moments of some rows of a bucket."""

    compression: CompressionModel
    examples: Examples
    flip: bool
    bucket: Sequence[int]

    def __call__(self, rows: range) -> tuple[Mapping[str, Tensor], Mapping[str, str]]:
        indices = [self.bucket[row] for row in rows]
        moments = latent_moments(self.compression, self.examples, self.flip, indices)
        stand_ins = {i: self.examples.shown(i) for i in indices if self.examples.shown(i) != i}
        return moments, {STAND_INS: json.dumps(stand_ins)} if stand_ins else {}


@torch.no_grad()
def latent_moments(
    compression: CompressionModel, examples: Examples, flip: bool, indices: Sequence[int]
) -> dict[str, Tensor]:
    """mode and std of some examples, and mode_flipped and std_flipped where asked for."""
    moments: dict[str, list[Tensor]] = {}
    for start in range(0, len(indices), BATCH):
        chosen, following = (indices[i : i + BATCH] for i in (start, start + BATCH))
        image = named_images(examples, chosen, examples.read(chosen, then=(following, None)))
        image = image.to(compression.scale.device)
        for suffix, picture in [("", image), *([("_flipped", image.flip(-1))] if flip else [])]:
            posterior = compression.posterior(picture)
            moments.setdefault(f"mode{suffix}", []).append(posterior.mode.cpu())
            if posterior.std is not None:
                moments.setdefault(f"std{suffix}", []).append(posterior.std.cpu())
    return {name: torch.cat(parts) for name, parts in moments.items()}


class LatentMoments:
    """Mean and standard deviation of each latent channel over posteriors: E[x], Var[mode] + E[std^2]."""

    def __init__(self) -> None:
        self._count, self._sum, self._square = 0, torch.zeros(()), torch.zeros(())

    def add(self, mode: Latent, std: Latent | None) -> None:
        """Adds a batch of posteriors."""
        mode = mode.double()
        second = mode**2 if std is None else mode**2 + std.double() ** 2
        self._count += mode[:, 0].numel()
        self._sum = self._sum.to(mode) + mode.sum((0, 2, 3))
        self._square = self._square.to(mode) + second.sum((0, 2, 3))

    def mean_and_std(self) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
        """Mean and standard deviation, each with one entry a channel."""
        mean = self._sum / self._count
        return mean, (self._square / self._count - mean**2).clamp_min(0).sqrt()
