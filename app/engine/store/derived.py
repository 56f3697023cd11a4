"""What is derived for a collection and a release, so that it needs no model again: scores of pairs, and thresholds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from app.engine.scorer import CollectionThresholds
from app.engine.store.collections import Collections
from app.engine.store.database import Database, now
from app.engine.store.mapper import Mapper, Row
from app.engine.store.schema import metadata

pair_scores = sa.Table(
    "pair_scores",
    metadata,
    sa.Column("collection_key", sa.Integer, primary_key=True),
    sa.Column("release", sa.Text, primary_key=True),
    sa.Column("pair", sa.LargeBinary, primary_key=True),
    sa.Column("probability", sa.Float),
    sa.Column("checksum", sa.BigInteger),
)
derived_thresholds = sa.Table(
    "derived_thresholds",
    metadata,
    sa.Column("collection_key", sa.Integer, primary_key=True),
    sa.Column("release", sa.Text, primary_key=True),
    sa.Column("duplicate", sa.Float),
    sa.Column("review", sa.Float),
    sa.Column("source", sa.Text),
    sa.Column("review_source", sa.Text),
    sa.Column("derived_at", sa.Text),
    sa.Column("population", sa.LargeBinary),
    sa.Column("checksum", sa.BigInteger),
)
ANY_SCORE = sa.true()


@dataclass(frozen=True)
class Derived:
    """The thresholds of a collection by a release, derived of near pairs with these probabilities (m,)."""

    thresholds: CollectionThresholds
    population: NDArray[np.float32]


class DerivedRecords:
    """Scores of pairs and thresholds of every collection, by the digest of a release."""

    def __init__(self, database: Database, collections: Collections) -> None:
        self._database = database
        self._collections = collections
        self._scores = Mapper(database, pair_scores, _as_score)
        self._thresholds = Mapper(database, derived_thresholds, _as_derived)

    def note_scores(self, collection_key: int, release: str, scores: Mapping[bytes, float]) -> None:
        """Keep the probabilities of pairs, by their digests. Nothing if the collection is gone."""
        rows: list[Row] = []
        for pair, probability in scores.items():
            key = {"collection_key": collection_key, "release": release, "pair": pair}
            rows.append({**key, "probability": probability})
        with self._database.writing() as connection:
            if not self._collections.lock(connection, collection_key):
                return
            for row in rows:
                self._scores.delete(connection, row)
            self._scores.insert(connection, *rows)

    def scores(
        self, collection_key: int, release: str, pairs: Sequence[bytes] | None = None
    ) -> dict[bytes, float]:
        """By the pair's digest, the probabilities that are kept: all, or those of these pairs."""
        columns = pair_scores.c
        within = (columns.collection_key == collection_key) & (columns.release == release)
        with self._database.reading() as connection:
            if pairs is None:
                rows = self._scores.rows(connection, sa.select(pair_scores).where(within))
            else:
                found = self._scores.any_of(connection, collection_key, "pair", pairs, ANY_SCORE)
                rows = [row for row in found if row["release"] == release]
            return dict(self._scores.records(rows))

    def note(self, collection_key: int, release: str, derived: Derived) -> None:
        """Keep the thresholds of a collection by a release, in the place of those before. Nothing if it is gone."""
        row: dict[str, Any] = {
            "collection_key": collection_key,
            "release": release,
            **asdict(derived.thresholds),
            "derived_at": now(),
            "population": derived.population.astype("<f4").tobytes(),
        }
        with self._database.writing() as connection:
            if not self._collections.lock(connection, collection_key):
                return
            self._thresholds.delete(connection, row)
            self._thresholds.insert(connection, row)

    def forget_thresholds(self, collection_key: int) -> None:
        """Let go of a collection's thresholds, by every release."""
        within = derived_thresholds.c.collection_key == collection_key
        with self._database.writing() as connection:
            self._collections.lock(connection, collection_key)  # as `note` does
            connection.execute(sa.delete(derived_thresholds).where(within))

    def versions(self, release: str) -> dict[int, int]:
        """By the collection's key, a number that is another one when its thresholds by a release are."""
        columns = derived_thresholds.c
        query = sa.select(columns.collection_key, columns.checksum)
        with self._database.reading() as connection:
            rows = connection.execute(query.where(columns.release == release))
            return {row.collection_key: row.checksum for row in rows}

    def of_release(self, release: str) -> dict[int, Derived]:
        """By the collection's key, the thresholds by a release."""
        query = sa.select(derived_thresholds).where(derived_thresholds.c.release == release)
        with self._database.reading() as connection:
            return dict(self._thresholds.every(connection, query))


def _as_score(row: Row) -> tuple[bytes, float]:
    return row["pair"], row["probability"]


def _as_derived(row: Row) -> tuple[int, Derived]:
    thresholds = CollectionThresholds(
        row["duplicate"], row["review"], row["source"], row["review_source"]
    )
    population = np.frombuffer(row["population"], dtype="<f4").astype(np.float32)
    return row["collection_key"], Derived(thresholds, population)
