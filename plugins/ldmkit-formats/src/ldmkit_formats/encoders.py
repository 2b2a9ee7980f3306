"""Folders of text encoders and tokenizers in the layout of transformers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldmkit.artifacts import (
    Tensors,
    check_inside,
    check_numbers,
    find_weights,
    read_folder,
    read_tensors,
    write_tensors,
)
from ldmkit.errors import UserError
from ldmkit.interchange.reading import number, read_json

STEM = "model"
WEIGHTS = f"{STEM}.safetensors"
PICKLE = "pytorch_model.bin"
PLAIN = ("*.json", "*.txt", "*.model")
"""What a tokenizer and a configuration consist of."""
TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model")


def copy_tokenizer(source: Path, out: Path) -> None:
    """The files of a tokenizer's folder, or of the folder `tokenizer` in it; UserError where it has none."""
    folder = source / "tokenizer" if (source / "tokenizer").is_dir() else source
    copy_plain(folder, out)
    if not any((out / name).exists() for name in TOKENIZERS):
        raise UserError(f"{folder}: no tokenizer (tokenizer.json, or vocab.json and merges.txt)")


def caption_length(source: Path) -> int | None:
    """The number of tokens of a caption that a tokenizer's folder states, or None."""
    folder = source / "tokenizer" if (source / "tokenizer").is_dir() else source
    path = check_inside(source, folder / "tokenizer_config.json")
    length = number(read_json(path), "model_max_length", 0) if path.is_file() else 0
    return int(length) if length >= 1 else None


def copy_encoder(source: Path, out: Path) -> None:
    """A text encoder's configuration and its weights, whatever files hold them, as one safetensors file."""
    copy_plain(source, out)
    tensors = encoder_tensors(source)
    layers = read_json(out / "config.json").get("num_hidden_layers", 0)
    if isinstance(layers, int) and layers > len(tensors):
        raise UserError(
            f"{source}: its configuration has {layers} layers, its weights {len(tensors)} tensors"
        )
    write_checked(out, tensors)


def encoder_tensors(source: Path) -> Tensors:
    """The weights of a text encoder's folder: safetensors, else an old pickle read as tensors alone."""
    if find_weights(source, STEM) or not (source / PICKLE).is_file():
        return read_folder(source, STEM)
    return read_tensors(check_inside(source, source / PICKLE))


def write_encoder(config: Mapping[str, Any], tensors: Tensors, out: Path) -> None:
    """Writes a text encoder's folder from its configuration and weights."""
    (out / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    write_checked(out, tensors)


def write_checked(out: Path, tensors: Tensors) -> None:
    """The weights, which must be numbers; ids of positions are integers."""
    real = {name: x for name, x in tensors.items() if not name.endswith("position_ids")}
    check_numbers(real, "text encoder")
    write_tensors(out / WEIGHTS, tensors)


def copy_plain(source: Path, out: Path) -> None:
    """Copies configurations and vocabularies, without indices of weights and links that lead outside."""
    if not source.is_dir():
        raise UserError(f"{source}: no such folder")
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(p for pattern in PLAIN for p in source.glob(pattern)):
        if ".index" not in path.name and path.is_file():
            shutil.copyfile(check_inside(source, path), out / path.name)
