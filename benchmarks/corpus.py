"""Shared by the scripts about a large corpus: its questions from files, and a data directory that holds them."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers.utils.logging import disable_progress_bar

from app.data_directory import locked
from app.engine.live_release import LiveRelease
from app.engine.release import Release
from app.engine.rows import read_rows
from app.engine.store import DEFAULT_COLLECTION, Question, Store
from app.releases.opening import opener
from app.settings import Settings

COLUMNS = ("question1", "question2", "text")  # of files of pairs, and of files of questions
WRITE_BATCH = 500


@dataclass(frozen=True)
class Opened:
    """A data directory at work in this process, without a server: its default collection, caught up."""

    store: Store
    live: LiveRelease
    key: int


def read_questions(files: Sequence[Path], limit: int | None) -> list[str]:
    """The distinct questions of files of pairs or of questions, in order of appearance, at most `limit`."""
    texts: dict[str, None] = {}
    for file in files:
        for row in read_rows(file, (), COLUMNS):
            if row.error:
                raise SystemExit(f"{file}:{row.line}: {row.error}")
            texts.update(dict.fromkeys(value for value in row.values if value is not None))
    if not texts:
        raise SystemExit(f"no questions: the files need one of the columns {', '.join(COLUMNS)}")
    return list(texts)[:limit]


@contextmanager
def opened(settings: Settings) -> Iterator[Opened]:
    """Open a data directory as the service does, and bring its index up to date."""
    disable_progress_bar()
    with (
        locked(settings.data_dir, settings.store_url) as store,
        closing(opener(settings, store)(Release.open(settings.release), None)) as live,
    ):
        key = store.collections.get(DEFAULT_COLLECTION).key
        live.catch_up(key)
        yield Opened(store, live, key)


def stored(store: Store) -> list[Question]:
    """Every question of the default collection."""
    return list(store.questions.every(DEFAULT_COLLECTION))


def holds(data_dir: Path, texts: Sequence[str]) -> bool:
    """Whether the data directory holds exactly these questions; False for an empty or a new one.

    Exits where it holds anything else: figures of a half-filled one would be wrong.
    """
    if not data_dir.exists() or not any(data_dir.iterdir()):
        return False
    with locked(data_dir) as store:
        found = stored(store)
    if {question.text for question in found} != set(texts):
        raise SystemExit(
            f"{data_dir} holds {len(found):,} questions, not these {len(texts):,}: name another"
        )
    return True


def ids_of(texts: Sequence[str]) -> list[tuple[str, str]]:
    """(id, text) of each question, as they are imported."""
    return [(f"q{number}", text) for number, text in enumerate(texts)]


def import_by_engine(settings: Settings, texts: Sequence[str]) -> None:
    """Write, index and maintain in this process what the service would in its own."""
    rows = ids_of(texts)
    with opened(settings) as data:
        for start in range(0, len(rows), WRITE_BATCH):
            data.store.questions.upsert(DEFAULT_COLLECTION, rows[start : start + WRITE_BATCH])
            data.live.catch_up(data.key)
            data.live.indexes.upkeep()


def say(words: object) -> None:
    """Progress, to stderr."""
    print(words, file=sys.stderr, flush=True)


def show(report: dict[str, Any], *, as_json: bool) -> None:
    """The report on stdout: one JSON object, or tables in Markdown."""
    print(json.dumps(report) if as_json else "\n\n".join(_tables(report)))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table in Markdown, with a column for each figure that any row has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [[_cell(row.get(name, "")) for name in columns] for row in rows]
    head = [[name.replace("_", " ") for name in columns], ["---"] * len(columns)]
    return "\n".join(f"| {' | '.join(line)} |" for line in head + lines)


def _tables(report: dict[str, Any]) -> Iterator[str]:
    """One table of all single figures, and one for each list of rows (under its name), or group of figures by name."""
    groups = {name: of for name, of in report.items() if _is_group(of)}
    single = {name: value for name, value in report.items() if name not in groups}
    if single:
        yield table(
            [{"figure": name.replace("_", " "), "value": value} for name, value in _flat(single)]
        )
    for name, of in groups.items():
        if isinstance(of, list):
            yield f"{name.capitalize()}:\n\n{table(of)}"
        else:
            yield table([{name: member, **figures} for member, figures in of.items()])


def _is_group(of: Any) -> bool:
    members = list(of.values()) if isinstance(of, dict) else of if isinstance(of, list) else []
    return bool(members) and all(
        isinstance(member, dict) and not any(isinstance(value, dict) for value in member.values())
        for member in members
    )


def _flat(figures: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}: ")
        else:
            yield prefix + name, ", ".join(map(str, value)) if isinstance(value, list) else value


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return (
        f"{value:,}"
        if isinstance(value, int) and not isinstance(value, bool)
        else str(value).replace("|", "\\|")
    )
