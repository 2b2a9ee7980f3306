"""The data set `hf-dataset`: tables of pictures, read by the library `datasets`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ldmkit.disk import cache_folder
from ldmkit.errors import on_one_line
from ldmkit.pictures import shown
from ldmkit_shards.examples import Encoded, Examples, Fault, Record
from ldmkit_shards.fields import constant
from ldmkit_shards.files import content_of, of_file, state_of

MARKS = ("state.json", "dataset_dict.json")
"""What lies in a folder that `save_to_disk` wrote."""
EMPTY = "is empty, or names a file instead of holding it"
ROWS = 4096
"""Rows whose values are looked at together."""


class HfDataset(Examples):
    """A table with a column of pictures: parquet files, a folder of `save_to_disk`, or a set on the hub.

    Examples hold image (uint8 "3 H W") and a field for each other column of texts, numbers, class labels
    (whole numbers; `class_names` has their names), sequences (as tuples) and further pictures. With `key`
    they come in the order of that column, and their splits follow from it, as those of a folder whose files
    have these names; otherwise both follow from the number of the row. The splits are "train", and
    "validation" with about 5 %. Raises ValueError without the library, for a set that is missing or lacks
    these columns, and for more broken pictures than are allowed.

    Args:
        path: a folder, or a parquet file; not with `repo`.
        repo: a data set on the hub, "owner/name".
        revision: its commit, 40 hexadecimal digits: a branch could change between runs.
        config: which of the set's configurations.
        part: which of the set's own splits is read.
        image: the column of the pictures.
        key: the column that names each example.
    """

    _kind = "hf-dataset"

    def __init__(
        self,
        *,
        path: Path | None = None,
        repo: str | None = None,
        revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None = None,
        config: str | None = None,
        part: str = "train",
        image: str = "image",
        key: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if (path is None) == (repo is None) or (repo is None) != (revision is None):
            raise ValueError("takes either path, or repo with revision (a commit of 40 hex digits)")
        if path is not None:
            table, files = _local(path, part)
        else:
            table = _loaded(str(repo), repo, name=config, revision=revision, split=part)
            files = {str(repo): f"{repo} {config} {revision}"}
        source = _Table(table, files, part, shown(path or str(repo)), image, key)
        self.class_names = source.class_names
        self._take_from(source)


class _Table:
    """The rows of a table of the library `datasets`."""

    def __init__(
        self, table: Any, files: Mapping[str, str], part: str, place: str, image: str, key: str | None
    ) -> None:
        library, features = _library(), table.features
        for column in (image, *(() if key is None else (key,))):
            if column not in features:
                raise ValueError(f"{place} has no column '{column}'; it has {', '.join(features)}")
        if not isinstance(features[image], library.Image):
            raise ValueError(f"{place}: the column '{image}' holds no pictures: {features[image]}")
        used = {name: kind for name, kind in features.items() if name != key and _readable(kind)}
        self.fields = tuple(name for name in used if name != image)
        if "image" in self.fields:
            raise ValueError("a field cannot be named 'image'; that is the picture itself")
        self._pictures = [name for name, kind in used.items() if isinstance(kind, library.Image)]
        self.class_names: Mapping[str, Sequence[str]] = {
            name: kind.names for name, kind in used.items() if isinstance(kind, library.ClassLabel)
        }
        names = [f"{i:012}" for i in range(len(table))] if key is None else list(map(str, table[key]))
        self._order = sorted(range(len(names)), key=lambda i: names[i])
        self.keys: Sequence[str] = [names[i] for i in self._order]
        self.where, self._image = place, image
        self.problems: Mapping[int, str] = {}
        self.files: Mapping[str, str] = {name: content[:12] for name, content in files.items()}
        content = f"{' '.join(files.values())} {part}"
        self.content = hashlib.sha256(f"{content} {image} {key}".encode()).hexdigest()
        self._table = table.select_columns(list(used))
        for name in self._pictures:
            self._table = self._table.cast_column(name, library.Image(decode=False))

    def name(self, place: int) -> str:
        """Where the table lies, and the row."""
        return f"{self.where}: row {self._order[place]} ({shown(self.keys[place])})"

    def record(self, place: int) -> Record:
        """Raises ValueError for a row without a picture."""
        row = dict(self._table[self._order[place]])
        pictures = {name: (row.pop(name) or {}).get("bytes") for name in self._pictures}
        empty = {n: f"its '{n}' {EMPTY}" for n, content in pictures.items() if not content}
        if self._image in empty:
            raise ValueError(empty[self._image])
        encoded = {n: Encoded(content, f"its '{n}'") for n, content in pictures.items() if content}
        values = {name: constant(value) for name, value in row.items()}
        return Record(encoded.pop(self._image), {**values, **encoded}, empty)

    def lacking(self) -> Iterator[Fault]:
        """The rows that have no value in a column other than of pictures."""
        columns = [name for name in self.fields if name not in self._pictures]
        if not columns:
            return
        places, first = {row: place for place, row in enumerate(self._order)}, 0
        for batch in self._table.select_columns(columns).with_format("arrow").iter(ROWS):
            nulls = {n: batch[n].is_null().to_pylist() for n in columns if batch[n].null_count}
            for i in range(len(batch)) if nulls else ():
                if missing := [name for name, null in nulls.items() if null[i]]:
                    yield places[first + i], missing, f"has no '{missing[0]}'"
            first += len(batch)


def _library() -> Any:
    try:
        import datasets
    except ImportError:
        raise ValueError("needs the library datasets: pip install 'ldmkit-shards[hf]'") from None
    return datasets


def _local(path: Path, part: str) -> tuple[Any, Mapping[str, str]]:
    """The table in a folder or file, and a digest of each of its files by name."""
    saved = any((path / mark).is_file() for mark in MARKS)
    pattern = "*.arrow" if saved else "*.parquet"
    files = [path] if path.is_file() else sorted(path.rglob(pattern))
    if not files:
        raise ValueError(f"no {pattern} file in {shown(path)}")
    root = path.parent if path.is_file() else path
    content = {file.relative_to(root).as_posix(): _content(file) for file in files}
    if not saved:
        return _converted(path, files), content
    table = _explained(shown(path), lambda: _library().load_from_disk(str(path)))
    if isinstance(table, Mapping):
        if part not in table:
            raise ValueError(f"{shown(path)} has no part '{part}'; there are {', '.join(table)}")
        table = table[part]
    return table, content


def _converted(path: Path, files: Sequence[Path]) -> Any:
    """The table of parquet files, which the library writes to the cache folder in its own format, once."""
    _library()
    from ldmkit_shards.parquet import table

    return _explained(shown(path), lambda: table(files, cache_folder() / "shards" / "tables"))


def _content(file: Path) -> str:
    return str(of_file(file, state_of(file), "sha256", lambda: content_of(file)))


def _loaded(place: str, *arguments: Any, **options: Any) -> Any:
    return _explained(place, lambda: _library().load_dataset(*arguments, **options))


def _explained(place: str, load: Callable[[], Any]) -> Any:
    """What the library loads; its errors, of all kinds, as one line."""
    library = _library()
    library.disable_progress_bars()
    try:
        return load()
    except Exception as error:
        reason = on_one_line(error.__cause__ or error, 500)
        raise ValueError(f"{place} cannot be read ({type(error).__name__}: {reason})") from error


def _readable(kind: Any) -> bool:
    """Is a column one that becomes a field: a scalar, class label, picture, or a sequence of scalars?"""
    library = _library()
    if isinstance(kind, library.List | library.LargeList):
        return _readable(kind.feature) and not isinstance(kind.feature, library.Image)
    if isinstance(kind, list):
        return _readable(kind[0])
    return isinstance(kind, library.Value | library.ClassLabel | library.Image)
