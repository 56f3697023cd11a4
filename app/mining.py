"""Questions in, all their duplicate pairs out, in a file that grows as they are found, the most similar first.

What a run has done stands in a folder beside the file, `<file>.mining`: vectors as they are made, the near pairs once
they are known, and how many of those are in the file. Killed, it goes on from there; done, the folder goes.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from app.data_directory import locked
from app.engine.index.all_pairs import Pairs, near_pairs
from app.engine.models.opening import open_models
from app.engine.models.pair_classifier import PairClassifier
from app.engine.release import Release
from app.engine.rulings import Ruling, ruling
from app.engine.scorer import Scorer, Verdict
from app.engine.text import normalize
from app.errors import CommandError
from app.releases.catalogue import Catalogue
from app.releases.releases import open_chosen, opener
from app.settings import Settings

NDJSON = (".ndjson", ".jsonl")
PARQUET = ".parquet"
EMBEDDED_AT_ONCE = 4096  # questions; what a kill may cost
SCORED_AT_ONCE = 1024  # pairs
PARQUET_ROWS = 65_536

Advance = Callable[[str, int, int], None]  # phase, how many of it are done, how many there are


@dataclass(frozen=True)
class MinedPair:
    """Two questions of the set, and what is said of them; a line of the file."""

    id1: str
    id2: str
    text1: str
    text2: str
    similarity: float
    probability: float
    verdict: Verdict


SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id1", "id2", "text1", "text2")]
    + [(name, pa.float64()) for name in ("similarity", "probability")]
    + [("verdict", pa.string())]
)


@dataclass(frozen=True)
class Wanted:
    """Which pairs: at least so similar, and at least so probable; without either, all but those called `different`."""

    similarity: float | None = None
    probability: float | None = None
    verify: bool = True  # let the pair classifier read them

    def check(self) -> None:
        """Raise CommandError for a bound outside (0, 1]."""
        for name in ("similarity", "probability"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise CommandError(f"--{name} must be above 0 and at most 1, not {value}")

    def includes(self, probability: float, verdict: Verdict) -> bool:
        """Whether a pair that is similar enough is wanted."""
        if self.probability is not None:
            return probability >= self.probability
        return self.similarity is not None or verdict != "different"


@dataclass(frozen=True)
class Models:
    """What judges: the pair classifier if there is one, what makes verdicts, and of which release they are."""

    release: str  # its digest
    dimension: int
    scorer: Scorer
    classifier: PairClassifier | None

    def least(self, wanted: Wanted) -> float:
        """The similarity from which pairs are looked at."""
        return self.scorer.open_from if wanted.similarity is None else wanted.similarity


@dataclass(frozen=True)
class Source:
    """n questions: their ids and texts, the vectors (rows, d) of a range of rows, and what people said of pairs."""

    ids: Sequence[str]
    texts: Sequence[str]
    vectors: Callable[[int, int], NDArray[np.float32]]  # from a row to another
    ruled: Callable[[Sequence[tuple[str, str]]], Mapping[tuple[str, str], Ruling]] = lambda _: {}

    @property
    def fingerprint(self) -> str:
        """Of all ids and texts."""
        digest = hashlib.sha256()
        for id_, text in zip(self.ids, self.texts, strict=True):
            digest.update(json.dumps([id_, text]).encode())
        return digest.hexdigest()


def mine(
    source: Source,
    models: Models,
    out: Path,
    wanted: Wanted,
    advance: Advance,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> int:
    """Write the pairs that are wanted to `out`, NDJSON or Parquet by its ending, and return how many there are.

    Raises CommandError when `out` exists, or was begun, and neither `resume` nor `overwrite` says what to do.
    """
    wanted.check()
    if not source.ids:
        raise CommandError("there are no questions to mine")
    work = _begin(out, source, models, wanted, resume=resume, overwrite=overwrite)
    vectors = _vectors(work, source, models.dimension, advance)
    pairs = _near(work, vectors, models.least(wanted), advance)
    lines = out if out.suffix in NDJSON else work / "pairs.ndjson"
    count = _write(work, lines, source, models, wanted, pairs, advance)
    if lines != out:
        _as_parquet(lines, out)
    shutil.rmtree(work)
    return count


def _begin(
    out: Path, source: Source, models: Models, wanted: Wanted, *, resume: bool, overwrite: bool
) -> Path:
    """The folder of the work, new or left by an earlier run of the same kind."""
    if out.suffix not in (*NDJSON, PARQUET):
        raise CommandError(f"{out} must end in {', '.join((*NDJSON, PARQUET))}")
    work = out.with_name(f"{out.name}.mining")
    told = {"questions": source.fingerprint, "release": models.release, **asdict(wanted)}
    if overwrite:
        shutil.rmtree(work, ignore_errors=True)
        out.unlink(missing_ok=True)
    elif work.exists() and not resume:
        raise CommandError(
            f"{out} was begun by an earlier run: --resume goes on with it, --overwrite begins anew"
        )
    elif not work.exists() and out.exists():
        raise CommandError(f"{out} exists: --overwrite replaces it")
    elif work.exists() and _read(work / "told.json") not in (told, None):
        raise CommandError(
            f"{out} was begun with other questions, bounds or another release: --overwrite begins anew"
        )
    work.mkdir(parents=True, exist_ok=True)
    _replace(work / "told.json", told)
    return work


def _vectors(work: Path, source: Source, dimension: int, advance: Advance) -> NDArray[np.float32]:
    """All vectors (n, d), in a file that is mapped into memory; what an earlier run made of it is kept."""
    file, count = work / "vectors.f32", len(source.ids)
    done = min(_read(work / "embedded.json") or 0, count)
    with file.open("r+b" if file.exists() else "w+b") as opened:
        opened.truncate(count * dimension * np.dtype(np.float32).itemsize)
    vectors = np.memmap(file, np.float32, "r+", shape=(count, dimension))
    for start in range(done, count, EMBEDDED_AT_ONCE):
        advance("embedding", start, count)
        end = min(start + EMBEDDED_AT_ONCE, count)
        vectors[start:end] = source.vectors(start, end)
        vectors.flush()
        _replace(work / "embedded.json", end)
    advance("embedding", count, count)
    return vectors


def _near(work: Path, vectors: NDArray[np.float32], least: float, advance: Advance) -> Pairs:
    """Rows and similarities of all near pairs, the most similar first; found once, and kept beside the vectors."""
    file = work / "near.npz"
    if not file.exists():
        searched = 0

        def count(rows: int) -> None:
            nonlocal searched
            searched += rows
            advance("searching", searched, len(vectors))

        first, second, similarities = near_pairs(vectors, least, count)
        aside = work / "writing.npz"
        np.savez(aside, first=first, second=second, similarities=similarities)
        aside.rename(file)
    with np.load(file) as near:
        return near["first"], near["second"], near["similarities"]


def _write(
    work: Path,
    lines: Path,
    source: Source,
    models: Models,
    wanted: Wanted,
    pairs: Pairs,
    advance: Advance,
) -> int:
    """Judge the pairs and append those that are wanted; what an earlier run wrote past its last note is cut off."""
    first, second, similarities = pairs
    noted = _read(work / "written.json") or {"judged": 0, "bytes": 0, "pairs": 0}
    judged, written, count = noted["judged"], noted["bytes"], noted["pairs"]
    with lines.open("r+b" if lines.exists() else "w+b") as file:
        file.truncate(written)
        file.seek(written)
        for start in range(judged, len(first), SCORED_AT_ONCE):
            advance("judging", start, len(first))
            some = slice(start, start + SCORED_AT_ONCE)
            found = _judged(source, models, wanted, first[some], second[some], similarities[some])
            file.write(
                "".join(
                    json.dumps(vars(pair), ensure_ascii=False) + "\n" for pair in found
                ).encode()
            )
            file.flush()
            os.fsync(file.fileno())
            count += len(found)
            noted = {"judged": start + SCORED_AT_ONCE, "bytes": file.tell(), "pairs": count}
            _replace(work / "written.json", noted)
    advance("judging", len(first), len(first))
    return int(count)


def _judged(
    source: Source,
    models: Models,
    wanted: Wanted,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    similarities: NDArray[np.float32],
) -> list[MinedPair]:
    """The pairs of these rows that are wanted."""
    texts = [(source.texts[i], source.texts[j]) for i, j in zip(first, second, strict=True)]
    is_equal = np.array([normalize(a) == normalize(b) for a, b in texts], dtype=np.bool_)
    logits = np.full(len(texts), np.nan, dtype=np.float32)
    if models.classifier and wanted.verify:
        asked = np.flatnonzero(models.scorer.is_open(similarities) & ~is_equal)
        logits[asked] = models.classifier.score([texts[i] for i in asked])
    ruled = source.ruled(texts)
    found = []
    for row, (probability, verdict) in enumerate(models.scorer.judge(similarities, logits)):
        if is_equal[row]:
            probability, verdict = 1.0, "duplicate"
        said = ruled.get(texts[row])
        verdict = said.verdict if said else verdict
        if wanted.includes(probability, verdict):
            ids = source.ids[first[row]], source.ids[second[row]]
            found.append(
                MinedPair(*ids, *texts[row], float(similarities[row]), probability, verdict)
            )
    return found


def _as_parquet(lines: Path, out: Path) -> None:
    """The same rows as Parquet, some at a time, shown by rename."""
    aside = out.with_name(f"{out.name}.mining") / "writing.parquet"
    with lines.open("rb") as file, parquet.ParquetWriter(aside, SCHEMA) as writer:
        while some := list(islice(file, PARQUET_ROWS)):
            writer.write_table(pa.Table.from_pylist([json.loads(line) for line in some], SCHEMA))
    aside.rename(out)


def _read(file: Path) -> Any:
    """What stands in a note of an earlier run; None without one."""
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _replace(file: Path, content: object) -> None:
    aside = file.with_suffix(".writing")
    aside.write_text(json.dumps(content), "utf-8")
    aside.rename(file)


def mine_file(
    questions: Sequence[tuple[str, str]],
    out: Path,
    wanted: Wanted,
    settings: Settings,
    advance: Advance,
    **how: bool,
) -> int:
    """Mine (id, text) pairs with the release of the settings, as `mine` does."""
    release = Release.open(settings.release)
    encoder, classifier = open_models(
        release, settings.device, settings.backend, settings.data_dir / "models"
    )
    texts = [text for _, text in questions]
    source = Source(
        [id_ for id_, _ in questions], texts, lambda start, end: encoder.encode(texts[start:end])
    )
    models = Models(
        release.digest, encoder.dimension, release.scorer(settings.target_precision), classifier
    )
    return mine(source, models, out, wanted, advance, **how)


def mine_collection(
    name: str, out: Path, wanted: Wanted, settings: Settings, advance: Advance, **how: bool
) -> int:
    """Mine a collection of the data directory with the release that is live there, as `mine` does; its labels overrule.

    Raises CollectionNotFound, DataDirectoryInUse.
    """
    with locked(settings.data_dir) as store:
        catalogue = Catalogue(settings.release, settings.data_dir / "releases")
        with closing(
            open_chosen(catalogue, store, opener(settings, store), is_server=False)
        ) as live:
            key = store.collections.get(name).key
            live.catch_up(key)
            stored = [
                question for question in store.questions.every(name) if not question.quarantined
            ]
            revisions = [question.revision for question in stored]

            def vectors(start: int, end: int) -> NDArray[np.float32]:
                found = live.vectors(key, revisions[start:end])
                return np.stack([found[revision] for revision in revisions[start:end]])

            def ruled(pairs: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Ruling]:
                return {
                    pair: ruling(labels) for pair, labels in store.labels.of(key, pairs).items()
                }

            ids, texts = (
                [question.id for question in stored],
                [question.text for question in stored],
            )
            models = Models(
                live.release.digest, live.encoder.dimension, live.scorer, live.classifier
            )
            return mine(Source(ids, texts, vectors, ruled), models, out, wanted, advance, **how)
