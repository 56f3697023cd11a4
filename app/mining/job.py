"""Questions in, all their duplicate pairs out, in a file that grows as they are found, the most similar first.

A text that stands under many ids is one text, judged against each other one once. The work of a run stands in a folder
beside the file, `<file>.mining`: vectors as they are made, the near pairs once they are known, and how many of those
are in the file. Killed, it goes on from there; done, the folder goes.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from app.engine.files import replace_file, replacing
from app.engine.index.all_pairs import Pairs, near_pairs
from app.engine.models.pair_classifier import PairClassifier
from app.engine.models.tokens import Tokens
from app.engine.rulings import Ruling
from app.engine.scorer import CollectionThresholds, Scorer, Verdict
from app.engine.signals import Reader
from app.engine.text import TextPair, WordedPair, Words
from app.engine.verdicts import Judge, Judgement, Pair, unread
from app.errors import CommandError

NDJSON = (".ndjson", ".jsonl")
PARQUET = ".parquet"
MOST_IDS = 20  # of one text, that a line names
EMBEDDED_AT_ONCE = 4096  # questions; what a kill may cost
SCORED_AT_ONCE = 1024  # pairs
PARQUET_ROWS = 65_536

Advance = Callable[[str, int, int], None]  # phase, how many of it are done, how many there are


@dataclass(frozen=True)
class MinedPair:
    """Two texts of the set and their judgement; a line of the file.

    Each has the first of its ids, the first 20, and how many there are. A text under many ids makes a pair with itself,
    of its first two ids.
    """

    id1: str
    id2: str
    ids1: Sequence[str]
    ids2: Sequence[str]
    id_count1: int
    id_count2: int
    text1: str
    text2: str
    similarity: float
    probability: float
    verdict: Verdict


SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id1", "id2")]
    + [(name, pa.list_(pa.string())) for name in ("ids1", "ids2")]
    + [(name, pa.int64()) for name in ("id_count1", "id_count2")]
    + [(name, pa.string()) for name in ("text1", "text2")]
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

    def includes(self, judgement: Judgement) -> bool:
        """Whether a pair that is similar enough is wanted."""
        if self.probability is not None:
            return judgement.probability >= self.probability
        return self.similarity is not None or judgement.verdict != "different"


@dataclass(frozen=True)
class Models:
    """The judge's parts: the pair classifier if there is one, the scorer and the tokenizers, all of one release."""

    release: str  # its digest
    dimension: int
    scorer: Scorer
    classifier: PairClassifier | None
    reader: Reader
    thresholds: CollectionThresholds | None = None  # of the collection that is mined

    def least(self, wanted: Wanted) -> float:
        """The similarity from which pairs are looked at."""
        return self.scorer.open_from if wanted.similarity is None else wanted.similarity


@dataclass(frozen=True)
class Source:
    """n distinct texts and the ids of each, vectors (rows, d) of a range of texts, and people's labels on pairs."""

    ids: Sequence[Sequence[str]]
    texts: Sequence[str]
    vectors: Callable[[int, int], NDArray[np.float32]]  # from a row to another
    ruled: Callable[[Sequence[WordedPair]], Mapping[TextPair, Ruling]] = lambda _: {}

    @property
    def fingerprint(self) -> str:
        """A digest of all ids and texts."""
        digest = hashlib.sha256()
        for ids, text in zip(self.ids, self.texts, strict=True):
            digest.update(json.dumps([*ids, text]).encode())
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
    job = _Job(source, models, wanted, work, advance)
    vectors = job.embed()
    pairs = job.search(vectors)
    lines = out if out.suffix in NDJSON else work / "pairs.ndjson"
    count = job.write(lines, pairs)
    if lines != out:
        _as_parquet(lines, out, work)
    shutil.rmtree(work)
    return count


class _Job:
    """The phases of one run. Each notes in the folder of the work how far it is, and goes on from there."""

    def __init__(
        self, source: Source, models: Models, wanted: Wanted, work: Path, advance: Advance
    ) -> None:
        self._source = source
        self._models = models
        self._wanted = wanted
        self._work = work
        self._advance = advance
        self._judge = Judge(models.scorer, models.reader, models.thresholds)

    def embed(self) -> NDArray[np.float32]:
        """All vectors (n, d), in a file that is mapped into memory."""
        file = self._work / "vectors.f32"
        note = self._work / "embedded.json"
        count = len(self._source.ids)
        dimension = self._models.dimension
        size = count * dimension * np.dtype(np.float32).itemsize
        done = min(_read(note) or 0, count) if _size(file) == size else 0
        with file.open("r+b" if file.exists() else "w+b") as opened:
            opened.truncate(size)
        vectors = np.memmap(file, np.float32, "r+", shape=(count, dimension))
        for start in range(done, count, EMBEDDED_AT_ONCE):
            self._advance("embedding", start, count)
            end = min(start + EMBEDDED_AT_ONCE, count)
            vectors[start:end] = self._source.vectors(start, end)
            vectors.flush()
            _note(note, end)
        self._advance("embedding", count, count)
        return vectors

    def search(self, vectors: NDArray[np.float32]) -> Pairs:
        """Rows and similarities of all near pairs, the most similar first; found once, and kept."""
        file = self._work / "near.npz"
        if not file.exists():
            least = self._models.least(self._wanted)
            near = near_pairs(vectors, least, self._count_searched(len(vectors)))
            first, second, similarities = _with_repeated(self._source.ids, near)
            with replacing(file, durable=False) as aside:
                np.savez(aside, first=first, second=second, similarities=similarities)
        with np.load(file) as near:
            return near["first"], near["second"], near["similarities"]

    def _count_searched(self, total: int) -> Callable[[int], None]:
        searched = 0

        def count(rows: int) -> None:
            nonlocal searched
            searched += rows
            self._advance("searching", searched, total)

        return count

    def write(self, lines: Path, pairs: Pairs) -> int:
        """Judge the pairs and append those that are wanted; returns how many there are.

        Lines that an earlier run wrote past its last note are cut off. Where lines are gone, all are written anew.
        """
        note = self._work / "written.json"
        first, second, similarities = pairs
        total = len(first)
        noted = _read(note)
        if noted is None or _size(lines) < noted["bytes"]:
            noted = {"judged": 0, "bytes": 0, "pairs": 0}
        count = int(noted["pairs"])
        with lines.open("r+b" if lines.exists() else "w+b") as file:
            file.truncate(noted["bytes"])
            file.seek(noted["bytes"])
            for start in range(noted["judged"], total, SCORED_AT_ONCE):
                self._advance("judging", start, total)
                end = start + SCORED_AT_ONCE
                chunk = slice(start, end)
                mined = self._mined(first[chunk], second[chunk], similarities[chunk])
                for pair in mined:
                    file.write(json.dumps(vars(pair), ensure_ascii=False).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
                count += len(mined)
                _note(note, {"judged": end, "bytes": file.tell(), "pairs": count})
        self._advance("judging", total, total)
        return count

    def _mined(
        self,
        first: NDArray[np.int64],
        second: NDArray[np.int64],
        similarities: NDArray[np.float32],
    ) -> list[MinedPair]:
        """The pairs of these rows that are wanted."""
        rows = list(zip(first.tolist(), second.tolist(), strict=True))
        pairs = self._pairs(rows)
        logits = self._read_pairs(pairs, similarities)
        judgements = self._judge.judge(pairs, similarities, logits)
        mined = []
        for of_rows, pair, judgement in zip(rows, pairs, judgements, strict=True):
            if self._wanted.includes(judgement):
                mined.append(self._mined_pair(of_rows, pair, judgement))
        return mined

    def _mined_pair(self, rows: tuple[int, int], pair: Pair, judgement: Judgement) -> MinedPair:
        first, second = rows
        ids1 = self._source.ids[first]
        ids2 = self._source.ids[second]
        return MinedPair(
            id1=ids1[0],
            id2=ids2[first == second],
            ids1=ids1[:MOST_IDS],
            ids2=ids2[:MOST_IDS],
            id_count1=len(ids1),
            id_count2=len(ids2),
            text1=pair.first.text,
            text2=pair.second.text,
            similarity=judgement.similarity,
            probability=judgement.probability,
            verdict=judgement.verdict,
        )

    def _pairs(self, rows: Sequence[tuple[int, int]]) -> list[Pair]:
        """The texts of pairs of rows, and the rulings on them."""
        texts = self._source.texts
        words = {row: Words.of(texts[row]) for row in set(chain(*rows))}
        worded = [(words[first], words[second]) for first, second in rows]
        rulings = self._source.ruled(worded)
        pairs = []
        for one, other in worded:
            ruling = rulings.get((one.text, other.text))
            pairs.append(Pair(one, other, ruling))
        return pairs

    def _read_pairs(
        self, pairs: Sequence[Pair], similarities: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The pair classifier's logits (n,), NaN of pairs that it need not read."""
        logits = unread(len(pairs))
        if self._models.classifier and self._wanted.verify:
            is_same = np.array([pair.is_same_words for pair in pairs], dtype=np.bool_)
            open_rows = np.flatnonzero(self._models.scorer.is_open(similarities) & ~is_same)
            open_pairs = [pairs[row] for row in open_rows.tolist()]
            texts = [(pair.first.text, pair.second.text) for pair in open_pairs]
            logits[open_rows] = _scores(self._models.classifier, texts)
        return logits


def _with_repeated(ids: Sequence[Sequence[str]], near: Pairs) -> Pairs:
    """The pairs, and before them each text that stands under many ids, with itself."""
    repeated = [row for row, of_text in enumerate(ids) if len(of_text) > 1]
    rows = np.array(repeated, dtype=np.int64)
    first, second, similarities = near
    ones = np.ones(len(rows), dtype=np.float32)
    return (
        np.concatenate([rows, first]),
        np.concatenate([rows, second]),
        np.concatenate([ones, similarities]),
    )


def _scores(classifier: PairClassifier, texts: Sequence[TextPair]) -> NDArray[np.float32]:
    """The logits (n,) of pairs. Pairs that look the same to the classifier are read once."""
    distinct: dict[bytes, Tokens] = {}
    keys = []
    for tokens in classifier.tokenize(texts):
        key = b"".join(values.tobytes() for values in tokens.features.values())
        distinct.setdefault(key, tokens)
        keys.append(key)
    read = classifier.score_all(list(distinct.values()))
    logits = dict(zip(distinct, read.tolist(), strict=True))
    return np.array([logits[key] for key in keys], dtype=np.float32)


def check_out(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise CommandError where the file can't be begun, as far as that is known before any model is loaded."""
    if out.suffix not in (*NDJSON, PARQUET):
        raise CommandError(f"{out} must end in {', '.join((*NDJSON, PARQUET))}")
    work = _work(out)
    if overwrite:
        return
    if work.exists() and not resume:
        raise CommandError(
            f"{out} was begun by an earlier run: --resume goes on with it, --overwrite begins anew"
        )
    if out.exists() and not work.exists():
        raise CommandError(f"{out} exists: --overwrite replaces it")


def _work(out: Path) -> Path:
    return out.with_name(f"{out.name}.mining")


def _begin(
    out: Path, source: Source, models: Models, wanted: Wanted, *, resume: bool, overwrite: bool
) -> Path:
    """The folder of the work, new or left by an earlier run of the same kind."""
    check_out(out, resume=resume, overwrite=overwrite)
    work = _work(out)
    begun = work / "told.json"
    order = _order(source, models, wanted)
    if overwrite:
        shutil.rmtree(work, ignore_errors=True)
        out.unlink(missing_ok=True)
    elif work.exists() and _read(begun) not in (order, None):
        raise CommandError(
            f"{out} was begun with other questions, bounds or another release: --overwrite begins anew"
        )
    work.mkdir(parents=True, exist_ok=True)
    _note(begun, order)
    return work


def _order(source: Source, models: Models, wanted: Wanted) -> dict[str, Any]:
    """The choices that decide which pairs a run writes."""
    return {"questions": source.fingerprint, "release": models.release, **asdict(wanted)}


def _as_parquet(lines: Path, out: Path, work: Path) -> None:
    """The same rows as Parquet, some at a time, shown by rename."""
    with (
        replacing(out, aside=work / "writing.parquet") as aside,
        lines.open("rb") as file,
        parquet.ParquetWriter(aside, SCHEMA) as writer,
    ):
        while some := list(islice(file, PARQUET_ROWS)):
            rows = [json.loads(line) for line in some]
            writer.write_table(pa.Table.from_pylist(rows, SCHEMA))


def _read(file: Path) -> Any:
    """The content of a note of an earlier run; None without one."""
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _note(file: Path, content: object) -> None:
    replace_file(file, json.dumps(content), durable=False)
