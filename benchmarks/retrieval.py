"""How well labelled duplicates are found among many questions, word-for-word matching left out.

    python benchmarks/retrieval.py --questions train.tsv.gz dev.tsv --pairs dev.tsv --json --data /tmp/data

Every distinct question of `--questions` is indexed. Each question of a pair that is labelled a duplicate (and whose
two texts differ after normalisation) is asked once and kept out of its own answers; relevant are all questions that
`--pairs` labels as its duplicates, by no other inference, so that what nobody labelled counts as wrong. Recall is
the share of the relevant ones within k: recall@1 can't exceed `recall_at_1_limit`, some having more than one.
*Verbatim*: indexed questions asked as they stand; first must be the question itself, or an equal one.
Everything goes through `LiveRelease.search`, which looks at vectors alone.

all-MiniLM-L6-v2, like many models, was trained on a part of Quora's duplicates: say so beside figures on them.
"""

import argparse
import math
import random
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from app.engine.index.hit import Hit
from app.engine.text import normalize
from app.settings import Settings
from training.pairs import LabelledPair, read_pairs

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.corpus import (
    Opened,
    holds,
    import_by_engine,
    opened,
    read_questions,
    say,
    show,
    stored,
)

SEED = 20
TOP_K = 10
VERBATIM = 1000  # indexed questions asked as they stand
MIN_SIMILARITY = 0.999  # of a question with itself
CHUNK = 256


def main() -> None:
    """Index, ask, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--questions",
        nargs="+",
        type=Path,
        required=True,
        help="files with question1 and question2",
    )
    parser.add_argument(
        "--pairs", type=Path, required=True, help="file with question1, question2 and is_duplicate"
    )
    parser.add_argument("--limit", type=int, help="only so many questions")
    parser.add_argument(
        "--release",
        type=Path,
        default=Path(__file__).parent.parent / "releases" / "minilm-questions-2",
    )
    parser.add_argument(
        "--data", type=Path, help="data directory that index.py kept, or one to make"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    texts = read_questions(arguments.questions, arguments.limit)
    say(f"{len(texts):,} questions")
    with TemporaryDirectory() as folder:
        settings = Settings(
            data_dir=arguments.data or Path(folder), release=arguments.release.resolve()
        )
        if not holds(settings.data_dir, texts):
            import_by_engine(settings, texts)
        with opened(settings) as data:
            revisions = {question.text: question.revision for question in stored(data.store)}
            relevant = _relevant(read_pairs(arguments.pairs), revisions)
            say(f"{len(relevant):,} questions to ask")
            report = {"questions": len(revisions), "release": data.live.release.name}
            report |= _measure_duplicates(data, relevant, revisions)
            report["verbatim"] = _measure_verbatim(data, revisions)
    show(report, as_json=arguments.json)


def _relevant(pairs: Iterable[LabelledPair], revisions: Collection[str]) -> dict[str, set[str]]:
    """Each question to ask, and the indexed questions that are labelled as its duplicates."""
    relevant: dict[str, set[str]] = {}
    for pair in pairs:
        both = pair.question1, pair.question2
        if (
            pair.is_duplicate
            and normalize(both[0]) != normalize(both[1])
            and all(text in revisions for text in both)
        ):
            for asked, other in (both, both[::-1]):
                relevant.setdefault(asked, set()).add(other)
    return relevant


def _measure_duplicates(
    data: Opened, relevant: dict[str, set[str]], revisions: dict[str, int]
) -> dict[str, Any]:
    answers = _ask(data, list(relevant), TOP_K + 1)
    recalls_1, recalls_10, gains = [], [], []
    for (asked, duplicates), hits in zip(relevant.items(), answers, strict=True):
        wanted = {revisions[text] for text in duplicates}
        right = [hit.revision in wanted for hit in hits if hit.revision != revisions[asked]][:TOP_K]
        recalls_1.append(sum(right[:1]) / len(wanted))
        recalls_10.append(sum(right) / len(wanted))
        gains.append(_gain(right) / _gain([True] * min(len(wanted), TOP_K)))
    return {
        "queries": len(relevant),
        "recall_at_1": fmean(recalls_1),
        "recall_at_1_limit": fmean(1 / len(duplicates) for duplicates in relevant.values()),
        "recall_at_10": fmean(recalls_10),
        "ndcg_at_10": fmean(gains),
    }


def _gain(right: Sequence[bool]) -> float:
    """Discounted cumulative gain, each right answer worth 1 / log2(1 + rank) (Järvelin and Kekäläinen, 2002)."""
    return sum(1 / math.log2(1 + rank) for rank, is_right in enumerate(right, 1) if is_right)


def _measure_verbatim(data: Opened, revisions: dict[str, int]) -> dict[str, Any]:
    asked = random.Random(SEED).sample(list(revisions), min(VERBATIM, len(revisions)))
    normal = {revision: normalize(text) for text, revision in revisions.items()}
    first = sum(
        normal[hits[0].revision] == normalize(text) and hits[0].similarity >= MIN_SIMILARITY
        for text, hits in zip(asked, _ask(data, asked, TOP_K), strict=True)
    )
    return {"queries": len(asked), "share_first": float(first / len(asked))}


def _ask(data: Opened, texts: Sequence[str], top_k: int) -> list[list[Hit]]:
    """The answers of the index for each text, embedded as the service does it."""
    found: list[list[Hit]] = []
    for start in range(0, len(texts), CHUNK):
        tokens = data.live.models.encoder.tokenize(texts[start : start + CHUNK])
        outcomes = data.live.models.embed(tokens, background=True).result()
        vectors = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
        if len(vectors) < len(outcomes):
            raise SystemExit("some questions can't be embedded")
        found += data.live.index(data.key).search(np.stack(vectors), top_k)[1]
    return found


if __name__ == "__main__":
    main()
