"""A store with many questions and labels, copied to PostgreSQL and back by `sameask copy`: times, and what differs.

    python benchmarks/copying.py --pairs train.tsv.gz dev.tsv.gz

Questions come from the files of labelled pairs, and each pair is a label. What came back is compared with the original
by `sqlite3` itself, row by row: it prints how many rows differ, of all tables. It exits with 1 where any does.

PostgreSQL is one of this script's own on a socket; it writes to the disk before it says so.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from app.data_directory import DATABASE, locked
from app.engine.store import DEFAULT_COLLECTION, NewLabel
from app.engine.text import folded

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.cluster import database
from benchmarks.corpus import WRITE_BATCH, ids_of, read_questions, say, show
from benchmarks.processes import SAMEASK
from training.pairs import read_pairs

BY = "benchmark"


def main() -> None:
    """Import, copy there and back, compare, report."""
    options = _options()
    with TemporaryDirectory() as folder, database(None) as address:
        data, back = Path(folder) / "data", Path(folder) / "back"
        report = _fill(options, data)
        there, report["seconds there"] = _copy(str(data), address)
        again, report["seconds back"] = _copy(address, str(back))
        report["digests agree"] = there == again
        report["rows"] = sum(int(one["rows"]) for one in there)
        report["rows that differ"] = _difference(data / DATABASE, back / DATABASE)
    show(report, as_json=options.json)
    if report["rows that differ"] or not report["digests agree"]:
        raise SystemExit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=Path, nargs="+", required=True, help="labelled pairs")
    parser.add_argument("--limit", type=int, help="only so many questions")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser.parse_args()


def _fill(options: argparse.Namespace, data: Path) -> dict[str, Any]:
    """Write questions and labels into a new data directory's store; nothing is embedded."""
    texts = read_questions(options.pairs, options.limit)
    ids = {text: name for name, text in ids_of(texts)}
    pairs = dict.fromkeys(pair for file in options.pairs for pair in read_pairs(file))
    labels = [
        NewLabel(pair.is_duplicate, BY, ids=(ids[pair.question1], ids[pair.question2]))
        for pair in pairs
        if ids.keys() >= set(pair.texts) and folded(pair.question1) != folded(pair.question2)
    ]
    say(f"writing {len(texts):,} questions and {len(labels):,} labels")
    rows = ids_of(texts)
    with locked(data) as store:
        for start in range(0, len(rows), WRITE_BATCH):
            store.questions.upsert(DEFAULT_COLLECTION, rows[start : start + WRITE_BATCH])
        for start in range(0, len(labels), WRITE_BATCH):
            store.labels.write(DEFAULT_COLLECTION, labels[start : start + WRITE_BATCH])
    return {"questions": len(texts), "labels": len(labels)}


def _copy(source: str, target: str) -> tuple[list[dict[str, Any]], float]:
    """What `sameask copy` says of each table, and its seconds."""
    say(f"copying to {'PostgreSQL' if '://' in target else target}")
    began = time.perf_counter()
    command = [SAMEASK, "copy", source, target, "--json"]
    said = subprocess.run(command, env=os.environ, stdout=subprocess.PIPE, check=True)
    return json.loads(said.stdout), round(time.perf_counter() - began, 1)


def _difference(one: Path, other: Path) -> int:
    """How many rows stand in one of the two SQLite files alone, of all tables."""
    with closing(sqlite3.connect(one)) as connection:
        connection.execute("ATTACH ? AS other", (str(other),))
        tables = connection.execute(
            "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            " UNION SELECT name FROM other.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        count = 0
        for (table,) in tables:
            for left, right in (("main", "other"), ("other", "main")):
                rows = f'SELECT * FROM {left}."{table}" EXCEPT SELECT * FROM {right}."{table}"'
                count += connection.execute(f"SELECT count(*) FROM ({rows})").fetchone()[0]
    return count


if __name__ == "__main__":
    main()
