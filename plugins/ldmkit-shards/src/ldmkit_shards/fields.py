"""The fields in the members of a tar file, by what follows the first dot of their names."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
import torch

from ldmkit.disk import json_of, text_of
from ldmkit.pictures import SUFFIXES
from ldmkit_shards.examples import Encoded

PICTURES = tuple(suffix[1:] for suffix in SUFFIXES)
NAMES = {"txt": "caption", "cls": "label", "npy": "array"}
"""The field in a member that has no further word in its name."""
NPY = b"\x93NUMPY"
"""How a file of numpy's begins."""
READ = ("json", *NAMES)
"""Members that hold fields, besides pictures."""


def field_of(kind: str) -> str:
    """The name of the field in a member; empty where its content says so (.json), or it holds none."""
    field, _, suffix = kind.rpartition(".")
    return (field if suffix.lower() in (*READ, *PICTURES) else "") or NAMES.get(suffix.lower(), "")


def is_object(kind: str) -> bool:
    """Does the content of a member say which fields it holds?"""
    return kind.lower() == "json"


def values_in(kind: str, content: bytes) -> Mapping[str, Any]:
    """The fields in a member; ValueError says what is wrong with it."""
    field, suffix = field_of(kind), kind.rpartition(".")[2].lower()
    try:
        if suffix == "json":
            value = constant(json_of(text_of(content)))
            return {field: value} if field else {k: v for k, v in value.items() if v is not None}
        if suffix in NAMES:
            return {field: _value(suffix, content)}
    except Exception as error:  # numpy raises errors of all kinds on damaged files
        raise ValueError(f"its .{kind}: cannot be read ({type(error).__name__}: {error})"[:300]) from error
    return {field: Encoded(content, f"its .{kind}")} if field and suffix in PICTURES else {}


def _value(suffix: str, content: bytes) -> Any:
    if suffix == "txt":
        return " ".join(text_of(content).split())
    if suffix == "cls":
        return int(content)
    if not content.startswith(NPY):  # numpy would advise to let it run code
        raise ValueError("no array that numpy.save has written")
    return torch.from_numpy(np.load(BytesIO(content), allow_pickle=False))


def constant(value: Any) -> Any:
    """Lists as tuples, so that what examples hold cannot change."""
    return tuple(constant(v) for v in value) if isinstance(value, list) else value
