"""`sameask labels`: from a file and back into one."""

from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from tests.cli.commands import (
    LABEL_HEADER,
    LABELS,
    ROWS,
    Sameask,
    assert_one_line,
    label_file,
    labelled,
    question_file,
)
from training.pairs import LabelledPair, read_pairs


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_labels_are_imported_and_importing_them_again_changes_nothing(
    sameask: Sameask, tmp_path: Path, ending: str
) -> None:
    rows = cast(list[tuple[str, ...]], LABELS[:2] if ending == ".tsv" else LABELS)
    file = label_file(tmp_path / f"labels{ending}", rows)
    first, again = sameask("labels", "import", file), sameask("labels", "import", file)
    assert (first.code, first.out) == (0, f"{len(rows)} added, 0 replaced, 0 unchanged\n")
    assert (again.code, again.out) == (0, f"0 added, 0 replaced, {len(rows)} unchanged\n")
    assert labelled(sameask) == rows
    changed = [(*rows[0][:2], "0", "anna", ""), *rows[1:]]
    assert (
        "1 replaced"
        in sameask("labels", "import", label_file(tmp_path / f"changed{ending}", changed)).out
    )
    assert sorted(labelled(sameask)) == sorted([(*rows[0][:2], "0", "anna", ""), *rows[1:]])


@pytest.mark.parametrize(("options", "ending"), [((), ".csv"), (("--json",), ".jsonl")])
def test_exported_labels_are_imported_again_as_they_were_and_training_reads_them(
    sameask: Sameask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    ending: str,
) -> None:
    sameask("labels", "import", label_file(tmp_path / "labels.jsonl", cast(Any, LABELS)))
    exported = sameask("labels", "export", *options)
    file = tmp_path / f"exported{ending}"
    file.write_bytes(exported.out.encode())
    assert read_pairs(file) == [
        LabelledPair(one, other, said == "1") for one, other, said, *_ in LABELS
    ]
    monkeypatch.setenv("SAMEASK_DATA_DIR", str(tmp_path / "another"))
    assert sameask("labels", "import", file).out == "3 added, 0 replaced, 0 unchanged\n"
    assert sameask("labels", "export", *options).out == exported.out


def test_labels_of_a_file_without_names_are_those_of_the_one_who_imports_it(
    sameask: Sameask, tmp_path: Path, url: str
) -> None:
    file = label_file(
        tmp_path / "pairs.tsv", [("One?", "Two?", "1"), ("One?", "Three?", "0")], LABEL_HEADER[:3]
    )
    assert_one_line(sameask("labels", "import", file), "has no column 'by'")
    httpx.put(f"{url}/collections/support")
    arguments = ("labels", "import", file, "--by", "carl", "-c", "support", "--url", url)
    assert sameask(*arguments).out == "2 added, 0 replaced, 0 unchanged\n"
    assert labelled(sameask, "-c", "support", "--url", url) == [
        ("One?", "Two?", "1", "carl", ""),
        ("One?", "Three?", "0", "carl", ""),
    ]
    assert labelled(sameask) == []  # nothing in place


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("One?,,1,anna,", "question2 must not be empty"),
        ("One?,Two?,2,anna,", "is_duplicate must be 0 or 1"),
        ("One?,Two?,1,,", "by must not be empty"),
        ("One?,Two?,1,anna", "has 4 columns, the header has 5"),
        ("One?,One?,1,anna,", "is a pair of a text with itself"),
        ("First?, first other?,0,anna,", "says otherwise than line 2 of the same pair"),
        (
            f"One?,Two?,1,anna,{'x' * 10_001}",
            "note has 10,001 characters; at most 10,000 (SAMEASK_MAX_CHARACTERS)",
        ),
    ],
)
def test_a_broken_row_of_labels_is_named_by_file_and_line(
    sameask: Sameask, tmp_path: Path, row: str, problem: str
) -> None:
    file = tmp_path / "labels.csv"
    header = ",".join(LABEL_HEADER)
    file.write_text(f"{header}\nfirst other?,First?,1,anna,\n{row}\nFirst?,first other?,0,bob,\n")
    refused = sameask("labels", "import", file)
    assert (refused.code, refused.err.splitlines()) == (
        1,
        [
            f"{file}:3: {problem}",
            f"sameask: 1 broken row in {file}: nothing was imported; --skip-bad imports the others",
        ],
    )
    assert labelled(sameask) == []
    assert sameask("labels", "import", file, "--skip-bad").out == (
        "2 added, 0 replaced, 0 unchanged, 1 broken row skipped\n"
    )


def test_labels_of_more_than_one_request_and_page_are_whole(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMEASK_MAX_LABELS", "3")
    monkeypatch.setenv("SAMEASK_MAX_PAGE", "2")
    rows = cast(
        list[tuple[str, ...]], [(f"One {n}?", f"Other {n}?", "1", "anna", "") for n in range(10)]
    )
    assert sameask("labels", "import", label_file(tmp_path / "a.csv", rows)).out.startswith(
        "10 added"
    )
    assert sorted(labelled(sameask)) == rows


def test_find_and_pair_say_whose_word_the_verdict_is(sameask: Sameask, tmp_path: Path) -> None:
    sameask("import", question_file(tmp_path))
    both = [("Who?", ROWS[0][1], "1", "anna", ""), ("Who?", ROWS[1][1], "0", "anna", "")]
    sameask("labels", "import", label_file(tmp_path / "a.csv", cast(Any, both)))
    sameask("labels", "import", label_file(tmp_path / "b.csv", [(*both[1][:2], "1", "[bob]", "")]))
    shown = sameask("find", "Who?").out
    (line,) = [line for line in shown.splitlines() if ROWS[0][1] in line]
    assert "duplicate, says anna" in line
    assert "review, people disagree" in shown
    assert "duplicate, says anna" in sameask("pair", ROWS[0][1], "who?").out
