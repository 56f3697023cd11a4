"""Activations: which release was made live when, and why. Nothing here ever changes or goes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from app.engine.store.database import Database, metadata, now, sealed
from app.engine.store.deliveries import insert_delivery

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


@dataclass(frozen=True)
class Activation:
    """A release that was made live. `setting` is what SAMEASK_RELEASE said then."""

    id: int
    release: str
    digest: str
    reason: str
    setting: str
    activated_at: str


class Activations:
    """The history of what was live."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, release: str, digest: str, reason: str, setting: str, before: str | None = None
    ) -> Activation:
        """Note that a release is made live; with `before`, the name of what was live, the webhook has to tell of it,
        whatever becomes of this process. Raises StorageFull."""
        with self._database.writing() as connection:
            last = connection.execute(sa.select(sa.func.max(activations.c.id))).scalar() or 0
            made = Activation(last + 1, release, digest, reason, setting, activated_at=now())
            connection.execute(sa.insert(activations).values(**sealed(asdict(made))))
            if before is not None:
                told = {
                    "release": release,
                    "before": before,
                    "reason": reason,
                    "at": made.activated_at,
                }
                insert_delivery(connection, "release.activated", told, datetime.now(UTC))
        return made

    def latest_first(self) -> list[Activation]:
        """Every activation. A row that fails its checksum is reported and left out."""
        query = sa.select(activations).order_by(activations.c.id.desc())
        with self._database.reading() as connection:
            rows = connection.execute(query).mappings().all()
            return [_as_activation(row) for row in self._database.passing(activations, rows)]


def _as_activation(row: Mapping[Any, Any]) -> Activation:
    return Activation(**{name: value for name, value in row.items() if name != "checksum"})
