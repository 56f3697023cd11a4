"""Databases of earlier versions: what they hold is there afterwards, by today's sense of the same words."""

import sqlite3
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app.engine.rulings import ruling_on
from app.engine.store import NewLabel, Store
from app.engine.store.mapper import sealed
from app.engine.store.migrations.versions import __path__ as versions_path
from app.engine.store.schema import latest_schema, migrate
from app.engine.store.sqlite import configure
from app.engine.text import Words, folded_digest, folded_pair_digest
from app.errors import DataDirectoryUnusable
from tests.engine.test_store import NOTHING_HELD

KEPT = Path(__file__).parent.parent / "record" / "recorded" / "kept.tar.xz"
MARKS = "a" + 20 * "\u0323\u0301"  # more than thirty in a row
AT = "2026-01-31T09:30:00Z"

Values = Mapping[str, Any]


@contextmanager
def before(path: Path, revision: str) -> Iterator[sa.Connection]:
    """A database of an earlier version, with its default collection."""
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)))
    sa.event.listen(engine, "connect", configure)
    with engine.begin() as connection:
        migrate(connection, revision)
        insert(
            connection, "collections", key=1, name="default", revision=9, questions=9, created_at=AT
        )
        yield connection
    engine.dispose()


def insert(connection: sa.Connection, table_name: str, /, **values: Any) -> None:
    table = sa.Table(table_name, sa.MetaData(), autoload_with=connection)
    connection.execute(sa.insert(table).values(**{**sealed(values), **values}))


def insert_question(connection: sa.Connection, revision: int, text: str, **values: Any) -> None:
    """As versions before 0008 wrote it."""
    row = {
        "collection_key": 1,
        "revision": revision,
        "id": f"q{revision}",
        "text": text,
        "digest": folded_digest(text),
        "superseded_by": None,
        "quarantined": None,
    }
    insert(connection, "questions", **(row | values))


def insert_label(
    connection: sa.Connection, id_: int, pair: tuple[str, str], is_duplicate: bool, **values: Any
) -> None:
    """As versions before 0008 wrote it."""
    both = folded_pair_digest(*pair)
    row = {
        "collection_key": 1,
        "id": id_,
        "pair": both,
        "digest1": both[:16],
        "digest2": both[16:],
        "question1": pair[0],
        "question2": pair[1],
        "is_duplicate": is_duplicate,
        "said_by": "anna",
        "said_at": f"at {id_}",
        "note": None,
        "ended_by": None,
        "ended_at": None,
        "replaced_by": None,
        "contradicted": False,
    }
    insert(connection, "labels", **(row | values))


def verdict(store: Store, one: str, other: str) -> str | None:
    pair = Words.of(one), Words.of(other)
    found = ruling_on(*pair, store.labels.of(1, [pair]).get((one, other), []))
    return found.verdict if found else None


def test_a_store_from_before_labels_keeps_its_questions(path: Path) -> None:
    with before(path, "0001") as connection:
        insert_question(connection, 1, "one")
    with closing(Store(path)) as store:
        assert store.questions.get("default", "q1").text == "one"
        assert store.labels.write("default", [NewLabel(True, "anna", questions=("a", "b"))]).added


def test_a_store_that_kept_answers_to_label_requests_keeps_its_labels(path: Path) -> None:
    with before(path, "0006") as connection:
        insert_label(connection, 1, ("one", "two"), True)
        assert "label_requests" in sa.inspect(connection).get_table_names()
    with closing(Store(path)) as store:
        assert verdict(store, "one", "two") == "duplicate"
        assert "label_requests" not in sa.inspect(store.database.driver.engine).get_table_names()


def test_questions_are_found_by_their_visible_words(path: Path) -> None:
    texts = ["How old?", "it\u2019s", "x\u00b2", MARKS, "HOW OLD?"]
    with before(path, "0007") as connection:
        for revision, text in enumerate(texts, 1):
            insert_question(connection, revision, text)
        insert_question(connection, 6, "", superseded_by=7)  # deleted
        insert_question(connection, 8, "damaged", checksum=1)
    with closing(Store(path)) as store:
        asked = [" How old?", "it's", "x2", MARKS, "HOW  OLD?"]
        found = store.questions.exact_matches(1, asked)
        revisions = {text: [q.revision for q in of_text] for text, of_text in found.items()}
        assert revisions == {asked[0]: [1], asked[1]: [2], asked[3]: [4], asked[4]: [5]}
        loosely = store.questions.with_digests(1, [Words.of("how old").loose], "loose")
        assert sorted(q.revision for q in loosely) == [1, 5]
        contents = store.revisions.contents(1, 6, NOTHING_HELD)
        assert contents
        assert contents.ids.tolist() == [1, 2, 3, 4, 5, 6]
        assert contents.digests[3].tobytes() == Words.of(MARKS).digest
        assert contents.digests[5].tobytes() == folded_digest("")
        assert [q.revision for q in store.questions.every("default")] == [1, 2, 3, 4, 5]
        assert store.database.damaged == 1


def test_labels_hold_for_what_they_held_for_and_for_more(path: Path) -> None:
    with before(path, "0007") as connection:
        insert_label(connection, 1, ("How old are you?", "What is your age?"), False)
        insert_label(connection, 2, (MARKS, "y"), True)
    with closing(Store(path)) as store:
        assert verdict(store, "How old are you?", "What is your age?") == "different"
        assert verdict(store, "what is your AGE", "how  old are you") == "different"
        assert verdict(store, "y", MARKS) == "duplicate"
        assert store.labels.write(
            "default", [NewLabel(True, "anna", questions=("y ", f"{MARKS}"))]
        ).unchanged
        assert store.database.damaged == 0


def test_what_is_one_pair_now_keeps_the_latest_word_of_each_person(path: Path) -> None:
    curly, straight = ("it\u2019s?", "b"), ("it's?", "b")
    with before(path, "0007") as connection:
        insert_label(connection, 1, curly, True)
        insert_label(connection, 2, straight, False)
        insert_label(connection, 3, ("it's?\u200b", "b"), True, said_by="bob")
        insert_label(connection, 4, ("X", "y"), True, contradicted=True)
        insert_label(connection, 5, ("x", "y"), False, said_by="bob", contradicted=True)
        insert_label(connection, 6, ("quote\u2019", "c"), True)
        insert_label(connection, 7, ("quote'", "c"), True, checksum=1)
    with closing(Store(path)) as store:
        labels = store.labels.page("default", 0, 10, history=True)
        ended = {label.id: label.ended.replaced_by for label in labels if label.ended}
        contradicted = [label.id for label in labels if label.contradicted]
        assert ended == {1: 2}
        assert contradicted == [2, 3]
        assert verdict(store, *curly) == "review"
        assert verdict(store, "X", "y") == "duplicate"
        assert verdict(store, "x", "y") == "different"
        assert verdict(store, "quote'", "c") == "duplicate"
        assert store.database.damaged == 0  # the damaged one is cleared out of the way


def test_a_migration_that_is_killed_has_not_been(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with before(path, "0007") as connection:
        for revision in range(1, 30):
            insert_question(connection, revision, f"question {revision}")
    with closing(sqlite3.connect(path)) as kept:
        rows = kept.execute("SELECT * FROM questions").fetchall()
    with monkeypatch.context() as patched:
        patched.setattr(Words, "of", _fail_at(20))
        with pytest.raises((DataDirectoryUnusable, RuntimeError)):
            Store(path)
    with closing(sqlite3.connect(path)) as kept:
        assert kept.execute("SELECT * FROM questions").fetchall() == rows
    with closing(Store(path)) as store:
        assert store.database.is_current()
        assert len(store.questions.exact_matches(1, [" question 29"])) == 1


def _fail_at(count: int) -> Any:
    of, calls = Words.of, list[str]()

    def fail(text: str) -> Words:
        calls.append(text)
        if len(calls) == count:
            raise RuntimeError("killed")
        return of(text)

    return fail


def test_the_recorded_data_directory_opens_and_keeps_what_it_holds(tmp_path: Path) -> None:
    with tarfile.open(KEPT) as archive:
        names = [name for name in archive.getnames() if name.startswith("data/sameask.db")]
        archive.extractall(tmp_path, [archive.getmember(name) for name in names], filter="data")
    path = tmp_path / "data" / "sameask.db"
    with closing(sqlite3.connect(path)) as kept:
        version = kept.execute("SELECT version_num FROM alembic_version").fetchone()
        texts = dict(kept.execute("SELECT id, text FROM questions WHERE superseded_by IS NULL"))
        active = kept.execute(
            "SELECT collection_key, question1, question2, is_duplicate FROM labels"
            " WHERE ended_at IS NULL AND NOT contradicted"
        ).fetchall()
    assert version[0] < latest_schema()
    assert len(texts) > 40
    assert len(active) > 100
    with closing(Store(path)) as store:
        collections = [collection.name for collection in store.collections.all()]
        found = {q.id: q.text for name in collections for q in store.questions.every(name)}
        assert found == texts
        for key, one, other, is_duplicate in active:
            pair = Words.of(f"{one} "), Words.of(other.upper())
            ruling = ruling_on(*pair, store.labels.of(key, [pair])[pair[0].text, pair[1].text])
            assert ruling
            assert ruling.is_duplicate == bool(is_duplicate)
        assert store.database.damaged == 0


def test_every_migration_has_a_number_of_its_own() -> None:
    numbers = sorted(path.name[:4] for path in Path(versions_path[0]).glob("0*.py"))
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]
    assert latest_schema() == numbers[-1]
