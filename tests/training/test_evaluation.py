"""Figures by value, against a few lines of NumPy and hand-counted cases."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, matthews_corrcoef

from app.engine.models.encoder import Encoder
from app.engine.models.opening import open_models
from app.engine.scorer import Calibration
from tests.conftest import publish_release
from tests.tiny_model import build_tiny_classifier
from training.evaluation import Evidence, evaluate, figures_of, read_evidence
from training.figures import calibrated, expected_calibration_error, ranking
from training.gate import probabilities
from training.pairs import LabelledPair
from training.progress_writer import ProgressWriter
from training.retrieval import mining, retrieval

SCORES = np.array([0.9, 0.8, 0.8, 0.4, 0.3, 0.1])
LABELS = np.array([True, True, False, True, False, False])


def test_ranking_by_hand() -> None:
    found = ranking(SCORES, LABELS)
    assert found["average_precision"] == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3 + 1 / 3 * 3 / 4)
    assert found["best_f1"] == pytest.approx(2 * 3 / (4 + 3))  # from 0.4 up
    assert found["accuracy"] == pytest.approx(5 / 6)  # from 0.4 up: one false, none missed
    assert found["mcc"] == pytest.approx(matthews_corrcoef(LABELS, SCORES >= 0.4))
    assert found["recall_at_precision"] == {
        "0.90": pytest.approx(1 / 3),
        "0.95": pytest.approx(1 / 3),
        "0.98": 1 / 3,
    }


def test_accuracy_may_be_that_of_calling_nothing_a_duplicate() -> None:
    assert ranking(np.array([0.9, 0.2, 0.1]), np.array([False, False, True]))[
        "accuracy"
    ] == pytest.approx(2 / 3)


def test_probabilities_are_measured_by_value() -> None:
    found = calibrated(np.array([0.8, 0.4]), np.array([True, False]))
    assert found["log_loss"] == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)
    assert found["brier"] == pytest.approx((0.2**2 + 0.4**2) / 2)


def test_calibration_error_of_bins_of_equal_mass() -> None:
    probabilities = np.repeat([0.2, 0.7], 50)
    labels = np.concatenate([np.arange(50) < 20, np.arange(50) < 35])  # 0.4 and 0.7 of them
    assert expected_calibration_error(probabilities, labels, bins=2) == pytest.approx(0.5 * 0.2)


def test_intervals_hold_the_figure_and_narrow_with_the_pairs() -> None:
    chances = np.random.default_rng(0)

    certain = Calibration([1.0], 0.0)

    def width(pairs: int) -> float:
        labels = chances.uniform(size=pairs) < 0.4
        scores = (labels + chances.normal(size=pairs)).astype(np.float32)
        found = figures_of(Evidence(scores, None, labels, np.arange(pairs)), certain)
        low, high = found["intervals"]["similarity"]["average_precision"]
        assert low < average_precision_score(labels, scores) < high
        return float(high - low)

    assert width(3000) < width(300) / 2


def test_retrieval_finds_the_duplicate_among_the_corpus(tiny_encoder: Encoder) -> None:
    pairs = [
        LabelledPair("aaaa bbbb", "aaaa bbbb cc", True),
        LabelledPair("zzzz yyyy", "qqqq wwww", False),
    ]
    found = retrieval(tiny_encoder, pairs, ["xkcd 1234", "9999 ++++"])
    assert (found["queries"], found["corpus"]) == (2, 6)
    assert found["ndcg@10"] == found["mrr@10"] == found["recall@10"] == 1.0


def test_mining_ranks_the_labelled_duplicates_among_all_pairs(tiny_encoder: Encoder) -> None:
    texts = ["aaaa bbbb", "aaaa bbbb cc", "zzzz yyyy", "qqqq wwww", "zz yyyy qq"]
    pairs = [LabelledPair(texts[0], texts[1], True), LabelledPair(texts[2], texts[3], True)]
    pairs += [LabelledPair(texts[3], texts[4], False)]
    vectors = tiny_encoder.encode(texts)
    ranked = sorted(
        (
            (float(vectors[i] @ vectors[j]), (i, j) in {(0, 1), (2, 3)})
            for i in range(5)
            for j in range(i + 1, 5)
        ),
        reverse=True,
    )
    places = [place for place, (_, duplicate) in enumerate(ranked, 1) if duplicate]
    assert mining(tiny_encoder, pairs) == {
        "average_precision": pytest.approx((1 / places[0] + 2 / places[1]) / 2),
        "best_f1": pytest.approx(
            max(2 * hits / (place + 2) for hits, place in enumerate(places, 1))
        ),
    }


def test_a_pair_that_the_service_leaves_unread_is_called_as_it_calls_it(
    tiny_model: Path, tmp_path: Path
) -> None:
    """A classifier that would say `duplicate` of a far pair has no word in its verdict, nor in the gate's figures."""
    classifier = build_tiny_classifier(tiny_model, tmp_path / "classifier")
    made = publish_release(
        tmp_path / "made", tiny_model, 32, classifier=classifier, duplicate_from=0.6
    )
    same = {"ae", "bf", "cg", "dh", "ah", "ce"}
    pairs = [
        LabelledPair(f"aaaa {a}{a} bbbb", f"bbbb {b}{b} aaaa", a + b in same)
        for a in "abcd"
        for b in "efgh"
    ]
    encoder, reader = open_models(made, "cpu")
    evidence = read_evidence(encoder, reader, pairs)
    assert evidence.logits is not None
    middle = float(np.median(evidence.similarities))
    release = replace(made, open_from=middle)
    is_read = evidence.similarities >= middle
    far = [pair for pair, near in zip(pairs, is_read, strict=True) if not near]
    assert evaluate(made, far, device="cpu")["verdicts"]["all"]["duplicate"] > 0
    assert evaluate(release, far, device="cpu")["verdicts"]["all"]["duplicate"] == 0
    expected = np.where(
        is_read,
        1 / (1 + np.exp(-evidence.logits)),
        1 / (1 + np.exp(90 - 100 * evidence.similarities)),
    )
    (given,) = probabilities(release, [pairs], "cpu", ProgressWriter())
    np.testing.assert_allclose(given, expected, atol=1e-4)
