"""`sameask label`, `undo`, `review` and `evidence`, by value."""

import getpass
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.data_directory import shared
from app.engine.release import Release
from app.keys import make_key
from app.main import create_app
from app.scopes import KeyScope
from app.settings import Settings
from tests.cli.commands import LABEL_HEADER, Sameask, assert_one_line, labelled, question_file
from tests.serving import served

NEAR = [
    ("a", "How do I reset my password?"),
    ("b", "How can I reset my password?"),
    ("c", "Where do I reset my password?"),
    ("d", "How do I change my password?"),
]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Types lines, whatever is asked."""

    def type_(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))

    return type_


def test_a_pair_is_labelled_and_the_label_undone(sameask: Sameask, url: str) -> None:
    there = ("--url", url)
    said = sameask("label", "One?", "Two?", "--different", "--by", "anna", "--note", "no", *there)
    assert (said.code, said.out) == (0, "label 1\n")
    assert labelled(sameask, *there) == [("One?", "Two?", "0", "anna", "no")]
    other = sameask("label", "Two?", "One?", "--duplicate", "--by", "bob", *there)
    assert other.out == "label 2; another person says the opposite\n"
    undone = sameask("undo", "1", "--by", "anna", *there)
    assert undone.out == "label 1 (different, by anna) is undone\n"
    assert labelled(sameask, *there) == [("Two?", "One?", "1", "bob", "")]
    again = json.loads(sameask("undo", "1", "--by", "anna", "--json", *there).out)
    assert again["ended"]["by"] == "anna"


def test_stored_questions_are_labelled_by_their_ids(
    sameask: Sameask, url: str, tmp_path: Path
) -> None:
    sameask("import", question_file(tmp_path, rows=NEAR), "--url", url)
    sameask("label", "a", "b", "--ids", "--duplicate", "--by", "anna", "--url", url)
    assert labelled(sameask, "--url", url) == [(NEAR[0][1], NEAR[1][1], "1", "anna", "")]


def test_in_place_whoever_is_logged_in_says_so(
    sameask: Sameask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "carl")
    assert sameask("label", "One?", "Two?", "--duplicate").out == "label 1\n"
    assert labelled(sameask) == [("One?", "Two?", "1", "carl", "")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("label", "One?", "Two?", "--duplicate"), "labels.0.by: is missing"),
        (
            ("label", "x", "y", "--ids", "--duplicate", "--by", "anna"),
            "holds no questions with ids 'x', 'y'",
        ),
        (("label", "One?", "One?", "--duplicate", "--by", "anna"), "with itself"),
        (("undo", "7", "--by", "anna"), "holds no label with id 7"),
        (("evidence", "-c", "nowhere"), "there is no collection 'nowhere'"),
        (("review", "-c", "nowhere", "--by", "anna"), "there is no collection 'nowhere'"),
    ],
)
def test_what_can_not_be_done_is_said(
    sameask: Sameask, url: str, arguments: tuple[str, ...], words: str
) -> None:
    refused = sameask(*arguments, "--url", url)
    assert (refused.code, refused.out) == (1, "")
    assert words in refused.err


def test_a_label_that_says_nothing_is_a_wrong_call(sameask: Sameask) -> None:
    refused = sameask("label", "One?", "Two?")
    assert (refused.code, refused.out) == (2, "")
    assert "say --duplicate or --different" in refused.err


def test_the_queue_is_worked_by_a_key_for_each_pair(
    sameask: Sameask, url: str, tmp_path: Path, lines: Callable[[str], None]
) -> None:
    there = ("--by", "anna", "--url", url)
    sameask("import", question_file(tmp_path, rows=NEAR), "--url", url)
    lines("d\nu\nwhat\nf\ns\nq\n")
    worked = sameask("review", *there)
    assert (worked.code, worked.out.splitlines()[-1]) == (0, "1 labelled, 1 skipped")
    assert worked.err.count("[d]uplicate") == 2
    assert "label 1 is undone" in worked.err
    (label,) = labelled(sameask, "--url", url)
    assert label[2:] == ("0", "anna", "")
    assert f"  {label[0]}\n  {label[1]}\n" in worked.out
    lines("d\n" * 20)
    assert sameask("review", *there).out.splitlines()[-1].endswith(" labelled, 0 skipped")
    lines("")
    assert sameask("review", *there).out == "0 labelled, 0 skipped\n"
    shown = sameask("evidence", "--url", url).out.splitlines()
    assert [line.split("│")[1].strip() for line in shown[3:7]] == ["0.9", "0.95", "0.98", "0.99"]
    assert {line.split("│")[6].strip() for line in shown[3:7]} == {"too few pairs"}
    counted = len(labelled(sameask, "--url", url))
    assert shown[-1].startswith(f"{counted} labels count, by anna {counted}; ")
    assert (
        json.loads(sameask("evidence", "--json", "--url", url).out)["labels"]["counted"] == counted
    )


@contextmanager
def with_key(folder: Path, release: Release, name: str) -> Iterator[tuple[str, Path]]:
    """A server that asks for keys, and the file of one for labelling that has a name."""
    settings = Settings(data_dir=folder / "data", release=release.path, device="cpu")
    settings.data_dir.mkdir()
    with served(create_app(settings)) as url:
        with shared(settings.data_dir, settings.store_url) as store:
            _, key = make_key(store, [KeyScope.LABEL, KeyScope.READ], name)
        file = folder / "key"
        file.write_text(key)
        file.chmod(0o600)
        yield url, file


def test_a_key_with_a_name_says_who_speaks(
    sameask: Sameask, tmp_path: Path, tiny_release: Release
) -> None:
    with with_key(tmp_path, tiny_release, "dora") as (url, key):
        there = ("--url", url, "--key-file", key)
        assert sameask("label", "One?", "Two?", "--duplicate", *there).out == "label 1\n"
        assert labelled(sameask, *there) == [("One?", "Two?", "1", "dora", "")]
        refused = sameask("label", "One?", "Three?", "--duplicate", "--by", "anna", *there)
        assert_one_line(refused, "the key speaks for 'dora', not for 'anna'")
        assert sameask("undo", "1", *there).out == "label 1 (duplicate, by dora) is undone\n"
        file = tmp_path / "labels.csv"
        file.write_text(",".join(LABEL_HEADER[:3]) + "\nOne?,Four?,1\n")
        assert sameask("labels", "import", file, *there).out.startswith("1 added")
