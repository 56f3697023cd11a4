"""Each objective over the same pairs: ranking of held-out pairs, finding, time.

    python benchmarks/objectives.py --pairs train.tsv.gz --tune-pairs dev_fit.tsv.gz --report-pairs dev_report.tsv.gz \
        --limit 20000 --keep DIR --json

Each is trained with its own settings, for one epoch over the same pairs drawn by the seed. It is measured on the
report pairs by what it trains: a bi-encoder by similarity, a pair classifier by its probability, which joins the
similarity of
the base. Finding is measured among the questions of the report pairs and of `--corpus`. all-MiniLM-L6-v2 was trained on
a part of Quora's duplicates: say so beside figures on them.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from app.engine.release import Release
from training.build import Recipe, Source, make_release
from training.evaluation import evaluate
from training.fit import fit
from training.objectives import ObjectiveName
from training.pairs import cleaned, read_pairs
from training.plan import Plan, Steps
from training.splits import apart

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.corpus import read_questions, say, show

OBJECTIVES = [name for name in ObjectiveName if not name.startswith("distill")]


def main() -> None:
    """The base as it is, then each objective."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("--pairs", "--tune-pairs", "--report-pairs"):
        parser.add_argument(
            name, type=Path, required=True, help="file with question1, question2 and is_duplicate"
        )
    parser.add_argument(
        "--corpus", nargs="*", type=Path, default=[], help="further questions to find among"
    )
    parser.add_argument("--base", default="all-MiniLM-L6-v2")
    parser.add_argument("--limit", type=int, help="learn from so many pairs")
    parser.add_argument("--objectives", nargs="+", choices=OBJECTIVES, default=OBJECTIVES)
    parser.add_argument(
        "--keep", type=Path, help="folder for the releases; those that are there are measured anew"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    tune, reported = (
        Source(path.name, cleaned(read_pairs(path))[0])
        for path in (arguments.tune_pairs, arguments.report_pairs)
    )
    pairs = apart(cleaned(read_pairs(arguments.pairs))[0], tune.pairs, reported.pairs)
    steps = Steps([], arguments.base)
    learnt = Source(arguments.pairs.name, pairs)
    plan = Plan(steps, learnt, tune, [], limit=arguments.limit)
    corpus = read_questions([arguments.report_pairs, *arguments.corpus], None)
    with TemporaryDirectory() as folder:
        made = arguments.keep or Path(folder)
        figures = {"base": measured(base(plan, made / "base"), reported, corpus)}
        for name in arguments.objectives:
            say(str(name))
            start = perf_counter()
            release = trained(replace(plan, steps=replace(steps, objectives=[name])), made / name)
            seconds = perf_counter() - start
            figures[name] = {**measured(release, reported, corpus), "seconds": round(seconds)}
    show(figures, as_json=arguments.json)


def base(plan: Plan, out: Path) -> Release:
    """The base as it is, calibrated."""
    return (
        Release.open(out)
        if out.exists()
        else make_release(Recipe(plan.steps.base, plan.tune, []), out)
    )


def trained(plan: Plan, out: Path) -> Release:
    """The release of the plan, made now or before."""
    release = Release.open(out) if out.exists() else fit(plan, out)
    if release is None:
        raise SystemExit("run this in one process")
    return release


def measured(release: Release, reported: Source, corpus: list[str]) -> dict[str, Any]:
    """Average precision, best F1 and accuracy of what was trained; nDCG@10 of a bi-encoder."""
    found = evaluate(release, reported.pairs, corpus=corpus if release.by_pair is None else None)
    ranking = found["probability" if release.by_pair else "similarity"]
    kept = {name: round(ranking[name], 4) for name in ("average_precision", "best_f1", "accuracy")}
    return {
        **kept,
        **({"ndcg@10": round(found["retrieval"]["ndcg@10"], 4)} if "retrieval" in found else {}),
    }


if __name__ == "__main__":
    main()
