"""A stage's file without the tensors that a neighbour's file has already: a decoder that was trained over a
shipped encoder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from ldmkit.checkpoint.files import about, read_safetensors, write_tensors
from ldmkit.checkpoint.sums import sha256
from ldmkit.errors import UserError

REST = "rest"
"""The metadata that name the neighbour: {"file": "FOLDER/FILE", "sha256": of its content, "tensors": their
names}, as JSON."""


def write_partial(path: Path, tensors: Mapping[str, Tensor], neighbour: Path) -> None:
    """Writes the tensors that the neighbour's file has not, and where the others are.

    neighbour: a file in a folder beside that of `path`. Raises DiskError as `write_tensors`.
    """
    there = read_safetensors(neighbour)
    same = {n for n, t in tensors.items() if n in there and torch.equal(there[n], t)}
    rest = {
        "file": f"{neighbour.parent.name}/{neighbour.name}",
        "sha256": sha256(neighbour),
        "tensors": sorted(same),
    }
    own = {name: tensor for name, tensor in tensors.items() if name not in same}
    write_tensors(path, own, {REST: json.dumps(rest)})


def read_whole(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, with those that it leaves to a neighbour's.

    Raises UserError for a file that is missing or damaged, and for a neighbour that is not the file that was
    meant.
    """
    own, said = read_safetensors(path), about(path).get(REST)
    if said is None:
        return own
    try:
        rest = json.loads(said)
        file, digest, names = PurePosixPath(rest["file"]), rest["sha256"], list(rest["tensors"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{path}: what it says of the rest of its weights cannot be read") from error
    if len(file.parts) != 2 or ".." in file.parts or file.is_absolute():
        raise UserError(f"{path}: the rest of its weights is in no folder beside its own: {file}")
    neighbour = path.parent.parent / file
    if not neighbour.is_file() or sha256(neighbour) != digest:
        raise UserError(f"{path}: {neighbour} is not the file that the rest of its weights is in")
    there = read_safetensors(neighbour)
    return own | {name: there[name] for name in names if name in there}
