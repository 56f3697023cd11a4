"""A store that is copied is the same store, in either kind of database; nothing is mixed with it or half done."""

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from app.engine.scorer import CollectionThresholds
from app.engine.store import (
    Derived,
    NewLabel,
    NewOffer,
    SessionRecord,
    Store,
    copy_store,
    copying,
)
from app.engine.store.mapper import is_sound
from app.engine.store.question_rows import questions
from app.engine.store.schema import metadata
from app.errors import CopyFailed, StoreNotEmpty

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "original.db")) as store:
        yield store


@pytest.fixture
def other_file(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "other.db")) as store:
        yield store


@pytest.fixture
def database(cluster_url: str) -> Iterator[Store]:
    with closing(Store(cluster_url)) as store:
        yield store


def fill(store: Store) -> None:
    """Something in every table, and numbers that were given and are gone."""
    store.collections.create("gone", 10)
    store.collections.delete("gone")
    faq, _ = store.collections.create(
        "faq", 10, {"target_precision": 0.97, "url_template": "https://a.b/{id}"}
    )
    store.questions.upsert("faq", [(f"id {i}", f"Ärzte {i}\n\u200b'😀'?") for i in range(1100)])
    store.questions.upsert("faq", [("id 1", "another text"), ("id 2", "and one more")])
    store.questions.delete("faq", "id 3")
    store.revisions.quarantine(faq.key, {5: "no vector"})
    pairs = [
        NewLabel(True, "anna", ids=("id 1", "id 2")),
        NewLabel(False, "bob", ids=("id 1", "id 2")),
    ]
    store.labels.write(
        "faq", [*pairs, NewLabel(True, "anna", note="so", questions=("One?", "Two?"))]
    )
    store.labels.undo("faq", 1, "anna")
    store.offers.write(faq, [NewOffer(b"\x00pair\xff", "near", 7, "anna", 1 / 3)])
    store.claims.take(faq.key, [b"\x00pair\xff"], "anna", 1e9)
    store.derived.note_scores(faq.key, "release", {b"\x00pair\xff": 0.1 + 0.2})
    thresholds = CollectionThresholds(0.9, 0.1, "collection", "release")
    store.derived.note(faq.key, "release", Derived(thresholds, np.array([0.1, 0.9], np.float32)))
    store.asked.note(faq.key, ["What?"])
    store.keys.add("0123456789abcdef", b"\x00\x01", ["read", "label"], "anna")
    session = SessionRecord(b"\x02", "0123456789abcdef", b"\x00\x01", began=1, used=2)
    store.sessions.add(session, began_from=0, used_from=0, most=9, most_of_key=9)
    store.deliveries.add("gate.decided", {"run": 1}, NOW)
    store.activations.add("one", "digest", "first", "releases/one")
    store.training_runs.start("faq", {"seed": 1})


def content(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, as tuples."""
    rows: dict[str, list[tuple[object, ...]]] = {}
    with store.database.reading() as connection:
        for table in metadata.sorted_tables:
            query = sa.select(table).order_by(*table.primary_key)
            rows[table.name] = [tuple(row) for row in connection.execute(query)]
    return rows


def test_a_store_goes_to_postgresql_and_back_and_is_the_same(
    file: Store, database: Store, other_file: Store
) -> None:
    fill(file)
    before = content(file)
    assert all(before.values())
    there = copy_store(file, database)
    back = copy_store(database, other_file)
    assert content(database) == content(other_file) == content(file) == before
    assert there == back
    assert {one.table: one.rows for one in there} == {
        name: len(rows) for name, rows in before.items()
    }
    assert len({one.digest for one in there}) == len(there)
    assert there[0].table == "collections"


def test_a_copy_in_postgresql_is_searched_by_its_indexes_at_once(
    file: Store, database: Store
) -> None:
    """PostgreSQL knows how many rows there are; it would guess until it next vacuums the table."""
    fill(file)
    copy_store(file, database)
    rows = len(content(database)["questions"])
    with database.database.reading() as connection:
        known = "SELECT reltuples FROM pg_class WHERE relname = 'questions'"
        assert connection.exec_driver_sql(known).scalar_one() == rows


def test_totals_are_whole_numbers_in_either(file: Store, database: Store) -> None:
    """PostgreSQL adds up to a Decimal, which is no number in JSON."""
    fill(file)
    copy_store(file, database)
    assert file.collections.totals() == database.collections.totals()
    assert type(database.collections.totals().questions) is int


def test_numbers_go_on_where_they_were(file: Store, database: Store, other_file: Store) -> None:
    fill(file)
    copy_store(file, database)
    copy_store(database, other_file)
    made = [store.collections.create("new", 10)[0].key for store in (file, database, other_file)]
    assert made == [4, 4, 4]  # 2 was that of one that is gone
    for store in (database, other_file):
        store.training_runs.cancel(1)
        assert store.training_runs.start("faq", {}).id == 2
        assert store.questions.upsert("faq", [("new", "new")]).revision == 1104


def test_numbers_of_rows_that_are_gone_are_not_used_again(file: Store, database: Store) -> None:
    file.collections.create("gone", 10)
    file.collections.delete("gone")
    copy_store(file, database)
    assert database.collections.create("new", 10)[0].key == 3


@pytest.mark.parametrize("what", ["question", "collection", "key"])
def test_nothing_is_copied_to_where_something_is(file: Store, database: Store, what: str) -> None:
    fill(file)
    match what:
        case "question":
            database.questions.upsert("default", [("a", "one")])
        case "collection":
            database.collections.create("faq", 10)
        case "key":
            database.keys.add("0", b"", [], "")
    before = content(database)
    with pytest.raises(StoreNotEmpty, match="is not empty"):
        copy_store(file, database)
    assert content(database) == before


def test_a_damaged_row_is_left_out_and_counted(file: Store, database: Store) -> None:
    file.questions.upsert("default", [("a", "one"), ("b", "two")])
    with file.database.writing() as connection:
        connection.execute(sa.update(questions).where(questions.c.id == "a").values(text="three"))
    copied = {one.table: one for one in copy_store(file, database)}
    assert (copied["questions"].rows, copied["questions"].left_out) == (1, 1)
    assert [one.id for one in database.questions.every("default")] == ["b"]


@pytest.mark.parametrize("is_source", [True, False])
def test_a_copy_may_take_longer_than_a_transaction_of_postgresql_may_be_idle(
    file: Store, cluster_url: str, is_source: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the rows of one side are checked, the other is asked nothing."""
    slept: set[str] = set()

    def slow(row: Mapping[str, object]) -> bool:
        if "text" in row and "text" not in slept:
            slept.add("text")
            time.sleep(1)
        return is_sound(row)

    monkeypatch.setattr(copying, "is_sound", slow)
    sep = "&" if "?" in cluster_url else "?"
    hurried = f"{cluster_url}{sep}options=-c%20idle_in_transaction_session_timeout%3D200"
    with closing(Store(hurried)) as database:
        source, target = (database, file) if is_source else (file, database)
        source.questions.upsert("default", [("a", "one"), ("b", "two")])
        copied = {one.table: one.rows for one in copy_store(source, target)}
    assert copied["questions"] == 2
    assert slept


def test_a_copy_that_reads_otherwise_is_taken_back(file: Store, database: Store) -> None:
    fill(file)
    before = content(database)
    with database.database.writing() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION lose() RETURNS trigger AS $$ BEGIN"
            " IF NEW.id = 'id 7' THEN NEW.text = 'lost'; END IF; RETURN NEW; END $$ LANGUAGE plpgsql"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER lose BEFORE INSERT ON questions FOR EACH ROW EXECUTE FUNCTION lose()"
        )
    with pytest.raises(CopyFailed, match="the table questions of"):
        copy_store(file, database)
    assert content(database) == before
