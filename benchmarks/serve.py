"""`POST /duplicates` beside the alternatives of a user, over HTTP, one question a request, in one run.

    python benchmarks/serve.py --json
    python benchmarks/serve.py --questions train.tsv.gz dev.tsv --limit 20000 --keep /tmp/serve

All servers (servers.py says which) are up all the time, each in a process of its own with the same questions. Only
one is asked at a time, in rounds that take turns. Every question asked is a stored one with a number behind it, drawn
at random: so none is stored word for word, and none is asked twice; the cache of embeddings is off. Ratios are
medians over rounds of the ratio within a round. wrk makes the load, on the same machine: what it takes of it is the
same for each request to any server, so it hides a part of what a faster one gains.

Then ours alone. *Lone*: one request after the other over one connection; what it took beyond the encoder is its time
at the client less the phase `encode` of its Server-Timing header. *Half load*: half of the greatest load that wrk
saw, as a fixed rate that waits for nobody, timed from when each request was due; a refused one counts as never
answered. *Cached*: the cache on, and each question one of a few that are asked again and again.
"""

import argparse
import os
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from app.engine.models.openvino import versions

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.corpus import read_questions, say, show
from benchmarks.load import Load, at_rate, by_wrk, ceiling, one_at_a_time
from benchmarks.servers import (
    NO_CACHE,
    Contender,
    Corpus,
    imported,
    prepare,
    rivals,
    sameask,
    share_found,
)

ROOT = Path(__file__).parent.parent
SEED = 20
WARM_UP_SECONDS = 2
SAMPLE = 100  # questions of which it is seen that each server finds them
LONE = 300  # lone requests
POOL = 1000  # questions that are asked again and again, where the cache is on

Measured = dict[tuple[str, int], list[Load]]


def main() -> None:
    """Start all servers, measure, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--questions", nargs="+", type=Path, default=[ROOT / "examples" / "questions.csv"]
    )
    parser.add_argument("--limit", type=int, help="only so many questions")
    parser.add_argument("--connections", nargs="+", type=int, default=[1, 16, 64, 256])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of one round of one server")
    parser.add_argument("--release", type=Path, default=ROOT / "releases" / "minilm-questions-2")
    parser.add_argument(
        "--environments", type=Path, default=ROOT / ".venv" / "peers", help="folder of the rivals'"
    )
    parser.add_argument(
        "--keep", type=Path, help="folder that keeps vectors, indexes and converted models"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    texts = read_questions(arguments.questions, arguments.limit)
    about = {
        "questions": len(texts),
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "cores": os.cpu_count(),
    }
    with TemporaryDirectory() as folder:
        corpus = prepare(texts, (arguments.keep or Path(folder)).resolve())
        report = about | {
            "wrk_alone_requests_per_second": ceiling(corpus.lines, WARM_UP_SECONDS),
            **versions(),
        }
        report |= _beside_rivals(corpus, arguments) | _cached(corpus, arguments)
    show(report, as_json=arguments.json)


def _beside_rivals(corpus: Corpus, arguments: argparse.Namespace) -> dict[str, Any]:
    with ExitStack() as stack:
        others, missing = rivals(stack, corpus, arguments.environments)
        ours = stack.enter_context(sameask(imported(corpus, arguments.release, **NO_CACHE)))
        contenders = {**ours, **others}
        say(
            f"{len(corpus.texts):,} questions, {', '.join(contenders)}; missing: {', '.join(missing) or 'none'}"
        )
        sample = random.Random(SEED).sample(corpus.texts, min(SAMPLE, len(corpus.texts)))
        found = {name: share_found(contender, sample) for name, contender in contenders.items()}
        measured = _measure(contenders, corpus, arguments)
    with sameask(
        imported(corpus, arguments.release, **NO_CACHE)
    ) as ours:  # the others are gone, and all that they do
        alone = [_alone(name, of, measured, corpus) for name, of in ours.items()]
    return {
        "missing": missing,
        "first": found,
        "serve": _rows(measured, list(others)),
        "alone": alone,
    }


def _cached(corpus: Corpus, arguments: argparse.Namespace) -> dict[str, Any]:
    with sameask(imported(corpus, arguments.release)) as ours:
        return {"cached": _rows(_measure(ours, corpus, arguments, POOL), [])}


def _measure(
    contenders: Mapping[str, Contender],
    corpus: Corpus,
    arguments: argparse.Namespace,
    pool: int = 0,
) -> Measured:
    """What each did in each round, by name and connections."""
    measured: Measured = {
        (name, count): [] for count in arguments.connections for name in contenders
    }
    for part, (name, connections, warm_up) in enumerate(_turns(list(contenders), arguments)):
        seconds = WARM_UP_SECONDS if warm_up else arguments.seconds
        load = by_wrk(contenders[name].asking, corpus.lines, connections, seconds, part, pool)
        share_found(
            contenders[name], corpus.texts[:1]
        )  # what wrk left unanswered is done before another's turn
        if not warm_up:
            measured[name, connections].append(load)
            say(f"{name}, {connections}: {load}")
    return measured


def _turns(names: Sequence[str], arguments: argparse.Namespace) -> Iterator[tuple[str, int, bool]]:
    """Whose turn it is, over how many connections, and whether it is to warm up."""
    yield from ((name, max(arguments.connections), True) for name in names)
    for connections in arguments.connections:
        for number in range(arguments.rounds):  # who is asked first takes turns too
            yield from ((name, connections, False) for name in names[:: -1 if number % 2 else 1])


def _rows(measured: Measured, others: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each: medians over rounds, and how many times each other's requests a second ours are."""
    return [
        {
            "connections": connections,
            "server": name,
            "requests/s": median(load.requests_per_second for load in loads),
            "p50 ms": median(load.p50_ms for load in loads),
            "p99 ms": median(load.p99_ms for load in loads),
            "refused": sum(load.refused for load in loads),
            **{f"times {other}": _ratio(loads, measured[other, connections]) for other in others},
        }
        for (name, connections), loads in measured.items()
    ]


def _ratio(loads: Sequence[Load], others: Sequence[Load]) -> float:
    """Infinite where the other answered nothing in most rounds."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return median(
            float(np.divide(one.requests_per_second, other.requests_per_second))
            for one, other in zip(loads, others, strict=True)
        )


def _alone(name: str, contender: Contender, measured: Measured, corpus: Corpus) -> dict[str, Any]:
    """One lone request, and half of the greatest load at a fixed rate."""
    greatest = max(
        load.requests_per_second
        for (of, _), loads in measured.items()
        if of == name
        for load in loads
    )
    one_at_a_time(contender.asking, _asked(corpus, name + "warm", LONE))
    lone = one_at_a_time(contender.asking, _asked(corpus, name + "lone", LONE))
    seconds = 10
    half = at_rate(
        contender.asking, _asked(corpus, name + "half", int(greatest / 2 * seconds)), greatest / 2
    )
    p50 = median(each.milliseconds for each in lone)
    p99 = float(
        np.percentile([each.milliseconds for each in half], 99, method="nearest")
    )  # of what may be infinite
    return {
        "server": name,
        "lone p50 ms": p50,
        "encoder ms": median(each.encoder_milliseconds for each in lone),
        "beyond encoder ms": median(each.milliseconds - each.encoder_milliseconds for each in lone),
        "half load requests/s": greatest / 2,
        "half load p50 ms": median(each.milliseconds for each in half),
        "half load p99 ms": p99,
        "p99 / lone p50": p99 / p50,
    }


def _asked(corpus: Corpus, purpose: str, count: int) -> list[str]:
    """Questions for a purpose, none stored word for word."""
    draw = random.Random(f"{SEED} {purpose}")
    return [f"{draw.choice(corpus.texts)} {purpose} {number}" for number in range(count)]


if __name__ == "__main__":
    main()
