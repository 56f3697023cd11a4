"""The pairs of stored questions that the gates of training runs ask people to label.

They hold the texts of questions, so they go when these are deleted or replaced.
"""

import json
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import sqlalchemy as sa

from app.engine.store.database import Database
from app.engine.store.mapper import Mapper
from app.engine.store.run_rows import as_run, training_runs

Pair = Mapping[str, Any]  # `id1`, `id2`, `question1`, `question2`, and what the gate says of them


class PairsToLabel:
    """Those of every training run. All is done within a transaction of the questions."""

    def __init__(self, database: Database) -> None:
        self._mapper = Mapper(database, training_runs, as_run)

    def ids(self, connection: sa.Connection, collection_key: int) -> set[str]:
        """The questions of which the collection's runs ask for pairs."""
        ids: set[str] = set()
        for row in self._rows(connection, collection_key):
            for pair in json.loads(row["gate"])["to_label"]:
                ids |= {pair["id1"], pair["id2"]}
        return ids

    def forget(self, connection: sa.Connection, collection_key: int, ids: AbstractSet[str]) -> None:
        """Forget the pairs in which one of these ids stands."""
        self._keep(
            connection,
            collection_key,
            lambda pair: ids.isdisjoint((pair["id1"], pair["id2"])),
        )

    def keep_current(
        self, connection: sa.Connection, collection_key: int, texts: Mapping[str, str]
    ) -> bool:
        """Forget the pairs whose texts are not those that their ids have now; whether there were any."""
        return self._keep(
            connection,
            collection_key,
            lambda pair: (
                texts.get(pair["id1"]) == pair["question1"]
                and texts.get(pair["id2"]) == pair["question2"]
            ),
        )

    def _keep(
        self, connection: sa.Connection, collection_key: int, is_kept: Callable[[Pair], bool]
    ) -> bool:
        has_forgotten = False
        for row in self._rows(connection, collection_key):
            gate = json.loads(row["gate"])
            kept = [pair for pair in gate["to_label"] if is_kept(pair)]
            if len(kept) < len(gate["to_label"]):
                changed = {**row, "gate": json.dumps({**gate, "to_label": kept})}
                self._mapper.rewrite(connection, changed)
                has_forgotten = True
        return has_forgotten

    def _rows(self, connection: sa.Connection, collection_key: int) -> list[dict[str, Any]]:
        """The sound rows of the collection's runs whose gate asks for pairs, which nobody else may change now."""
        within = training_runs.c.collection_key == collection_key
        query = sa.select(training_runs).where(within, training_runs.c.gate.contains('"id1"'))
        rows = self._mapper.rows(connection, query.with_for_update())
        return [dict(row) for row in self._mapper.sound(rows)]
