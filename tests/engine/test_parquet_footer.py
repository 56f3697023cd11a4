"""Footers of Parquet that would take more memory than the file has bytes."""

import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from app.engine.parquet_footer import MAX_FOOTER_BYTES, check_footer
from app.engine.rows import read_rows
from app.errors import UnreadableFile
from app.file_preview import preview


def _end(length: int) -> bytes:
    return length.to_bytes(4, "little") + b"PAR1"


@pytest.mark.parametrize("mark", [b"PAR1", b"PARE"])
def test_a_long_footer_is_refused_before_it_is_read(tmp_path: Path, mark: bytes) -> None:
    file = tmp_path / "a.parquet"
    content = b"PAR1" + bytes(MAX_FOOTER_BYTES + 1) + _end(MAX_FOOTER_BYTES + 1)[:4] + mark
    file.write_bytes(content)
    for read in (lambda: check_footer(file), lambda: list(read_rows(file, ["text"]))):
        with pytest.raises(UnreadableFile, match="has a footer of 262,145 bytes; at most 262,144"):
            read()


def test_a_footer_that_lies_in_no_sample_takes_no_memory() -> None:
    allocated = pa.default_memory_pool()
    tracemalloc.start()
    before = allocated.max_memory()
    with pytest.raises(UnreadableFile, match="has a footer of 100,000,000 bytes"):
        preview("a.parquet", 2**30, b"PAR1", bytes(1000) + _end(100_000_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak + allocated.max_memory() - before < 2**20


def test_a_file_of_many_groups_of_rows_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    texts = [f"question {number}" for number in range(500)]
    parquet.write_table(pa.table({"text": texts}), file, row_group_size=1)
    assert [row.values[0] for row in read_rows(file, ["text"])] == texts


def test_what_is_too_short_for_a_footer_is_left_to_the_reader(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    file.write_bytes(b"PAR1")
    check_footer(file)
    with pytest.raises(UnreadableFile, match="can't read"):
        list(read_rows(file, ["text"]))
