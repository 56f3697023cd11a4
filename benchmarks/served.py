"""Answers as users get them: written questions, asked over HTTP of a server that holds those they were made from.

    python benchmarks/served.py --side calibration                     # the release of the settings
    python benchmarks/served.py --side report --release releases/minilm-quora
    python benchmarks/served.py --demo                                 # the example corpus
    python benchmarks/served.py --pairs dev_report.tsv.gz --others train.tsv.gz   # labelled pairs of Quora

The server holds every cluster's question among `--stored` questions of other domains. It is asked each paraphrase, each
near-miss and each near-miss's twin, at the settings that users get. A paraphrase has one right id; a near-miss
and its twin have none; an id of another cluster is right where both readers of the pair say that both ask the same. Of
labelled pairs, the second questions are stored and the first ones asked; what is called a duplicate there and was never
labelled is counted apart.

Intervals of precision are over resampled clusters (bootstrap, 95 %).
"""

import argparse
import csv
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from app.engine.text import folded_pair_digest
from app.settings import Settings
from benchmarks.corpus import say
from benchmarks.processes import run, serving
from training.pairs import read_pairs
from training.served_scales import other_questions
from training.written import Cluster, Side, read_across, read_clusters

ROOT = Path(__file__).parent.parent
BATCH = 50  # questions in a request
SEED = 20
RESAMPLES = 2000
FEW_CALLS = 20  # under so many, a domain's precision says little
VERDICTS = ("duplicate", "review", "new")
SETTINGS: dict[str, Any] = {"max_waiting_pairs": 2048}

Mark = Literal["=", "!", "~"]


@dataclass(frozen=True)
class Asked:
    """A question to ask, and the known answer.

    `right` are the ids that ask the same; `wrong` are ids that don't; None means every other id.
    """

    text: str
    domain: str
    cluster: str  # whose answers stand or fall together
    mark: Mark
    kind: str
    right: frozenset[str]
    wrong: frozenset[str] | None = None


@dataclass(frozen=True)
class Call:
    """An id that was called a duplicate, and whether that is right; None where nobody knows."""

    is_right: bool | None


@dataclass(frozen=True)
class Answer:
    """The server's answer to a question."""

    asked: Asked
    verdict: str  # duplicate, review or new
    calls: Sequence[Call]
    right_verdict: str | None  # of the right id; None where it is not among the candidates

    @property
    def is_found(self) -> bool:
        """Whether the right id is called a duplicate."""
        return self.right_verdict == "duplicate"


def main() -> None:
    """Store, ask, print the tables."""
    arguments = _arguments()
    if arguments.demo:
        stored, questions = _demo()
    elif arguments.pairs:
        stored, questions = _labelled(arguments.pairs, arguments.others, arguments.stored)
    else:
        stored, questions = _written(arguments.side, arguments.stored)
    given = {"release": arguments.release.resolve()} if arguments.release else {}
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder) / "data", **given, **SETTINGS)
        say(f"{settings.release.name}: {len(stored):,} stored, {len(questions):,} to ask")
        _import(settings, stored, Path(folder))
        with serving(settings) as server:
            answers = ask(server.url, questions)
    print(f"### {settings.release.name}\n")
    print_tables(answers)
    if arguments.wrong:
        _write_wrong(arguments.wrong, answers)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--release", type=Path, help="folder of a release; else the settings'")
    parser.add_argument("--side", choices=("calibration", "report"), default="calibration")
    parser.add_argument("--stored", type=int, default=10_000, help="questions of other domains")
    parser.add_argument("--demo", action="store_true", help="the example corpus instead")
    parser.add_argument("--pairs", type=Path, help="labelled pairs instead, the first ones asked")
    parser.add_argument("--others", type=Path, help="with --pairs: pairs whose questions fill up")
    parser.add_argument("--wrong", type=Path, help="write what went wrong into this TSV")
    return parser.parse_args()


def _written(side: Side, count: int) -> tuple[dict[str, str], list[Asked]]:
    """The side's questions by id, among those of other domains that releases are calibrated among; and what is asked.

    Of pairs with these it was read whether they ask the same, though their clusters differ.
    """
    clusters = read_clusters(side)
    strangers = other_questions()
    stored: dict[str, str] = {}
    questions: list[Asked] = []
    for number, cluster in enumerate(clusters):
        id_ = f"{cluster.domain}-{number}"
        stored[id_] = cluster.question
        questions += _asked_of(cluster, id_)
    _fill(stored, strangers, count)
    return stored, questions


def _asked_of(cluster: Cluster, id_: str) -> list[Asked]:
    """Every paraphrase, near-miss and twin of one cluster, whose question is stored by this id."""

    def one(text: str, mark: Mark, kind: str) -> Asked:
        right = frozenset({id_} if mark == "=" else ())
        return Asked(text, cluster.domain, id_, mark, kind, right)

    asked = [one(text, "=", "paraphrase") for text in cluster.paraphrases]
    for near in cluster.near_misses:
        asked.append(one(near.text, "!", near.kind))
        if near.twin:
            asked.append(one(near.twin, "~", near.kind))
    return asked


def _fill(stored: dict[str, str], texts: Iterable[str], count: int) -> None:
    """Add `count` of the texts that are not stored yet, drawn at random."""
    left = sorted(set(texts) - set(stored.values()))
    drawn = random.Random(SEED).sample(left, min(count, len(left)))
    stored.update({f"other-{number}": text for number, text in enumerate(drawn)})


def _demo() -> tuple[dict[str, str], list[Asked]]:
    """The example corpus, and its paraphrases and near-misses."""
    stored = {row["id"]: row["text"] for row in _rows(ROOT / "examples" / "questions.csv")}
    questions = []
    for row in _rows(ROOT / "examples" / "expected.csv"):
        is_paraphrase = row["kind"] == "paraphrase"
        right = frozenset({row["id"]} if is_paraphrase else ())
        domain = row["id"].rpartition("-")[0] or "elsewhere"
        mark: Mark = "=" if is_paraphrase else "!"
        questions.append(Asked(row["text"], domain, row["text"], mark, row["kind"], right))
    return stored, questions


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _labelled(
    pairs_file: Path, others: Path | None, count: int
) -> tuple[dict[str, str], list[Asked]]:
    """Labelled pairs: their second questions among others, their first ones to ask."""
    pairs = read_pairs(pairs_file)
    ids: dict[str, str] = {}
    right: dict[str, set[str]] = defaultdict(set)
    wrong: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        id_ = ids.setdefault(pair.question2, f"asked-{len(ids)}")
        (right if pair.is_duplicate else wrong)[pair.question1].add(id_)
    stored = {id_: text for text, id_ in ids.items()}
    if others:
        _fill(stored, (pair.question1 for pair in read_pairs(others)), count)
    questions = []
    for text in dict.fromkeys(pair.question1 for pair in pairs):
        mark: Mark = "=" if right[text] else "!"
        kind = "labelled duplicate" if right[text] else "labelled different"
        questions.append(
            Asked(
                text,
                pairs_file.name,
                text,
                mark,
                kind,
                frozenset(right[text]),
                frozenset(wrong[text]),
            )
        )
    return stored, questions


def _import(settings: Settings, stored: dict[str, str], folder: Path) -> None:
    """`sameask import`, of a file in the folder."""
    file = folder / "questions.csv"
    with file.open("w", encoding="utf-8", newline="") as table:
        csv.writer(table).writerows([("id", "text"), *stored.items()])
    run(settings, "import", str(file))


def ask(url: str, questions: Sequence[Asked]) -> list[Answer]:
    """The answers of `POST /duplicates`, at the settings that users get."""
    answers: list[Answer] = []
    with httpx.Client(base_url=url, timeout=300) as client:
        for start in range(0, len(questions), BATCH):
            chunk = questions[start : start + BATCH]
            body = {"questions": [asked.text for asked in chunk]}
            response = client.post("/duplicates", json=body).raise_for_status()
            results = response.json()["results"]
            answers += [_answer(a, result) for a, result in zip(chunk, results, strict=True)]
    return answers


def _answer(asked: Asked, result: Any) -> Answer:
    calls: list[Call] = []
    right_verdict: str | None = None
    for candidate in result["candidates"]:
        id_, verdict = candidate["id"], candidate["verdict"]
        asks_the_same = folded_pair_digest(asked.text, candidate["text"]) in read_across()
        is_right = id_ in asked.right or asks_the_same
        if is_right and right_verdict != "duplicate":
            right_verdict = verdict
        if verdict == "duplicate":
            is_known = is_right or asked.wrong is None or id_ in asked.wrong
            calls.append(Call(is_right if is_known else None))
    return Answer(asked, result["verdict"], calls, right_verdict)


def print_tables(answers: Sequence[Answer]) -> None:
    """Print the figures of the answers: over all, by domain, by kind."""
    print("| asked | n | duplicate, right id | duplicate, wrong id alone | review | new |", end="")
    print(" right id among the candidates |\n|---|---|---|---|---|---|---|")
    names: dict[Mark, str] = {"=": "paraphrases", "!": "near-misses", "~": "their twins"}
    for mark, name in names.items():
        _print_shares(name, [a for a in answers if a.asked.mark == mark])
    both = [a for a in answers if a.asked.mark in ("=", "!")]
    reviewed = sum(a.verdict == "review" for a in both)
    print(f"\nReview load over paraphrases and near-misses: {reviewed / len(both):.3f}\n")
    _print_precision("all", answers)
    domains = sorted({a.asked.domain for a in answers})
    if len(domains) > 1:
        print("\n| domain | `=` found | `=` lost | `!` new | precision of `duplicate` |")
        print("|---|---|---|---|---|")
        for domain in domains:
            _print_domain(domain, [a for a in answers if a.asked.domain == domain])
    _print_kinds(answers)


def _print_shares(name: str, answers: Sequence[Answer]) -> None:
    if not answers:
        return
    found = sum(a.is_found for a in answers)
    wrong = sum(a.verdict == "duplicate" and not a.is_found for a in answers)
    review = sum(a.verdict == "review" for a in answers)
    new = sum(a.verdict == "new" for a in answers)
    shares = [f"{count / len(answers):.3f}" for count in (found, wrong, review, new)]
    if answers[0].asked.mark == "=":
        retrieved = sum(a.right_verdict is not None for a in answers) / len(answers)
        shares.append(f"{retrieved:.3f}")
    else:
        shares[0] = ""
        shares.append("")
    print(f"| {name} | {len(answers)} | {' | '.join(shares)} |")


def _print_precision(name: str, answers: Sequence[Answer]) -> None:
    right, known, unknown = _counted(answers)
    print(f"Precision of `duplicate`, {name}: {_precision(answers)} of {known} calls", end="")
    print(f" ({right} right); {unknown} more of pairs that nobody labelled" if unknown else "")


def _counted(answers: Sequence[Answer]) -> tuple[int, int, int]:
    """Right calls, calls that are known to be right or wrong, and the others."""
    calls = [call for a in answers for call in a.calls]
    known = [call for call in calls if call.is_right is not None]
    return sum(bool(call.is_right) for call in known), len(known), len(calls) - len(known)


def _precision(answers: Sequence[Answer]) -> str:
    """The share of right calls, with its interval over resampled clusters."""
    right, known, _ = _counted(answers)
    if not known:
        return "none called"
    by_cluster: dict[str, list[Answer]] = defaultdict(list)
    for a in answers:
        by_cluster[a.asked.cluster].append(a)
    counts = np.array([_counted(of_cluster)[:2] for of_cluster in by_cluster.values()])
    chances = np.random.default_rng(SEED)
    drawn = chances.integers(0, len(counts), (RESAMPLES, len(counts)))
    totals = counts[drawn].sum(axis=1)
    called = totals[totals[:, 1] > 0]
    low, high = np.percentile(called[:, 0] / called[:, 1], (2.5, 97.5))
    return f"{right / known:.3f} ({low:.3f} to {high:.3f})"


def _print_domain(domain: str, answers: Sequence[Answer]) -> None:
    same = [a for a in answers if a.asked.mark == "="]
    near = [a for a in answers if a.asked.mark == "!"]
    found = sum(a.is_found for a in same) / max(1, len(same))
    lost = sum(a.verdict == "new" for a in same) / max(1, len(same))
    new = sum(a.verdict == "new" for a in near) / max(1, len(near))
    _, known, _ = _counted(answers)
    few = f", {known} calls" if known < FEW_CALLS else f" of {known}"
    print(f"| {domain} | {found:.3f} | {lost:.3f} | {new:.3f} | {_precision(answers)}{few} |")


def _print_kinds(answers: Sequence[Answer]) -> None:
    print(
        "\n| near-misses and twins, by kind | n | duplicate | review | new |\n|---|---|---|---|---|"
    )
    near = [a for a in answers if a.asked.mark != "="]
    for kind in sorted({a.asked.kind for a in near}):
        of_kind = [a for a in near if a.asked.kind == kind]
        counts = [sum(a.verdict == verdict for a in of_kind) for verdict in VERDICTS]
        print(f"| {kind} | {len(of_kind)} | {' | '.join(map(str, counts))} |")


def _write_wrong(file: Path, answers: Sequence[Answer]) -> None:
    """The questions that were called a duplicate wrongly, and those whose duplicate was lost."""
    with file.open("w", encoding="utf-8", newline="") as table:
        rows = csv.writer(table, delimiter="\t")
        rows.writerow(("what", "domain", "mark", "kind", "text"))
        for a in answers:
            if any(call.is_right is False for call in a.calls):
                rows.writerow(("wrong", a.asked.domain, a.asked.mark, a.asked.kind, a.asked.text))
            elif a.asked.mark == "=" and a.verdict == "new":
                rows.writerow(("lost", a.asked.domain, a.asked.mark, a.asked.kind, a.asked.text))


if __name__ == "__main__":
    main()
