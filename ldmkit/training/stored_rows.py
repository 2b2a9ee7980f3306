"""Single rows of the tensors in a safetensors file, read by their positions.

A file that is mapped would be read ahead around every row: megabytes for some kilobytes, again and again
where the files are larger than the memory that caches them.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from ldmkit.errors import UserError

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""torch's types by safetensors' names."""


class StoredRows:
    """The rows of a file's tensors, as a context. UserError for a file that is missing or damaged.

    Source of the format: https://github.com/huggingface/safetensors, "Format".
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("rb", buffering=0)
            self._start = 8 + int.from_bytes(self._bytes(0, 8), "little")
            self._header = json.loads(self._bytes(8, self._start - 8))
        except (OSError, ValueError, RecursionError, MemoryError, OverflowError) as error:
            raise self._unreadable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def row(self, name: str, index: int) -> Tensor | None:
        """Row `index` of a tensor; None where the file has no such tensor."""
        try:
            if name not in self._header:
                return None
            about = self._header[name]
            shape, dtype = about["shape"][1:], DTYPES[about["dtype"]]
            count = math.prod(shape) * dtype.itemsize
            content = self._bytes(self._start + about["data_offsets"][0] + index * count, count)
            return torch.frombuffer(content, dtype=dtype).view(shape)
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise self._unreadable(error) from error

    def _bytes(self, start: int, count: int) -> bytearray:
        """The bytes from a position on; ValueError where the file ends before."""
        content = bytearray(count)
        self._file.seek(start)
        if self._file.readinto(content) != count:
            raise ValueError("the file ends too soon")
        return content

    def _unreadable(self, error: Exception) -> UserError:
        return UserError(f"{self._path}: cannot be read ({error}): remove it and start again")
