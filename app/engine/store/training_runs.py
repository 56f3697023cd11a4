"""Training runs: the queue, the leases of those who work on it, and what came of each.

A run is claimed in one transaction and held by a lease, so any number of workers may share the queue. Every change of
a claimed run says who makes it, and is refused to whoever has lost the lease.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from app.engine.store.collections import Collections
from app.engine.store.database import TIME, Database, now
from app.engine.store.labels import ACTIVE, labels
from app.engine.store.mapper import Mapper, Row, is_sound
from app.engine.store.run_rows import (
    JSON_COLUMNS,
    RESUMABLE,
    UNDER_WAY,
    State,
    TrainingRun,
    as_run,
    training_runs,
)
from app.errors import (
    DataDamaged,
    NothingToLearn,
    TrainingRunning,
    TrainingRunNotFound,
    WrongRunState,
)

WITH_ID = sa.select(training_runs).where(training_runs.c.id == sa.bindparam("run_id"))
TO_WRITE = WITH_ID.with_for_update()
LATEST_FIRST = sa.select(training_runs).order_by(training_runs.c.id.desc())
UNANNOUNCED = (
    sa.select(training_runs)
    .where(~training_runs.c.announced, training_runs.c.state.not_in(UNDER_WAY))
    .order_by(training_runs.c.id)
)
NOBODYS = training_runs.c.leased_by.is_(None)
ANY_ACTIVE = sa.select(labels.c.id).where(ACTIVE).limit(1)


class TrainingRuns:
    """The training runs of every collection."""

    def __init__(self, database: Database, collections: Collections) -> None:
        self._database = database
        self._collections = collections
        self._mapper = Mapper(database, training_runs, as_run)

    # Asking for runs

    def start(self, collection_name: str, request: Mapping[str, Any]) -> TrainingRun:
        """Queue a run. Raises CollectionNotFound, NothingToLearn, TrainingRunning."""
        with self._database.writing() as connection:
            collection = self._collections.locked(connection, collection_name)
            self._refuse_second(connection, collection.key, collection.name)
            within = labels.c.collection_key == collection.key
            if not connection.execute(ANY_ACTIVE.where(within)).first():
                raise NothingToLearn(collection.name)
            row = _new_row(collection.key, collection.name, request)
            return as_run(self._mapper.insert_numbered(connection, row))

    def cancel(self, run_id: int) -> TrainingRun:
        """End a queued run, note at a running one that it is to stop, and let one that failed never be resumed.

        One that was cancelled before stays as it is. Raises TrainingRunNotFound, WrongRunState (it has succeeded),
        DataDamaged.
        """
        with self._database.writing() as connection:
            row = self._locked(connection, run_id)
            if row["state"] == "succeeded":
                raise WrongRunState(run_id, row["state"], "be cancelled")
            if row["state"] == "running":
                return self._change(connection, row, cancelling=True)
            return self._change(
                connection, row, state="cancelled", ended_at=row["ended_at"] or now()
            )

    def resume(self, run_id: int) -> TrainingRun:
        """Queue a failed or interrupted run again.

        Raises TrainingRunNotFound, WrongRunState, TrainingRunning, DataDamaged.
        """
        with self._database.writing() as connection:
            row = self._locked(connection, run_id, with_collection=True)
            if row["state"] in RESUMABLE:
                self._refuse_second(connection, row["collection_key"], row["collection"])
                fresh = dict.fromkeys(("ended_at", "error", "progress", "pid", "pid_started"))
                return self._change(
                    connection, row, state="queued", cancelling=False, announced=False, **fresh
                )
            raise WrongRunState(run_id, row["state"], "be resumed")

    # Working on them

    def claim(self, holder: str, lease_seconds: float) -> TrainingRun | None:
        """The next run for this worker, from now on running and its own; None if there is none.

        A running one whose lease has lapsed comes first, as does the holder's own: it must have died while it had it.
        A lease that ends later than any does was made before the clock was set back; it has lapsed too.
        """
        free = _free_for(holder, lease_seconds)
        with self._database.reading() as connection:
            if not self._next(connection, free):
                return None
        with self._database.writing() as connection:
            row = self._next(connection, free.with_for_update(skip_locked=True))
            if row is None:
                return None
            started = {"started_at": now()} if row["state"] == "queued" else {}
            return self._change(
                connection, row, state="running", **_lease(holder, lease_seconds), **started
            )

    def hold(
        self, run_id: int, holder: str, lease_seconds: float, **changes: Any
    ) -> TrainingRun | None:
        """Make the lease longer, and change columns; None, and nothing done, for a run that is not the holder's now."""
        with self._database.writing() as connection:
            row = self._held(connection, run_id, holder)
            if row is None:
                return None
            # Not at each call, which would wait for the disk. A later end is from before the clock was set back.
            is_fresh = _after(lease_seconds * 2 / 3) <= row["leased_until"] <= _after(lease_seconds)
            lease = {} if is_fresh else _lease(holder, lease_seconds)
            return self._change(connection, row, **lease, **changes)

    def end(self, run_id: int, holder: str, state: State, **changes: Any) -> TrainingRun | None:
        """Let a run have ended; None, and nothing done, for a run that is not the holder's now."""
        over = {
            "state": state,
            "ended_at": now(),
            "leased_by": None,
            "leased_until": None,
            "cancelling": False,
        }
        with self._database.writing() as connection:
            row = self._held(connection, run_id, holder)
            return self._change(connection, row, **over, **changes) if row else None

    def that_made(self, release: str) -> TrainingRun | None:
        """The latest run that made the release of this name, if one did."""
        query = LATEST_FIRST.where(training_runs.c.release == release)
        with self._database.reading() as connection:
            return next(iter(self._mapper.page(connection, query, 1)), None)

    def unannounced(self) -> list[TrainingRun]:
        """Runs that have ended, and nobody was told yet; the oldest first."""
        with self._database.reading() as connection:
            return self._mapper.every(connection, UNANNOUNCED)

    def claim_end(self, holder: str, lease_seconds: float) -> TrainingRun | None:
        """The next run of whose end this process is to tell, and no other while its lease lasts; None if there is none.

        The holder's own comes again: it must have died before it was done.
        """
        free = UNANNOUNCED.where(_lapsed(holder, lease_seconds) | NOBODYS)
        with self._database.reading() as connection:
            if not self._next(connection, free):
                return None
        with self._database.writing() as connection:
            row = self._next(connection, free.with_for_update(skip_locked=True))
            return self._change(connection, row, **_lease(holder, lease_seconds)) if row else None

    def announce(self, run_id: int) -> None:
        """Note that the run's end was told."""
        with self._database.writing() as connection:
            row = self._mapper.first(connection, TO_WRITE, {"run_id": run_id})
            if row and is_sound(row) and row["state"] not in UNDER_WAY:
                self._change(connection, row, announced=True, leased_by=None, leased_until=None)

    # Reading

    def get(self, run_id: int) -> TrainingRun:
        """Raises TrainingRunNotFound, DataDamaged."""
        with self._database.reading() as connection:
            return as_run(self._find(connection, run_id))

    def page(self, before: int | None, limit: int) -> list[TrainingRun]:
        """Runs, the latest first, before the id `before`."""
        query = LATEST_FIRST
        if before is not None:
            query = query.where(training_runs.c.id < before)
        with self._database.reading() as connection:
            return self._mapper.page(connection, query, limit)

    def needing_files(self) -> set[int]:
        """The ids of runs that are under way or may be resumed, and of any whose row is damaged."""
        with self._database.reading() as connection:
            rows = self._mapper.rows(connection, sa.select(training_runs))
        needing = set()
        for row in rows:
            if row["state"] in (*UNDER_WAY, *RESUMABLE) or not is_sound(row):
                needing.add(row["id"])
        return needing

    # Inside

    def _find(self, connection: sa.Connection, run_id: int, query: sa.Select[Any] = WITH_ID) -> Row:
        row = self._mapper.first(connection, query, {"run_id": run_id})
        if row is None:
            raise TrainingRunNotFound(run_id)
        if not is_sound(row):
            self._mapper.report(row)
            raise DataDamaged(f"the row of training run {run_id} fails its checksum: start another")
        return row

    def _locked(
        self, connection: sa.Connection, run_id: int, *, with_collection: bool = False
    ) -> Row:
        """The run, which this transaction alone may change; `with_collection`: and write to its collection."""
        if with_collection:  # whoever locks both locks it first
            self._collections.lock(connection, self._find(connection, run_id)["collection_key"])
        return self._find(connection, run_id, TO_WRITE)

    def _held(self, connection: sa.Connection, run_id: int, holder: str) -> Row | None:
        """The run, if it is the holder's now; this transaction alone may change it."""
        columns = training_runs.c
        query = TO_WRITE.where(columns.state == "running", columns.leased_by == holder)
        rows = connection.execute(query, {"run_id": run_id}).mappings().all()
        return next(self._mapper.sound(rows), None)

    def _next(self, connection: sa.Connection, free: sa.Select[Any]) -> Row | None:
        """The first of the free runs that is sound."""
        damaged: list[int] = []
        while row := self._mapper.first(connection, free.where(training_runs.c.id.not_in(damaged))):
            if is_sound(row):
                return row
            self._mapper.report(row)
            damaged.append(row["id"])
        return None

    def _refuse_second(self, connection: sa.Connection, collection_key: int, name: str) -> None:
        columns = training_runs.c
        mine = sa.and_(columns.collection_key == collection_key, columns.state.in_(UNDER_WAY))
        rows = self._mapper.rows(connection, sa.select(training_runs).where(mine))
        running = next(self._mapper.sound(rows), None)
        if running:
            raise TrainingRunning(name, running["id"])

    def _change(self, connection: sa.Connection, row: Row, **changes: Any) -> TrainingRun:
        changed = dict(row)
        for name, value in changes.items():
            in_json = name in JSON_COLUMNS and value is not None
            changed[name] = json.dumps(value) if in_json else value
        if changed != dict(row):
            self._mapper.rewrite(connection, changed)
        return as_run(changed)


def _free_for(holder: str, lease_seconds: float) -> sa.Select[Any]:
    """The run that this worker should claim."""
    columns = training_runs.c
    lapsed = _lapsed(holder, lease_seconds)
    free = sa.or_(columns.state == "queued", sa.and_(columns.state == "running", lapsed))
    query = sa.select(training_runs).where(free)
    return query.order_by(columns.state == "queued", columns.id).limit(1)


def _lapsed(holder: str, lease_seconds: float) -> sa.ColumnElement[bool]:
    """Whether nobody but this holder has a lease."""
    columns = training_runs.c
    # A later end is of somebody whose leases are a little longer.
    from_the_future = columns.leased_until > _after(lease_seconds + 60)
    return sa.or_(columns.leased_by == holder, columns.leased_until < now(), from_the_future)


def _new_row(collection_key: int, collection: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a run that is queued, save for its id and checksum."""
    row: dict[str, Any] = dict.fromkeys(column.name for column in training_runs.c)
    del row["id"], row["checksum"]
    row["collection_key"] = collection_key
    row["collection"] = collection
    row["request"] = json.dumps(dict(request))
    row["state"] = "queued"
    row["created_at"] = now()
    row["cancelling"] = False
    row["log"] = ""
    row["announced"] = False
    return row


def _lease(holder: str, seconds: float) -> dict[str, str]:
    return {"leased_by": holder, "leased_until": _after(seconds)}


def _after(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime(TIME)
