"""The fields that members of a tar file hold, by the part of their names that follows the first dot."""

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
    """The name of the field that a member holds; empty where the content names its fields (.json) or it holds
    none."""
    field, _, suffix = kind.rpartition(".")
    return (field if suffix.lower() in (*READ, *PICTURES) else "") or NAMES.get(suffix.lower(), "")


def is_object(kind: str) -> bool:
    """Whether the content of a member names the fields that it holds."""
    return kind.lower() == "json"


def values_in(kind: str, content: bytes) -> Mapping[str, Any]:
    """The fields of a member's content by name. Raises ValueError that says what is wrong with it."""
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
    """The value with its lists as tuples, so that nobody can change what an example holds."""
    return tuple(constant(v) for v in value) if isinstance(value, list) else value
