"""Activations: which release was made live when, and why. Nothing here ever changes or goes."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from app.engine.store.database import Database, now
from app.engine.store.deliveries import Outbox
from app.engine.store.mapper import Mapper, Row, fields
from app.engine.store.schema import metadata

activations = sa.Table(
    "activations",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("release", sa.Text),
    sa.Column("digest", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("setting", sa.Text),
    sa.Column("activated_at", sa.Text),
    sa.Column("checksum", sa.BigInteger),
)
LATEST_FIRST = sa.select(activations).order_by(activations.c.id.desc())
LAST_ID = sa.select(sa.func.max(activations.c.id))


@dataclass(frozen=True)
class Activation:
    """A release that was made live. `setting` is the value of SAMEASK_RELEASE then."""

    id: int
    release: str
    digest: str
    reason: str
    setting: str
    activated_at: str


class Activations:
    """The history of live releases."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox
        self._mapper = Mapper(database, activations, _as_activation)

    def add(
        self, release: str, digest: str, reason: str, setting: str, before: str | None = None
    ) -> Activation:
        """Note that a release is made live. Raises StorageFull.

        With `before`, the name of the release that was live, the webhook's event is noted in the same transaction.
        """
        with self._database.writing() as connection:
            self._database.alone(connection, activations)
            last = connection.execute(LAST_ID).scalar() or 0
            activation = Activation(last + 1, release, digest, reason, setting, now())
            self._mapper.insert(connection, asdict(activation))
            if before is not None:
                data = {
                    "release": release,
                    "before": before,
                    "reason": reason,
                    "at": activation.activated_at,
                }
                self._outbox.insert(connection, "release.activated", data, datetime.now(UTC))
        return activation

    def latest(self) -> Activation | None:
        """The last one; None if there is none, or it fails its checksum."""
        with self._database.reading() as connection:
            return next(iter(self._mapper.every(connection, LATEST_FIRST.limit(1))), None)

    def latest_first(self) -> list[Activation]:
        """Every activation. A row that fails its checksum is reported and left out."""
        with self._database.reading() as connection:
            return self._mapper.every(connection, LATEST_FIRST)


def _as_activation(row: Row) -> Activation:
    return Activation(**fields(row))
