"""The files that a component's parameters name: none that would be read for ever."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from glob import escape
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ldmkit.disk import check_file
from ldmkit.hookspecs import Reads


def check_paths(values: Mapping[str, Any], reads: Mapping[str, Reads], *, inside: bool) -> None:
    """ValueError for a pipe, a socket or a device at a path, or among the files that are read beside it.

    inside: look into a folder, too, and into those in it. What is not there is left to the component.
    """
    for key, value in values.items():
        for path in _paths(value):
            for file in _read(path, reads.get(key, Reads()), inside):
                try:
                    check_file(file)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise ValueError(f"{key} {file}: {error}") from None


def _paths(value: Any) -> Iterator[Path]:
    """The paths in a parameter's value."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _paths(one)
    elif isinstance(value, Mapping | BaseModel):
        for _, one in value.items() if isinstance(value, Mapping) else value:
            yield from _paths(one)


def _read(path: Path, reads: Reads, inside: bool) -> Iterator[Path]:
    """What may be read at a path."""
    yield path
    if path.is_dir():
        yield from chain(path.glob("*"), path.glob("*/*")) if inside else ()
    else:
        patterns = (pattern.replace("{stem}", escape(path.stem)) for pattern in reads.beside)
        yield from chain(*(path.parent.glob(pattern) for pattern in patterns))
