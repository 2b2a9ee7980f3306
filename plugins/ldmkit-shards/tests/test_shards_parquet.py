"""Parquet files are converted a few rows at a time."""

from __future__ import annotations

from pathlib import Path

import pyarrow
from ldmkit_shards.parquet import StreamedParquet, table
from pyarrow.parquet import write_table

ROWS, BYTES = 400, 50_000


def one_row_group(path: Path, first: int) -> Path:
    """A file of rows with a number and 50 kB each, all in one row group, in pages of 16 rows."""
    columns = {
        "number": list(range(first, first + ROWS)),
        "content": [bytes([i % 256]) * BYTES for i in range(ROWS)],
    }
    plain = {"compression": "none", "use_dictionary": False, "data_page_size": BYTES, "write_batch_size": 16}
    write_table(pyarrow.table(columns), path, row_group_size=ROWS, **plain)
    return path


def test_the_rows_of_all_files_come_in_order(tmp_path: Path) -> None:
    files = [one_row_group(tmp_path / f"{i}.parquet", i * ROWS) for i in range(2)]
    found = table(files, tmp_path / "cache")
    assert found["number"][:] == list(range(2 * ROWS))
    assert [row[0] for row in found["content"]] == [i % 256 for i in range(ROWS)] * 2


def test_a_row_group_is_not_held_whole(tmp_path: Path) -> None:
    path = one_row_group(tmp_path / "0.parquet", 0)
    before, held = pyarrow.total_allocated_bytes(), []
    reader = StreamedParquet(cache_dir=str(tmp_path / "cache"), data_files=str(path))
    for _, rows in reader._generate_tables([str(path)]):
        held.append(pyarrow.total_allocated_bytes() - before)
        del rows
    assert max(held) < ROWS * BYTES / 2
