"""Keeps the pictures among the inputs of served pictures as files, and finds them again by their content."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from torch import Tensor

from ldmkit.disk import atomic
from ldmkit.interfaces import Dataset
from ldmkit.pictures.inputs import content


@dataclass(frozen=True)
class Kept:
    """The inputs that visitors gave, in `folder`, the files that the recipe names, and the recipe's data
    where they are on this machine.

    Files are looked up by their sha256 alone: anybody may drop a picture on the page, and the paths in its
    metadata are never opened.
    """

    folder: Path
    named: Iterable[Path] = ()
    data: Dataset | None = None
    _by_content: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in (*self.named, *self.folder.glob("*.png")):
            self._by_content[hashlib.sha256(path.read_bytes()).hexdigest()] = path

    def record(self, name: str, value: Any) -> Any:
        """The value of the input `name` in the form in which a PNG's metadata hold it; a picture, map or mask
        is written to the folder first."""
        if not isinstance(value, Tensor | PIL.Image.Image):
            return value
        stream = io.BytesIO()
        (_picture(value) if isinstance(value, Tensor) else value).save(stream, "PNG")
        digest = hashlib.sha256(stream.getvalue()).hexdigest()
        if digest not in self._by_content:
            self._by_content[digest] = self._write(f"{name}-{digest[:12]}", stream.getvalue())
        return {"file": str(self._by_content[digest]), "sha256": digest}

    def value(self, record: Any) -> Any:
        """The value that a record stands for, a file's as its path. Raises ValueError where it cannot be
        found here."""
        if not isinstance(record, Mapping):
            return record
        if "file" in record:
            return self._file(record.get("sha256"))
        return self._example(record.get("example"), record.get("sha256"))

    def _write(self, stem: str, data: bytes) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{stem}.png"
        with atomic(path) as aside:
            aside.write_bytes(data)
        return path

    def _file(self, digest: Any) -> Path:
        path = self._by_content.get(str(digest))
        if path is None or not path.is_file():
            raise ValueError("its file is not among those that were given on this page")
        return path

    def _example(self, index: Any, digest: Any) -> Any:
        """The field of one of the data's validation examples whose content is that of the record."""
        split = None if self.data is None else self.data.split("validation")
        if split is None or type(index) is not int or not 0 <= index < len(split):
            raise ValueError("the example of the data that it came from is not at hand")
        for value in split[index].values():
            if content(value) == digest:
                return value
        raise ValueError("the example of the data that it came from has changed")


def _picture(value: Tensor) -> PIL.Image.Image:
    """A map of class ids or a mask in [0, 1] as a grey picture, "H W"."""
    grey = value * 255 if value.is_floating_point() else value
    return PIL.Image.fromarray(grey.numpy().astype(np.uint8))
