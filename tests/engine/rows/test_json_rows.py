"""JSON arrays, decoded as they are read."""

import json
from pathlib import Path

import pytest

from app.engine.rows import Row, TableFile, read_columns, read_rows
from app.errors import UnreadableFile


def read(folder: Path, content: str) -> list[Row]:
    path = folder / "q"
    path.write_text(content, "utf-8")
    return list(read_rows(TableFile(path, "q"), ("id", "text")))


ITEMS = [
    {"id": n, "text": f'"{n}" [is] {{it}}?' + "é" * (n % 7), "n": [n, {}]} for n in range(5000)
]


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_is_read_item_by_item(tmp_path: Path, indent: int | None) -> None:
    rows = read(tmp_path, json.dumps(ITEMS, indent=indent, ensure_ascii=False))
    assert rows == [Row(n + 1, [item["id"], item["text"]]) for n, item in enumerate(ITEMS)]


@pytest.mark.parametrize("content", ["[]", " [ ] \n"])
def test_an_array_may_be_empty(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content) == []


def test_an_item_may_be_long(tmp_path: Path) -> None:
    text = "x" * 300_000
    assert read(tmp_path, json.dumps([{"id": "a", "text": text}])) == [Row(1, ["a", text])]


def test_items_that_are_no_such_objects_are_told_and_the_others_read(tmp_path: Path) -> None:
    error = "is not an object with 'id' and 'text'"
    assert read(
        tmp_path, '[{"id": 1, "text": "a"}, 7, [1], null, {"id": 5}, {"id": 6, "text": "f"}]'
    ) == [
        Row(1, [1, "a"]),
        *(Row(number, (), error) for number in (2, 3, 4, 5)),
        Row(6, [6, "f"]),
    ]


GOOD = '{"id": 1, "text": "a"}'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"[{GOOD}, {{nonsense}}]", "q is no JSON in item 2: "),
        (f"[{GOOD}", "q is no JSON after item 1"),
        (f"[{GOOD},", "q is no JSON in item 2: "),
        (f'[{GOOD}, {{"id": 2', "q is no JSON in item 2: "),
        (f"[{GOOD} {GOOD}]", "q is no JSON after item 1"),
        (f"[{GOOD}] {GOOD}", "q goes on after its array of 1 items"),
        (f"[{GOOD}, {'[' * 100_000}", "q has an item, number 2, that is nested too deep"),
        (
            f'[{GOOD}, {{"id": "{"x" * (5 * 2**20)}',
            "q is no JSON in item 2, or it has more than 4,194,304",
        ),
    ],
)
def test_a_broken_array_is_refused_at_the_item(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(UnreadableFile) as refused:
        read(tmp_path, content)
    assert str(refused.value).startswith(words)


def test_names_are_those_of_the_first_objects(tmp_path: Path) -> None:
    (tmp_path / "q").write_text('[{"id": 1}, {"text": "a"}, {"id": 2}, {"late": 1}]')
    assert read_columns(tmp_path / "q") == ("JSON array", ["id", "text"])
    (tmp_path / "q").write_text("[7]")
    with pytest.raises(UnreadableFile, match="is JSON, but not of objects"):
        read_columns(tmp_path / "q")
