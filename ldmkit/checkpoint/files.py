"""Files that are whole or not there: written aside, synced, renamed; checked by sha256."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ldmkit.errors import UserError

MANIFEST = "manifest.json"
"""sha256 of every other file of a step folder, by name."""


def sync(path: Path) -> None:
    """Forces a file or a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(aside: Path, path: Path) -> None:
    """Moves a finished file or folder to its name and syncs the folder that holds it."""
    os.replace(aside, path)
    sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes a text file so that a reader sees the old text or the new, never a part."""
    aside = path.with_name(f".tmp-{path.name}")
    aside.write_text(text, encoding="utf-8")
    sync(aside)
    replace(aside, path)


def write_json(path: Path, value: Any) -> None:
    """The same for JSON."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> None:
    """The same for tensors, as safetensors; `about` joins the file's metadata."""
    aside = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    # safetensors refuses tensors that share memory, as views and tied weights do: each name has its own copy.
    own = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    count = Counter(v.untyped_storage().data_ptr() for v in own.values())
    shared = {k: v.clone() for k, v in own.items() if count[v.untyped_storage().data_ptr()] > 1}
    save_file({**own, **shared}, aside, {"format": "pt", **(about or {})})
    sync(aside)
    replace(aside, path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; UserError where it is missing or damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error})") from error


def sha256(path: Path) -> str:
    """The file's digest, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """sha256 of names, shapes and values: what caches made with these weights are keyed by."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}:{tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def seal(folder: Path) -> None:
    """Writes the manifest of a folder's files."""
    digests = {f.name: sha256(f) for f in sorted(folder.iterdir()) if f.name != MANIFEST}
    write_json(folder / MANIFEST, digests)


def damage(folder: Path) -> str | None:
    """What is wrong with a sealed folder: a missing or altered file; None where it is whole."""
    try:
        digests = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        altered = [name for name, digest in digests.items() if sha256(folder / name) != digest]
    except (OSError, ValueError, AttributeError) as error:
        return str(error)
    return f"{', '.join(altered)}: checksum differs" if altered else None
