"""Models in; calibrations and thresholds that hold for strangers, fitted to served pairs, out.

Each question of a side of the written clusters is stored among those of other domains, and all the rest is asked.
"""

import random
from pathlib import Path

import numpy as np

from app.engine.files import sha256
from app.engine.models.encoder import Encoder
from app.engine.models.pair_classifier import PairClassifier
from app.engine.verdicts import capped
from training.build import Scales
from training.calibration import open_from
from training.progress_writer import ProgressWriter
from training.served import serve
from training.slices import in_slices
from training.strangers import Answers, fit_for_strangers, promises, verdict_shares
from training.written import ACROSS, WRITTEN, Side, read_clusters

SEED = 20
LOGIT_LIMIT = 6.0  # a classifier of many domains may be surer than one of a single site
OTHERS = 10_000  # texts of other domains, among which questions are stored
TARGET = "0.90"  # of which the card tells how it held


def scales_for_strangers(
    encoder: Encoder,
    classifier: PairClassifier | None,
    progress: ProgressWriter,
    *,
    work: Path,
    sources: str,
) -> Scales:
    """Calibrations and thresholds by the calibration side, as served, and how they held on the report side."""
    assert classifier
    answers = served_answers("calibration", encoder, classifier, work, progress)
    by_similarity = fit_for_strangers(_by(answers, 1), [None])
    by_pair = fit_for_strangers(answers, [None, LOGIT_LIMIT])
    reported = served_answers("report", encoder, classifier, work, progress)
    shares = {
        "calibration": verdict_shares(by_pair.calibration, by_pair.thresholds, TARGET, answers),
        "report": verdict_shares(by_pair.calibration, by_pair.thresholds, TARGET, reported),
    }
    probabilities = by_pair.calibration.probability(*reported.features)
    duplicate_from = by_pair.thresholds.duplicate[TARGET].probability
    is_called = probabilities >= (2.0 if duplicate_from is None else duplicate_from)
    called = is_called & ~reported.is_capped
    kept = promises(called, reported.labels, reported.domains)
    table = "\n".join(
        f"| {one.domain} | {one.duplicates} | {one.called} | {one.wrong} |"
        f" {'' if one.precision is None else f'{one.precision:.3f}'} |"
        for one in kept
    )
    section = (
        f"## How the promise held\n\nAs served, on the side `report`, which nothing was fitted on: the pairs called"
        f" `duplicate` at target precision {TARGET}.\n\n| domain | duplicates found | called | wrong | precision |\n"
        f"|---|---|---|---|---|\n{table}"
    )
    return Scales(
        by_similarity,
        by_pair,
        open_from(answers.features[0], answers.labels),
        sections=[section, sources],
        metrics={"served": shares},
    )


def served_answers(
    side: Side, encoder: Encoder, classifier: PairClassifier, work: Path, progress: ProgressWriter
) -> Answers:
    """The models' scores of all that a side asks; kept in `work`, so that a kill costs no more than one side."""
    file = work / f"served-{side}.npz"
    if not _is_whole(file):
        served = serve(encoder, read_clusters(side), other_questions(), progress)
        logits = in_slices(classifier.score, served.pairs, progress)
        aside = file.with_name(f".{file.name}")
        np.savez(
            aside,
            similarities=served.similarities,
            logits=logits,
            labels=served.labels,
            domains=served.domains,
            rows=served.rows,
            has_duplicate=served.has_duplicate,
            is_capped=capped(served.pairs),
            across=sha256(WRITTEN / ACROSS),
        )
        aside.replace(file)
    with np.load(file) as kept:
        features = [kept["similarities"], kept["logits"]]
        return Answers(
            features,
            kept["labels"],
            kept["domains"],
            kept["rows"],
            kept["has_duplicate"],
            kept["is_capped"],
        )


def _is_whole(file: Path) -> bool:
    """Whether the file is there, with all that this version keeps in it, by the labels as they are."""
    if not file.exists():
        return False
    with np.load(file) as kept:
        return "across" in kept.files and str(kept["across"]) == sha256(WRITTEN / ACROSS)


def other_questions() -> list[str]:
    """Texts of the domains that are learnt from, drawn by the seed, to store others among."""
    texts = []
    for cluster in read_clusters("train"):
        texts += [*cluster.same, *(near.text for near in cluster.near_misses)]
    return random.Random(SEED).sample(texts, OTHERS)


def _by(answers: Answers, features: int) -> Answers:
    """The same answers by the first features alone."""
    return Answers(
        answers.features[:features],
        answers.labels,
        answers.domains,
        answers.rows,
        answers.has_duplicate,
        answers.is_capped,
    )
