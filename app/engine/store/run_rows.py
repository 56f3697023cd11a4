"""The row of a training run, and its record."""

import json
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from app.engine.store.mapper import Row, fields
from app.engine.store.schema import metadata

State = Literal["queued", "running", "succeeded", "failed", "cancelled", "interrupted"]
RESUMABLE: tuple[State, ...] = ("failed", "interrupted")
UNDER_WAY: tuple[State, ...] = ("queued", "running")
JSON_COLUMNS = ("request", "progress", "gate")

training_runs = sa.Table(
    "training_runs",
    metadata,
    sa.Column("id", sa.Integer().with_variant(sa.BigInteger, "postgresql"), primary_key=True),
    sa.Column("collection_key", sa.Integer),
    sa.Column("collection", sa.Text),
    sa.Column("request", sa.Text),
    sa.Column("state", sa.Text),
    sa.Column("cancelling", sa.Boolean),
    sa.Column("created_at", sa.Text),
    sa.Column("started_at", sa.Text),
    sa.Column("ended_at", sa.Text),
    sa.Column("leased_by", sa.Text),
    sa.Column("leased_until", sa.Text),
    sa.Column("pid", sa.Integer),
    sa.Column("pid_started", sa.BigInteger),
    sa.Column("progress", sa.Text),
    sa.Column("log", sa.Text),
    sa.Column("release", sa.Text),
    sa.Column("gate", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("announced", sa.Boolean),
    sa.Column("checksum", sa.BigInteger),
)


@dataclass(frozen=True)
class TrainingRun:
    """The request for a run, its progress and its outcome.

    `cancelling`: somebody wants it to stop, and its worker will stop it. `log` is the end of the child's output.
    `pid` is the child's process number. `pid_started`, in clock ticks after boot, tells it from a later process of that
    number. `release` is the name of the release that it made, `gate` the figures of that. `announced`: its end was
    told to whoever wants to know.
    """

    id: int
    collection_key: int
    collection: str
    request: dict[str, Any]
    state: State
    cancelling: bool
    created_at: str
    started_at: str | None
    ended_at: str | None
    leased_by: str | None
    leased_until: str | None
    pid: int | None
    pid_started: int | None
    progress: dict[str, Any] | None
    log: str
    release: str | None
    gate: dict[str, Any] | None
    error: str | None
    announced: bool

    @property
    def is_over(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state not in UNDER_WAY


def as_run(row: Row) -> TrainingRun:
    """Of a row that is sound."""
    values = fields(row)
    for name in JSON_COLUMNS:
        if values[name] is not None:
            values[name] = json.loads(values[name])
    return TrainingRun(**values)
