"""Tensors on disk, and sha256 manifests that show damage."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ldmkit.checkpoint.sums import sha256
from ldmkit.disk import DiskError, atomic, check_file, opened, read_text, write_json
from ldmkit.errors import UserError

POINTER = b"version https://git-lfs"
MANIFEST = "manifest.json"
"""sha256 of every other file of a step folder, by name."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> None:
    """Writes a safetensors file atomically; `about` is added to its metadata. Raises DiskError."""
    # safetensors refuses tensors that share memory, as views and tied weights do: each name has its own copy.
    own = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    count = Counter(v.untyped_storage().data_ptr() for v in own.values())
    shared = {k: v.clone() for k, v in own.items() if count[v.untyped_storage().data_ptr()] > 1}
    with atomic(path) as aside:
        aside.touch()
        permissions = aside.stat().st_mode  # safetensors gives its files to their owner alone
        try:
            save_file({**own, **shared}, aside, {"format": "pt", **(about or {})})
            aside.chmod(permissions)
        except SafetensorError as error:  # its writer reports the system's errors as text
            raise DiskError(f"{path}: cannot be written: {error}") from error


def about(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file; UserError where it is missing or damaged."""
    try:
        check_file(path)
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UserError(_unreadable(path, error)) from error


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; UserError where it is missing or damaged."""
    try:
        check_file(path)
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: Exception) -> str:
    """Why a safetensors file cannot be read; what a clone without Git LFS leaves in its place is named."""
    try:
        with opened(path) as file:
            pointer = file.read(len(POINTER)) == POINTER
    except OSError:
        pointer = False
    why = "a pointer of Git LFS: `git lfs pull` fetches the file itself" if pointer else error
    return f"{path}: not a readable safetensors file ({why})"


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """sha256 of names, shapes and values: what caches made with these weights are keyed by."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}:{tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def seal(folder: Path) -> None:
    """Writes the manifest of a folder's files, those of its folders among them."""
    digests = {name: sha256(folder / name) for name in _files(folder)}
    write_json(folder / MANIFEST, digests)


def _files(folder: Path) -> list[str]:
    """Paths within a folder, its manifest aside."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return sorted(name for name in names if name != MANIFEST)


def damage(folder: Path) -> str | None:
    """The damage of a sealed folder (a missing, altered or foreign file); None where it is intact."""
    try:
        digests = json.loads(read_text(folder / MANIFEST))
        present = set(_files(folder))
        if not isinstance(digests, dict) or not digests:
            return f"{MANIFEST} lists no files"
        if digests.keys() != present:
            return f"{', '.join(sorted(digests.keys() ^ present)[:4])}: not what {MANIFEST} lists"
        altered = [name for name, digest in digests.items() if sha256(folder / name) != digest]
    except (OSError, ValueError, RecursionError) as error:
        return str(error)
    return f"{', '.join(altered[:4])}: checksum differs" if altered else None
