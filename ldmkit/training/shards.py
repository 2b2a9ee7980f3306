"""Tensors computed once for each example, in shards of 1024 rows that all processes write together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ldmkit.checkpoint import files
from ldmkit.disk import DiskError, check_room, read_text, size, write_json
from ldmkit.errors import UserError
from ldmkit.training.collectives import place, sum_over_processes
from ldmkit.training.progress import Reporter
from ldmkit.training.stored_rows import StoredRows
from ldmkit.types import Say

SHARD = 1024
"""Rows in one file."""
STAMPS = "verified.json"
"""The file with size and time of each file whose digest was verified."""
Encode = Callable[[range], tuple[Mapping[str, Tensor], Mapping[str, str]]]
"""Tensors of some rows, by name, and what the file's metadata say of them."""


class Shards:
    """Tensors with a row an example, `SHARD` of them in each file; they stay on the disk.

    A step reads its own rows, so that memory does not grow with their number. Every file holds the sha256 of
    its tensors.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        self.paths = [folder / f"{start // SHARD:06}.safetensors" for start in range(0, count, SHARD)]

    def fill(self, what: str, encode: Encode, say: Say) -> None:
        """Computes the files that are missing or damaged, shared out among the processes.

        After an interruption those that are there stay. Raises DiskError, before the second file, where the
        disk cannot hold all of them.
        """
        rank, world = place()
        stamps = self._stamps()
        own = self.paths[rank::world]
        missing = [path for path in own if not self._verified(path, stamps)]
        with Reporter(what, len(missing), 0, say, main=rank == 0) as reporter:
            for done, path in enumerate(missing, 1):
                write(path, *encode(self._rows_of(path)))
                reporter.step(done)
                if done == 1:
                    self._announce(what, path, len(missing), say)
        sum_over_processes([0.0])  # waits for the others
        self._remember(what, stamps)

    def check(self, what: str) -> None:
        """UserError for a file that is missing, or changed and not whole."""
        stamps = self._stamps()
        for path in self.paths:
            if not self._verified(path, stamps):
                state = "is damaged: remove it" if path.exists() else f"is missing: remove {self.folder}"
                raise UserError(f"{what}: {path} {state} and start again")

    def _verified(self, path: Path, stamps: Mapping[str, list[int]]) -> bool:
        """Whether a file is the one that was verified before, or is whole now."""
        stamp = _stamp(path)
        return bool(stamp) and (stamps.get(path.name) == stamp or is_intact(path))

    def _announce(self, what: str, first: Path, missing: int, say: Say) -> None:
        world = place()[1]
        each, left = first.stat().st_size, (missing - 1) * world
        if left:
            check_room(self.folder, each * left, what)
            say(f"{what}: {self.count} rows, {size(each * len(self.paths))} in {self.folder}")

    def _rows_of(self, path: Path) -> range:
        first = int(path.stem) * SHARD
        return range(first, min(first + SHARD, self.count))

    def _stamps(self) -> dict[str, list[int]]:
        try:
            stamps = json.loads(read_text(self.folder / STAMPS))
        except (OSError, ValueError, RecursionError):
            return {}
        return stamps if isinstance(stamps, dict) else {}

    def _remember(self, what: str, before: Mapping[str, list[int]]) -> None:
        """Records that all files are whole, so that they are not read and verified again."""
        stamps = {path.name: _stamp(path) for path in self.paths}
        absent = [name for name, stamp in stamps.items() if not stamp]
        if absent:
            raise UserError(
                f"{what}: {self.folder / absent[0]} was written by another process and is not here: all "
                f"machines of a training need one folder of runs"
            )
        if place()[0] == 0 and stamps != before:
            with suppress(DiskError):
                write_json(self.folder / STAMPS, stamps)

    def about(self, name: str) -> list[str]:
        """An entry of every file's metadata; "" where it has none."""
        return [files.about(path).get(name, "") for path in self.paths]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of one row of a tensor, by the first file."""
        with opened(self.paths[0]) as shard:
            return tuple(shard.get_slice(name).get_shape()[1:])

    def names(self) -> set[str]:
        """The tensors of the first file."""
        with opened(self.paths[0]) as shard:
            return set(shard.keys())

    def length(self, name: str) -> int:
        """The greatest length of a tensor's rows: shards may be cut to their own longest."""
        count = 0
        for path in self.paths:
            with opened(path) as shard:
                count = max(count, shard.get_slice(name).get_shape()[1])
        return count

    def rows(self, indices: Sequence[int], names: Sequence[Sequence[str]]) -> list[list[Tensor | None]]:
        """Of each index, the rows of the tensors that its `names` say; None for one that is not there."""
        rows: dict[int, list[Tensor | None]] = {}
        for number in sorted({index // SHARD for index in indices}):
            with StoredRows(self.paths[number]) as shard:
                for position, index in enumerate(indices):
                    if index // SHARD == number:
                        rows[position] = [shard.row(name, index % SHARD) for name in names[position]]
        return [rows[position] for position in range(len(indices))]


def write(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> None:
    """Writes a file with the digest of its tensors. Raises DiskError."""
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    files.write_tensors(path, own, {**(about or {}), "sha256": _digest(own)})


def is_intact(path: Path) -> bool:
    """Whether the file is there and intact: its tensors have the digest that its metadata holds."""
    if not path.exists():
        return False
    try:
        return files.about(path).get("sha256") == _digest(files.read_safetensors(path))
    except UserError:
        return False


def opened(path: Path) -> safe_open:
    """The file for reading; UserError where that fails."""
    try:
        return safe_open(path, "pt")
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read ({error}): remove it and start again") from error


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _stamp(path: Path) -> list[int]:
    """Size and time of a file; empty for a missing one."""
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]
