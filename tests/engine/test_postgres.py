"""PostgreSQL below the store: many who write at once, lost connections, its errors, and what it never tells."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa
from psycopg.pq import TransactionStatus
from pydantic import SecretStr

from app.engine.store import NewLabel, Store, migrate_database
from app.engine.store.collections import NAMED
from app.engine.store.database import Database
from app.engine.store.postgres import parsed, place_of
from app.engine.store.prepared import driver_of
from app.engine.store.schema import metadata
from app.errors import (
    CollectionNotFound,
    DatabaseUnavailable,
    DatabaseUnusable,
    DataDamaged,
    InvalidRequest,
    SameaskError,
    SchemaOutdated,
    StorageFull,
    TrainingRunning,
    TrainingRunNotFound,
)
from app.settings import Settings
from tests.engine.test_store import NOTHING_HELD
from tests.postgres import PASSWORD, Postgres

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
THREADS = 4


@pytest.fixture
def replicas(cluster_url: str) -> Iterator[list[Store]]:
    """Two stores over one database, as two servers have them."""
    with closing(Store(cluster_url)) as one, closing(Store(cluster_url)) as other:
        yield [one, other]


def at_once(*actions: Callable[[], object]) -> list[Any]:
    """What each returns, or the error of ours that it raises; all begin at the same moment."""
    barrier = threading.Barrier(len(actions))

    def act(action: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return action()
        except SameaskError as error:
            return error

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(act, actions))


def end_connections(postgres: Postgres, url: str) -> None:
    """End every connection to a database, as an administrator does, or a server that is started again."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        database = [url.partition("@/")[2].partition("?")[0]]
        theirs = "FROM pg_stat_activity WHERE datname = %s"
        connection.execute(f"SELECT pg_terminate_backend(pid, 10_000) {theirs}", database)


def _read_and_be_cut_off(store: Store, postgres: Postgres, url: str) -> None:
    with store.view():
        end_connections(postgres, url)
        store.keys.get("0")


def _write_and_be_cut_off(store: Store, postgres: Postgres, url: str) -> None:
    with store.database.writing() as connection:
        connection.exec_driver_sql("UPDATE collections SET revision = 7")
        end_connections(postgres, url)


# The schema


def test_a_start_names_the_command_that_makes_the_schema(postgres_url: str) -> None:
    with pytest.raises(SchemaOutdated) as refusal:
        Store(postgres_url)
    place = place_of(parsed(postgres_url))
    assert str(refusal.value) == (
        f"the database {place} has the schema of no version, this version needs 0013: run `sameask migrate`"
    )
    assert migrate_database(postgres_url) == (place, "0013")
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0009'")
    with pytest.raises(SchemaOutdated, match=r"has the schema 0009.*: run `sameask migrate`"):
        Store(postgres_url)
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaOutdated, match=r"has the schema 9999.*: start a later version"):
        Store(postgres_url)
    with pytest.raises(DatabaseUnusable, match="9999"):
        migrate_database(postgres_url)


def test_many_that_migrate_at_once_migrate_once(postgres_url: str) -> None:
    outcomes = at_once(*[lambda: migrate_database(postgres_url)] * THREADS)
    assert outcomes == [(place_of(parsed(postgres_url)), "0013")] * THREADS
    with closing(Store(postgres_url)) as store:
        assert [(one.key, one.name) for one in store.collections.all()] == [(1, "default")]


def test_texts_are_compared_byte_by_byte_whatever_the_database_sorts_by(
    replicas: list[Store],
) -> None:
    found = sa.inspect(replicas[0].database.driver.engine)
    sorted_by = {
        (table.name, column["name"]): getattr(column["type"], "collation", None)
        for table in metadata.sorted_tables
        for column in found.get_columns(table.name)
        if isinstance(column["type"], sa.Text)
    }
    assert {("questions", "id"), ("questions", "text"), ("collections", "name")} <= set(sorted_by)
    assert set(sorted_by.values()) == {"C"}


# Many who write


def test_revisions_become_visible_in_their_order(replicas: list[Store]) -> None:
    """Whoever has followed to a revision has seen everything up to it: nothing comes in below it later."""
    key = replicas[0].collections.get("default").key
    done = threading.Event()
    late: list[tuple[int, int]] = []
    followed: dict[str, str] = {}

    def follow() -> None:
        revision = 0
        is_complete = False
        while not is_complete:
            was_done = done.is_set()
            changes = replicas[1].revisions.changes_since(key, revision, 7)
            assert changes
            late.extend((q.revision, revision) for q in changes.added if q.revision <= revision)
            followed.update({question.id: question.text for question in changes.added})
            revision = changes.revision
            is_complete = was_done and changes.complete

    def write(writer: int) -> None:
        for number in range(10):
            store = replicas[(writer + number) % 2]
            store.questions.upsert(
                "default", [(f"{writer} {number}", "own"), ("common", f"{writer} {number}")]
            )

    follower = threading.Thread(target=follow)
    follower.start()
    try:
        at_once(*[lambda writer=writer: write(writer) for writer in range(THREADS)])
    finally:
        done.set()
        follower.join()
    stored = {question.id: question.text for question in replicas[0].questions.every("default")}
    assert (late, followed) == ([], stored)
    collection = replicas[0].collections.get("default")
    assert (collection.revision, collection.questions) == (THREADS * 20, THREADS * 10 + 1)


def test_wishes_and_quarantine_take_back_nothing_that_others_wrote(replicas: list[Store]) -> None:
    one, other = replicas
    key = one.collections.get("default").key

    def write() -> None:
        for number in range(20):
            one.questions.upsert("default", [("a", f"{number}")])

    def wish() -> None:
        for number in range(20):
            other.collections.create("default", 10, {"target_precision": 0.5 + number / 100})
            revision = other.collections.get("default").revision
            other.revisions.quarantine(key, {revision: "no vector"})

    assert at_once(write, wish) == [None, None]
    collection = one.collections.get("default")
    assert (collection.revision, collection.questions) == (20, 1)
    assert collection.target_precision == 0.69
    assert one.questions.get("default", "a").text == "19"
    assert one.revisions.contents(key, 20, NOTHING_HELD).required.sum() <= 1  # type: ignore[union-attr]
    assert list(one.revisions.contents(key, 20, NOTHING_HELD).ids) == [20]  # type: ignore[union-attr]


def test_a_collection_is_made_once_and_no_more_than_allowed(replicas: list[Store]) -> None:
    one, other = replicas
    made = at_once(
        lambda: one.collections.create("faq", 3),
        lambda: other.collections.create("faq", 3),
        lambda: one.collections.create("faq", 3),
    )
    assert sorted(is_new for _, is_new in made) == [False, False, True]
    last = at_once(
        lambda: one.collections.create("third", 3), lambda: other.collections.create("fourth", 3)
    )
    assert sum(isinstance(outcome, InvalidRequest) for outcome in last) == 1
    assert len(one.collections.all()) == 3


def test_who_writes_to_a_collection_that_is_deleted_meanwhile_is_told(
    replicas: list[Store],
) -> None:
    one, other = replicas
    one.collections.create("faq", 10)
    outcomes = at_once(
        *[
            lambda number=number: other.questions.upsert("faq", [(f"{number}", "one")])
            for number in range(THREADS)
        ],
        lambda: one.collections.delete("faq"),
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, SameaskError)]
    assert all(isinstance(outcome, CollectionNotFound) for outcome in refused)
    with one.database.reading() as connection:
        left = connection.exec_driver_sql("SELECT count(*) FROM questions").scalar_one()
    assert left == 0


def test_labels_of_two_people_at_once_contradict_each_other(replicas: list[Store]) -> None:
    pair = ("One?", "Two?")
    for number in range(5):
        texts = (f"{pair[0]} {number}", f"{pair[1]} {number}")
        said = NewLabel(True, "anna", questions=texts), NewLabel(False, "bob", questions=texts)
        at_once(
            partial(replicas[0].labels.write, "default", [said[0]]),
            partial(replicas[1].labels.write, "default", [said[1]]),
        )
    labels = replicas[0].labels.page("default", 0, 100)
    assert [label.id for label in labels] == list(range(1, 11))
    assert all(label.contradicted for label in labels)


# Claims


def test_a_training_run_is_queued_once_and_claimed_once(replicas: list[Store]) -> None:
    one, other = replicas
    one.labels.write("default", [NewLabel(True, "anna", questions=("One?", "Two?"))])
    started = at_once(*[lambda: one.training_runs.start("default", {})] * 3)
    assert sum(isinstance(outcome, TrainingRunning) for outcome in started) == 2
    claimed = at_once(
        *[
            lambda number=number: replicas[number % 2].training_runs.claim(f"worker {number}", 60)
            for number in range(THREADS)
        ]
    )
    (run,) = [run for run in claimed if run is not None]
    (known,) = other.training_runs.page(None, 10)
    assert run == known
    assert (known.state, known.leased_by in {f"worker {n}" for n in range(THREADS)}) == (
        "running",
        True,
    )


def test_a_run_that_somebody_claims_just_now_is_passed_over(replicas: list[Store]) -> None:
    one, other = replicas
    runs = []
    for name in ("first", "second"):
        one.collections.create(name, 10)
        one.labels.write(name, [NewLabel(True, "anna", questions=("One?", "Two?"))])
        runs.append(one.training_runs.start(name, {}).id)
    with one.database.writing() as connection:
        connection.exec_driver_sql(f"SELECT * FROM training_runs WHERE id = {runs[0]} FOR UPDATE")
        claimed = other.training_runs.claim("worker", 60)
    assert claimed
    assert claimed.id == runs[1]


def test_an_attempt_at_a_delivery_is_begun_once(replicas: list[Store]) -> None:
    one, other = replicas
    delivery = one.deliveries.add("gate.decided", {}, NOW)
    assert other.deliveries.due(NOW) == delivery
    later = NOW + timedelta(seconds=30)
    begun = at_once(
        *[
            lambda number=number: replicas[number % 2].deliveries.begin(delivery, later)
            for number in range(THREADS)
        ]
    )
    (only,) = [outcome for outcome in begun if outcome is not None]
    assert one.deliveries.all() == [only]
    assert other.deliveries.due(NOW) is None


def test_activations_are_numbered_in_their_order(replicas: list[Store]) -> None:
    at_once(
        *[
            lambda number=number: replicas[number % 2].activations.add(f"{number}", "d", "", "")
            for number in range(THREADS)
        ]
    )
    found = replicas[0].activations.latest_first()
    assert [activation.id for activation in found] == [4, 3, 2, 1]


def test_an_id_of_64_bits_is_looked_up(replicas: list[Store]) -> None:
    with pytest.raises(TrainingRunNotFound):
        replicas[0].training_runs.get(2**63 - 1)
    assert replicas[0].training_runs.page(2**63 - 1, 10) == []
    assert replicas[0].labels.page("default", 2**63 - 1, 10) == []


def test_who_asks_once_begins_no_transaction(cluster_url: str) -> None:
    def status(database: Database) -> TransactionStatus:
        with database.asking() as connection:
            assert len(list(NAMED.rows(connection, {"called": "default"}))) == 1
            found: TransactionStatus = driver_of(connection).info.transaction_status
            return found

    with closing(Store(cluster_url)) as store:
        assert status(store.database) == TransactionStatus.IDLE
        with store.view():
            assert status(store.database) == TransactionStatus.INTRANS
        assert status(store.database) == TransactionStatus.IDLE


# Connections that are lost


def test_a_connection_that_was_lost_meanwhile_is_replaced(
    postgres: Postgres, cluster_url: str
) -> None:
    with closing(Store(cluster_url)) as store:
        with store.view():
            store.collections.get("default")
        end_connections(postgres, cluster_url)
        assert store.collections.get("default").revision == 0
        end_connections(postgres, cluster_url)
        assert store.questions.upsert("default", [("a", "one")]).revision == 1


def test_a_connection_that_is_lost_at_work_is_an_error_that_passes(
    postgres: Postgres, cluster_url: str
) -> None:
    with closing(Store(cluster_url)) as store:
        with pytest.raises(DatabaseUnavailable) as error:
            _read_and_be_cut_off(store, postgres, cluster_url)
        assert (error.value.status, error.value.retry_after_seconds) == (503, 1)
        with pytest.raises(DatabaseUnavailable):
            _write_and_be_cut_off(store, postgres, cluster_url)
        assert store.collections.get("default").revision == 0


def test_a_connection_that_comes_back_after_the_end_is_closed(cluster_url: str) -> None:
    store = Store(cluster_url)
    with store.database.reading() as connection:
        ours = driver_of(connection)
        store.close()
        assert not ours.closed
    assert ours.closed


def test_a_server_that_is_gone_is_an_error_that_passes(
    postgres: Postgres, cluster_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Store(cluster_url)) as store:
        postgres.kill()
        try:
            for read in (
                lambda: store.collections.get("default"),
                lambda: store.questions.upsert("default", [("a", "one")]),
            ):
                with pytest.raises(DatabaseUnavailable, match="the database can't be reached"):
                    read()
            with pytest.raises(DatabaseUnusable, match=r"can't use the database .*: connection"):
                Store(cluster_url)
        finally:
            postgres.start()
        assert store.questions.upsert("default", [("a", "one")]).revision == 1
    assert "connection" in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("53100", StorageFull),
        ("XX001", DataDamaged),
        ("40001", DatabaseUnavailable),
        ("53300", DatabaseUnavailable),
        ("57014", DatabaseUnavailable),
        ("25006", DatabaseUnavailable),
        ("25P03", DatabaseUnavailable),
        ("25P04", DatabaseUnavailable),
    ],
)
@pytest.mark.parametrize("writes", [False, True])
def test_errors_of_the_server_become_ours(
    replicas: list[Store], code: str, error: type[SameaskError], writes: bool
) -> None:
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$"
    database = replicas[0].database
    transaction = database.writing if writes else database.reading
    with pytest.raises(error), transaction() as connection:
        connection.exec_driver_sql(raising)
    assert replicas[0].collections.get("default").revision == 0


@pytest.mark.parametrize("code", ["57P01", "57P02", "57P03"])
def test_a_server_that_ends_or_begins_is_one_that_cant_be_reached(
    replicas: list[Store], code: str
) -> None:
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$"
    with (
        pytest.raises(DatabaseUnavailable, match="can't be reached"),
        replicas[0].database.reading() as connection,
    ):
        connection.exec_driver_sql(raising)


def test_a_fault_of_ours_stays_one(replicas: list[Store]) -> None:
    with pytest.raises(sa.exc.ProgrammingError), replicas[0].database.reading() as connection:
        connection.exec_driver_sql("SELECT * FROM nothing")


def test_who_waits_too_long_for_a_lock_is_told(cluster_url: str) -> None:
    hurried = f"{cluster_url}&options=-c%20lock_timeout%3D10"
    with (
        closing(Store(cluster_url)) as one,
        closing(Store(hurried)) as other,
        one.database.writing() as connection,
    ):
        one.collections.locked(connection, "default")
        with pytest.raises(DatabaseUnavailable, match=r"could not do it now \(55P03\)"):
            other.questions.upsert("default", [("a", "one")])


SLOW = """
    CREATE FUNCTION take_long() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END $$"""


@pytest.mark.parametrize("work", ["purge", "forget", "delete"])
def test_what_goes_of_a_large_collection_may_take_longer_than_any_statement(
    cluster_url: str, work: str
) -> None:
    hurried = f"{cluster_url}&options=-c%20statement_timeout%3D1000"
    with closing(Store(hurried)) as store:
        key = store.collections.create("faq", 10)[0].key
        for words in ("one", "two"):
            store.questions.upsert("faq", [("a", words)])
        assert store.vectors
        vectors = store.vectors.open("a" * 64, 4)
        vectors.begin({key: 0})
        vectors.apply(key, 0, 1, [1], np.ones((1, 4), np.float32), [])
        if work == "forget":
            store.revisions.purge(key, 2)
        with store.database.driver.engine.begin() as connection:
            table = vectors.name if work == "forget" else "questions"
            connection.exec_driver_sql(SLOW)
            connection.exec_driver_sql(
                f"CREATE TRIGGER slow AFTER DELETE ON {table} EXECUTE FUNCTION take_long()"
            )
        match work:
            case "purge":
                assert store.revisions.purge(key, 2)
            case "forget":
                vectors.forget_purged(key)
                assert vectors.revisions(key).tolist() == []
            case "delete":
                store.collections.delete("faq")
        assert store.questions.read(key, [1]) == {}


# What is never told


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"mysql://u:{PASSWORD}@host/db", "must begin with postgresql://"),
        (f"postgresql:u:{PASSWORD}@host/db", "must begin with postgresql://"),
        (f"postgresql://u:x@{PASSWORD}@host/db", "written %40"),
        (f"postgresql://u:{PASSWORD}/x@host:y/db", "can't be read"),
        (f"postgresql://u:{PASSWORD}@no.such.host.invalid:1/db", "no.such.host.invalid:1/db"),
        (f"postgresql://u:{PASSWORD}@localhost:1/db?nonsense=1", "localhost:1/db: invalid"),
    ],
)
def test_an_address_that_is_no_good_is_not_quoted(url: str, words: str) -> None:
    with pytest.raises(DatabaseUnusable) as error:
        Store(url)
    told: list[str] = []
    cause: BaseException | None = error.value
    while cause is not None:
        told.append(f"{cause} {cause!r}")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    assert words in told[0]
    assert PASSWORD not in " ".join(told)


def test_no_password_is_in_what_is_printed_of_a_store(cluster_url: str) -> None:
    settings = Settings(database_url=SecretStr(cluster_url))
    assert PASSWORD in cluster_url
    with closing(Store(cluster_url)) as store:
        told = f"{settings!r} {settings} {settings.model_dump_json()} {store.place}"
        told += f"{store.database.driver.engine!r} {store.database.driver.engine.url}"
    assert PASSWORD not in told


def test_texts_are_in_no_error_of_the_server(replicas: list[Store]) -> None:
    with suppress(Exception):
        replicas[0].questions.upsert("default", [("a", "a text with \x00")])
    with pytest.raises(sa.exc.DataError) as error:
        replicas[0].questions.upsert("default", [("a", "a text with \x00")])
    assert "a text with" not in f"{error.value}"
