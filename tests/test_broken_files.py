"""A share of the broken files that `make fuzz` reads at length."""

from pathlib import Path

from tests.broken_files import fuzz_files


def test_every_file_is_read_or_refused(tmp_path: Path) -> None:
    ends = fuzz_files(tmp_path, 200, seed=0)
    assert sum(ends.values()) == 200
    assert min(ends[end] for end in ("read", "read in part", "refused")) > 20
