"""Folders of weights: the safetensors files that hold one model, whole or in shards, all inside."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ldmkit.artifacts.tensors import Tensors
from ldmkit.artifacts.wrappers import without_wrappers
from ldmkit.checkpoint.files import read_safetensors
from ldmkit.disk import read_text
from ldmkit.errors import UserError

SHARD = re.compile(r"-\d+-of-\d+\.safetensors$")


def find_weights(folder: Path, stem: str) -> list[Path]:
    """The safetensors files of a folder that hold one model: one file, an index's shards, or a variant's.

    stem: how the file is called, as "model" of model.safetensors. Without the plain file, fp16 comes before
    other variants. Empty where there is none. Raises UserError for an index that is damaged or names files
    elsewhere.
    """
    plain = folder / f"{stem}.safetensors"
    index = plain.with_name(f"{plain.name}.index.json")
    others = [p for pattern in ("*index*.json", "*.safetensors") for p in folder.glob(f"{stem}.{pattern}")]
    variants = sorted(others, key=lambda p: (".fp16" not in p.name, p.name))
    for path in (plain, index, *(p for p in variants if not SHARD.search(p.name))):
        if path.is_file():
            return _shards(path) if path.suffix == ".json" else [check_inside(folder, path)]
    return []


def read_folder(folder: Path, stem: str) -> Tensors:
    """All tensors of the model that a folder holds as safetensors, whatever its files; UserError where there
    are none or two files hold one name."""
    files = find_weights(folder, stem)
    if not files:
        pickled = next((p for suffix in ("bin", "pt", "ckpt") for p in folder.glob(f"*.{suffix}")), None)
        why = f"; pickled weights are not read here ({pickled.name}), convert them" if pickled else ""
        raise UserError(f"{folder}: no {stem}.safetensors{why}")
    tensors: Tensors = {}
    for path in files:
        part = read_safetensors(path)
        if repeated := tensors.keys() & part.keys():
            raise UserError(f"{path}: {min(repeated)} stands in another file too")
        tensors |= part
    return without_wrappers(tensors, files[0])


def check_inside(folder: Path, path: Path) -> Path:
    """The path, where it and what it links to are in the folder; UserError otherwise.

    Links of the hub's cache into its own store of the same model are allowed.
    """
    root, target = folder.resolve(), path.resolve()
    store = next((p.parent / "blobs" for p in (root, *root.parents) if p.name == "snapshots"), root)
    if not (target.is_relative_to(root) or target.is_relative_to(store)):
        raise UserError(f"{path} leads out of {folder}, to {target}: only what the folder holds is read")
    return path


def _shards(index: Path) -> list[Path]:
    """The files that an index names, each inside its folder."""
    try:
        names = set(json.loads(read_text(index))["weight_map"].values())
        paths = [index.parent / name for name in sorted(names)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{index}: no index of weights ({type(error).__name__})") from None
    for path in paths:
        check_inside(index.parent, path)
        if path.parent != index.parent or path.suffix != ".safetensors":
            raise UserError(f"{index} names '{path.name}', which is no safetensors file beside it")
        if not path.exists():
            raise UserError(f"{index} names '{path.name}', which is not there")
    return paths
