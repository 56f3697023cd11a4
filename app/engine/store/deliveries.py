"""Deliveries: the webhook's outbox. An event is written here first, and leaves when its receiver has it.

An attempt is written down before it is made, with the moment of the next one: a process that dies in the middle, or
can't write down how it ended, tries again later instead of at once.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from app.engine.store.database import Database
from app.engine.store.mapper import Mapper, Row, fields
from app.engine.store.schema import metadata

KEPT = timedelta(days=30)  # after it was delivered or given up
LONGEST_WAIT = timedelta(hours=25)  # between two attempts
TIME = "%Y-%m-%dT%H:%M:%S.%fZ"  # finer than elsewhere: two events of one second stay in order

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("event", sa.Text),
    sa.Column("body", sa.Text),
    sa.Column("created_at", sa.Text),
    sa.Column("attempts", sa.Integer),
    sa.Column("due_at", sa.Text),
    sa.Column("delivered_at", sa.Text),
    sa.Column("given_up_at", sa.Text),
    sa.Column("last_error", sa.Text),
    sa.Column("checksum", sa.BigInteger),
)
WAITING = deliveries.c.delivered_at.is_(None) & deliveries.c.given_up_at.is_(None)
ENDED_AT = sa.func.coalesce(deliveries.c.delivered_at, deliveries.c.given_up_at)
TO_BEGIN = (
    sa.select(deliveries)
    .where(deliveries.c.id == sa.bindparam("wanted"))
    .with_for_update(skip_locked=True)
)
OLDEST_FIRST = sa.select(deliveries).order_by(deliveries.c.created_at, deliveries.c.id)


@dataclass(frozen=True)
class Delivery:
    """An event, and how far it has come. Times are UTC, `2026-01-31T09:30:00.000000Z`."""

    id: str
    event: str
    body: str
    """What is sent, byte for byte the same at each attempt: JSON with `id`, `event`, `created_at`, `data`."""
    created_at: str
    attempts: int
    due_at: str
    """When the next attempt may begin."""
    delivered_at: str | None = None
    given_up_at: str | None = None
    last_error: str | None = None


@dataclass(frozen=True)
class Deliveries:
    """How many events wait, and how many of those that are still kept have ended, either way."""

    waiting: int
    delivered: int
    given_up: int


class Outbox:
    """The deliveries. Whoever begins an attempt makes it; any may add."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mapper = Mapper(database, deliveries, _as_delivery)

    def add(self, event: str, data: Mapping[str, Any], at: datetime) -> Delivery:
        """Keep an event for delivery. Raises StorageFull, and TypeError for data that JSON can't hold."""
        with self._database.writing() as connection:
            return self.insert(connection, event, data, at)

    def insert(
        self, connection: sa.Connection, event: str, data: Mapping[str, Any], at: datetime
    ) -> Delivery:
        """Keep an event in the transaction that writes the fact behind it: both are there, or neither is."""
        head = {"id": str(uuid.uuid4()), "event": event, "created_at": _text(at)}
        body = json.dumps({**head, "data": data}, separators=(",", ":"), allow_nan=False)
        delivery = Delivery(**head, body=body, attempts=0, due_at=head["created_at"])
        self._mapper.insert(connection, asdict(delivery))
        return delivery

    def due(self, at: datetime) -> Delivery | None:
        """The oldest that waits and may be tried; a row that fails its checksum is reported and passed over.

        One that was never tried may be tried at once. One that is due later than any is was postponed before the
        clock was set back, and may be, too.
        """
        due_at = deliveries.c.due_at
        is_early = (due_at > _text(at)) & (due_at <= _text(at + LONGEST_WAIT))
        query = OLDEST_FIRST.where(WAITING, (deliveries.c.attempts == 0) | ~is_early)
        with self._database.reading() as connection:
            rows = connection.execute(query).mappings()
            return next(self._mapper.records(rows), None)

    def begin(self, delivery: Delivery, next_at: datetime) -> Delivery | None:
        """Write down an attempt before it is made, and when the next may begin if this one has no outcome.

        None, and nothing done, where somebody else has begun it since it was read.
        """
        begun = replace(delivery, attempts=delivery.attempts + 1, due_at=_text(next_at))
        with self._database.writing() as connection:
            row = self._mapper.first(connection, TO_BEGIN, {"wanted": delivery.id})
            if row is None or _as_delivery(row) != delivery:
                return None
            self._mapper.rewrite(connection, asdict(begun))
        return begun

    def succeed(self, delivery: Delivery, at: datetime) -> Delivery:
        """The receiver has it."""
        return self._end(replace(delivery, delivered_at=_text(at), last_error=None), at)

    def postpone(self, delivery: Delivery, error: str, next_at: datetime) -> Delivery:
        """The attempt failed; the next may begin at `next_at`."""
        return self._put(replace(delivery, last_error=error, due_at=_text(next_at)))

    def give_up(self, delivery: Delivery, error: str, at: datetime) -> Delivery:
        """The attempt failed, and was the last."""
        return self._end(replace(delivery, last_error=error, given_up_at=_text(at)), at)

    def count(self) -> Deliveries:
        """Rows by their outcome."""
        query = sa.select(
            sa.func.count(),
            sa.func.count(deliveries.c.delivered_at),
            sa.func.count(deliveries.c.given_up_at),
        )
        with self._database.reading() as connection:
            every, delivered, given_up = connection.execute(query.select_from(deliveries)).one()
        return Deliveries(every - delivered - given_up, delivered, given_up)

    def all(self) -> list[Delivery]:
        """Every row that is kept, oldest first."""
        with self._database.reading() as connection:
            return self._mapper.every(connection, OLDEST_FIRST)

    def _put(self, delivery: Delivery) -> Delivery:
        with self._database.writing() as connection:
            self._mapper.rewrite(connection, asdict(delivery))
        return delivery

    def _end(self, delivery: Delivery, at: datetime) -> Delivery:
        """Write down that it has ended, and forget those that ended long ago."""
        is_old = _text(at - KEPT) > ENDED_AT
        with self._database.writing() as connection:
            self._mapper.rewrite(connection, asdict(delivery))
            connection.execute(sa.delete(deliveries).where(is_old))
        return delivery


def _as_delivery(row: Row) -> Delivery:
    return Delivery(**fields(row))


def _text(at: datetime) -> str:
    return at.strftime(TIME)
