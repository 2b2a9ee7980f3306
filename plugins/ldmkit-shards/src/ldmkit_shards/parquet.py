"""Parquet files for the library `datasets`, a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from datasets.packaged_modules.parquet.parquet import Parquet
from pyarrow import Table
from pyarrow.parquet import ParquetFile

ROWS = 64
"""Rows that are held at once: of pictures of 1 MB, 64 MB."""
BUFFER = 1 << 20
"""Bytes of a column that are read at once."""


class StreamedParquet(Parquet):
    """The library's own reader, but that it does not hold a whole row group of a file: a file may be one."""

    def _generate_tables(self, files: Sequence[str], *_: Any, **__: Any) -> Iterator[tuple[str, Table]]:
        for number, file in enumerate(files):
            with ParquetFile(file, buffer_size=BUFFER, pre_buffer=False) as parquet:
                for i, rows in enumerate(parquet.iter_batches(batch_size=ROWS)):
                    yield f"{number}_{i}", self._cast_table(Table.from_batches([rows]))


def table(files: Sequence[Path], cache: Path) -> Any:
    """The table of these files, which the library writes below `cache` in its own format, once."""
    names = {"train": [str(file) for file in files]}
    builder = StreamedParquet(cache_dir=str(cache), dataset_name="parquet", data_files=names)
    builder.download_and_prepare()
    return builder.as_dataset(split="train")
