"""How often the gate lets challengers through: some no better than the champion, some worse, some truly better.

    python benchmarks/gate.py --keep DIR --json

For each seed a champion is trained, and challengers by the same pipeline: with another seed alone, with a tenth of the
labels turned round, with half the pairs, and with more of them (truly better, by about two points). The models are
tiny, the pairs made from templates. Each challenger is judged on evaluation sets of several sizes, which stand for the
labels' and the release's own. It is also judged on 480 pairs of words that no model has learnt; how much better it is
in truth is told by pairs that the gate doesn't see. The answers of each release are kept in the folder, so that the
command goes on where it was stopped.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from transformers.utils.logging import disable_progress_bar

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.corpus import say, show
from tests.tiny_model import PIECES, build_tiny_model
from tests.training.generated import ACTIONS, NEGATION, OBJECTS, PLACES, WORDS
from training import figures
from training.build import Source
from training.fit import fit
from training.gate import MARGIN, judge, probabilities
from training.objectives import ObjectiveName
from training.paired_figures import EvaluationSet, PairedProbabilities, measure
from training.pairs import LabelledPair
from training.plan import Plan, Steps
from training.progress_writer import ProgressWriter
from training.train import Options

KINDS = (
    *(
        "old",
        "new",
        "shared",
        "private",
        "blue",
        "large",
        "second",
        "last",
        "secret",
        "broken",
        "monthly",
        "foreign",
    ),
    *("paper", "digital", "printed", "hidden", "missing", "empty", "signed", "urgent"),
)
TEMPLATES = (
    "how do i {} my {} {} {}",
    "what is the way to {} the {} {} {}",
    "i want to {} a {} {} {} but how",
    "can you tell me how to {} one {} {} {}",
)
HOME = (ACTIONS, KINDS, OBJECTS, PLACES)
ABROAD = (
    ("boil", "peel", "roast", "serve", "freeze", "season"),
    ("ripe", "sour", "tender", "raw", "green", "smoked"),
    ("onion", "lentil", "salmon", "pumpkin", "dumpling", "pancake", "noodle", "cabbage"),
    ("for a crowd", "over a fire", "in a small pot", "without salt", "the day before"),
)
PAIRS, MORE = 600, 800  # that a champion learns from; that a truly better challenger learns from
TUNE, JUDGED, TRUTH, ELSEWHERE = 300, 4000, 4000, 480
SIZES = (250, 500, 1000, 2000)  # pairs of each of the two evaluation sets
CHALLENGERS = ("seed", "flipped", "half", "better")
FLIPPED = 0.1
NOISE = 0.06  # of all labels, those that the gate sees too
OPTIONS = Options(learning_rate=5e-3, epochs=2, batch_size=32, device="cpu")
TARGET = 0.90


def main() -> None:
    """Train what is not there yet, then judge it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--keep", type=Path, help="folder for what the releases say")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    disable_progress_bar()
    figures.RESAMPLES = 2  # of the releases' own cards, which nobody reads here
    with TemporaryDirectory() as folder:
        said = arguments.keep or Path(folder)
        said.mkdir(parents=True, exist_ok=True)
        seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
        for seed in seeds:
            release_all(Drawn.of(seed), seed, said)
        show({str(size): judged(seeds, size, said) for size in SIZES}, as_json=arguments.json)


@dataclass(frozen=True)
class Drawn:
    """The pairs of one seed; no question stands in two of these."""

    learnt: Sequence[LabelledPair]
    tune: Sequence[LabelledPair]
    judged: Sequence[LabelledPair]  # the evaluation sets are cut from these
    truth: Sequence[LabelledPair]
    elsewhere: Sequence[LabelledPair]

    @classmethod
    def of(cls, seed: int) -> "Drawn":
        pairs = made(HOME, MORE + TUNE + JUDGED + TRUTH, seed)
        ends = np.cumsum([MORE, TUNE, JUDGED])
        learnt, tune, held, truth = (
            pairs[a:b] for a, b in zip([0, *ends], [*ends, None], strict=True)
        )
        return cls(learnt, tune, held, truth, made(ABROAD, ELSEWHERE, seed))

    @property
    def asked(self) -> list[LabelledPair]:
        """All that a release is asked about, in one list."""
        return [*self.judged, *self.truth, *self.elsewhere]


def made(slots: Sequence[Sequence[str]], count: int, seed: int) -> list[LabelledPair]:
    """Pairs in two templates: half for the same request, half for its negation or with another word in one place; a
    few are labelled wrong, as people do."""
    chances = random.Random(seed)
    found: list[LabelledPair] = []
    used: set[str] = set()
    while len(found) < count:
        request = [chances.choice(words) for words in slots]
        first, second = chances.sample(TEMPLATES, 2)
        other = list(request)
        if len(found) % 2 == 0:
            place = chances.randrange(6)
            other[place % 4] = (
                chances.choice(slots[place]) if place < 4 else f"{NEGATION} {request[place % 4]}"
            )
        one, two = first.format(*request), second.format(*other)
        if (other == request) == bool(len(found) % 2) and not {one, two} & used:
            used |= {one, two}
            found.append(LabelledPair(one, two, (other == request) ^ (chances.random() < NOISE)))
    return found


def flipped(pairs: Sequence[LabelledPair], seed: int) -> list[LabelledPair]:
    """A tenth of the labels turned round."""
    turned = set(random.Random(seed).sample(range(len(pairs)), round(FLIPPED * len(pairs))))
    return [replace(p, is_duplicate=p.is_duplicate ^ (i in turned)) for i, p in enumerate(pairs)]


def release_all(drawn: Drawn, seed: int, said: Path) -> None:
    """Make the answers of a seed's champion and challengers, where they aren't there yet."""
    learnt = drawn.learnt[:PAIRS]
    recipes = {
        "champion": (learnt, drawn.tune),
        "seed": (learnt, drawn.tune),
        "flipped": (flipped(learnt, seed), flipped(drawn.tune, seed)),
        "half": (learnt[: PAIRS // 2], drawn.tune),
        "better": (drawn.learnt, drawn.tune),
    }
    for number, (kind, (pairs, tune)) in enumerate(recipes.items()):
        file = said / f"{seed}-{kind}.npy"
        if not file.exists():
            say(f"seed {seed}: {kind}")
            aside = file.with_suffix(".part.npy")
            np.save(aside, spoken(pairs, tune, drawn.asked, 10 * seed + number))
            aside.rename(file)


def spoken(
    pairs: Sequence[LabelledPair],
    tune: Sequence[LabelledPair],
    asked: Sequence[LabelledPair],
    seed: int,
) -> Any:
    """P(duplicate) of the asked pairs, float64, by a release that learnt from the pairs."""
    with TemporaryDirectory() as folder:
        base = build_tiny_model(Path(folder) / "base", pieces=[*PIECES, *sorted({*WORDS, *KINDS})])
        steps = Steps([ObjectiveName.JOINT], str(base), options=replace(OPTIONS, seed=seed))
        plan = Plan(steps, Source("pairs", pairs), Source("tune", tune), [])
        with redirect_stdout(sys.stderr):  # what the trainer logs
            release = fit(plan, Path(folder) / "release")
        if release is None:
            raise SystemExit("run this in one process")
        return probabilities(release, [asked], "cpu", ProgressWriter())[0]


def judged(seeds: Sequence[int], size: int, said: Path) -> dict[str, Any]:
    """For each kind of challenger, how often the gate gives each outcome, and how much better it truly is."""
    found: dict[str, Any] = {}
    for kind in CHALLENGERS:
        outcomes, gains, by_all = zip(*(one(seed, kind, size, said) for seed in seeds), strict=True)
        counts = {
            outcome: outcomes.count(outcome)
            for outcome in ("passed", "not enough evidence", "failed")
        }
        passed = [
            gain for outcome, gain in zip(outcomes, gains, strict=True) if outcome == "passed"
        ]
        found[kind] = {
            **counts,
            "would_pass_if_every_figure_decided": sum(by_all),
            "true_gain": {
                "mean": round(float(np.mean(gains)), 4),
                "least": min(gains),
                "most": max(gains),
            },
            "least_true_gain_passed": min(passed, default=None),
        }
    return found


@cache
def labelled(seed: int) -> NDArray[np.bool_]:
    """The labels of all that the releases of a seed are asked about."""
    return np.array([pair.is_duplicate for pair in Drawn.of(seed).asked])


def one(seed: int, kind: str, size: int, said: Path) -> tuple[str, float, bool]:
    """The gate's outcome, the true gain in average precision, and whether it would pass if every figure decided."""
    labels = labelled(seed)
    champion, challenger = (np.load(said / f"{seed}-{name}.npy") for name in ("champion", kind))
    truth, elsewhere = slice(JUDGED, JUDGED + TRUTH), slice(JUDGED + TRUTH, None)
    gain = average_precision_score(labels[truth], challenger[truth]) - average_precision_score(
        labels[truth], champion[truth]
    )
    sets = {
        EvaluationSet("labels", (), growth=5.0): slice(0, size),
        EvaluationSet("report", ()): slice(JUDGED // 2, JUDGED // 2 + size),
        EvaluationSet("elsewhere", (), elsewhere=True): elsewhere,
    }
    found = [
        measure(
            asked,
            PairedProbabilities(
                champion[rows], challenger[rows], labels[rows], np.arange(len(labels[rows]))
            ),
            TARGET,
            ProgressWriter(),
        )
        for asked, rows in sets.items()
    ]
    lows = [figure.interval[0] for of in found for figure in of.figures.values()]
    return (
        judge(found, MARGIN).outcome,
        round(float(gain), 4),
        min(lows) > -MARGIN and max(lows) > 0,
    )


if __name__ == "__main__":
    main()
