"""The gate by value: figures, intervals, and what it says of challengers whose worth is known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, precision_recall_curve
from typer.testing import CliRunner

from app.engine.release import Release
from app.errors import ReleaseRefused
from tests.training.generated import generated_pairs, write_pairs
from training import paired_figures
from training.cli import cli
from training.gate import judge
from training.paired_figures import EvaluationSet, Measurement, PairedProbabilities, measure
from training.progress_writer import ProgressWriter

MARGIN = 0.005
SILENT = ProgressWriter()
LABELS = EvaluationSet("labels", (), growth=5.0)
ELSEWHERE = EvaluationSet("elsewhere", (), elsewhere=True)


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired_figures, "RESAMPLES", 400)


def scored(pairs: int, gain: float, seed: int = 0, *, like: float = 0.9) -> PairedProbabilities:
    """Two releases whose log odds go together and tell the classes apart well; the challenger by `gain` better."""
    chances = np.random.default_rng(seed)
    labels = chances.uniform(size=pairs) < 0.4
    both, one, other = chances.normal(size=(3, pairs))

    def said(own: np.ndarray, apart: float) -> np.ndarray:
        evidence = np.sqrt(like) * both + np.sqrt(1 - like) * own + apart * (labels - 0.5)
        return np.asarray(1 / (1 + np.exp(-(apart * evidence + np.log(0.4 / 0.6)))))

    return PairedProbabilities(said(one, 2.0), said(other, 2.0 + gain), labels, np.arange(pairs))


def measured(asked: EvaluationSet, pairs: PairedProbabilities) -> Measurement:
    return measure(asked, pairs, 0.90, SILENT)


# Figures


def test_figures_are_those_of_scikit_learn_and_weights_repeat_pairs() -> None:
    chances = np.random.default_rng(3)
    labels = chances.uniform(size=200) < 0.4
    said = np.asarray(
        np.round(labels * 0.3 + chances.uniform(size=200) * 0.7, 2), np.float64
    )  # many are equal
    weights = chances.integers(0, 3, size=(2, 200)).astype(float)
    found = paired_figures._figures(said, labels, weights, 0.8)
    for row, times in enumerate(weights.astype(int)):
        many, of = np.repeat(said, times), np.repeat(labels, times)
        precision, recall, _ = precision_recall_curve(of, many)
        assert found["average_precision"][row] == pytest.approx(average_precision_score(of, many))
        assert found["recall_at_precision"][row] == pytest.approx(recall[precision >= 0.8].max())
        assert found["calibration"][row] == pytest.approx(brier_score_loss(of, many))


def test_a_release_does_not_differ_from_itself() -> None:
    same = scored(300, 0.0)
    found = measured(LABELS, replace(same, challenger=same.champion))
    assert {(f.difference, f.interval) for f in found.figures.values()} == {(0.0, (0.0, 0.0))}


def test_less_of_the_brier_score_is_a_gain() -> None:
    found = measured(LABELS, scored(2000, 0.5)).figures["calibration"]
    assert found.challenger < found.champion
    assert found.difference == pytest.approx(found.champion - found.challenger)
    assert found.interval[0] < found.difference < found.interval[1]


def test_pairs_of_one_component_are_drawn_together() -> None:
    pairs = scored(900, 0.0)
    tied = replace(
        pairs,
        **{name: np.repeat(getattr(pairs, name)[:90], 10) for name in ("champion", "challenger")},
    )
    tied = replace(tied, labels=np.repeat(pairs.labels[:90], 10))

    def width(of: np.ndarray) -> float:
        low, high = (
            measured(LABELS, replace(tied, components=of)).figures["average_precision"].interval
        )
        return high - low

    assert width(np.repeat(np.arange(90), 10)) > 2 * width(np.arange(900))


# The rule


def test_a_challenger_that_is_better_passes_and_one_that_is_worse_fails() -> None:
    better, worse = scored(4000, 0.3), scored(4000, -0.3)
    passed, failed = (judge([measured(LABELS, pairs)], MARGIN) for pairs in (better, worse))
    assert (passed.outcome, failed.outcome) == ("passed", "failed")
    assert passed.reasons[0].startswith("labels, average precision: 0.")
    assert "worse by more than 0.005" in failed.reasons[0]
    assert passed.more_labels is failed.more_labels is None


def test_a_wide_interval_is_no_pass_and_the_labels_asked_for_make_one() -> None:
    few = scored(150, 0.2, seed=1)
    found = measured(LABELS, few)
    assert found.figures["average_precision"].difference > 0
    verdict = judge([found], MARGIN)
    assert verdict.outcome == "not enough evidence"
    assert verdict.more_labels
    times = 2 + round(verdict.more_labels.pairs / 5 / 150)  # as large, and what is asked for
    more = PairedProbabilities(
        np.tile(few.champion, times),
        np.tile(few.challenger, times),
        np.tile(few.labels, times),
        np.arange(150 * times),
    )
    assert judge([measured(LABELS, more)], MARGIN).outcome == "passed"
    fewer = replace(
        found, figures={name: replace(f, difference=-0.1) for name, f in found.figures.items()}
    )
    assert judge([fewer], MARGIN).more_labels is None  # no number of labels would do


def test_a_wide_interval_on_one_set_withholds_the_pass_that_another_earns() -> None:
    verdict = judge(
        [
            measured(LABELS, scored(4000, 0.3)),
            measured(EvaluationSet("report", ()), scored(150, 0.2, seed=1)),
        ],
        MARGIN,
    )
    assert verdict.outcome == "not enough evidence"
    assert verdict.reasons[0].startswith("report, average precision")
    assert "may be worse by more than 0.005" in verdict.reasons[0]
    assert verdict.more_labels is None  # it is not of labels that the evidence lacks


def test_labels_are_asked_for_by_the_square_of_what_an_interval_must_narrow() -> None:
    found = measured(LABELS, scored(150, 0.2, seed=1))
    wide = replace(found.figures["calibration"], difference=0.01, interval=(-0.02, 0.04))
    found = replace(
        found, figures={**found.figures, "average_precision": wide, "calibration": wide}
    )
    more = judge([found], MARGIN).more_labels
    assert more
    assert (
        more.pairs == (3**2 - 1) * 150 * 5
    )  # from 0.03 to 0.01, of which one in five is measured on


def test_releases_that_hardly_differ_have_nothing_to_gain() -> None:
    verdict = judge([measured(LABELS, scored(6000, 0.0, like=0.999))], MARGIN)
    assert verdict.outcome == "failed"
    assert "nothing to gain" in verdict.reasons[0]


def test_a_gain_that_is_certain_and_within_the_margin_is_nothing_to_gain() -> None:
    found = measured(LABELS, scored(150, 0.2, seed=1))
    within = {
        name: replace(figure, difference=0.001, interval=(0.0005, 0.0015))
        for name, figure in found.figures.items()
    }
    verdict = judge([replace(found, figures=within)], MARGIN)
    assert verdict.outcome == "failed"
    assert "nothing to gain" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("duplicates", "different", "wanting"),
    [(3, 40, "duplicates"), (40, 3, "different"), (2, 2, "both"), (0, 0, "both")],
)
def test_sets_with_few_pairs_of_a_class_have_no_figures_and_say_what_they_lack(
    duplicates: int, different: int, wanting: str
) -> None:
    labels = np.repeat([True, False], [duplicates, different])
    said = np.linspace(0, 1, len(labels))
    found = measured(LABELS, PairedProbabilities(said, said, labels, np.arange(len(labels))))
    verdict = judge([found, measured(EvaluationSet("report", ()), scored(4000, 0.3))], MARGIN)
    assert found.figures == {}
    assert verdict.outcome == "not enough evidence"
    assert verdict.more_labels
    assert verdict.more_labels.of == wanting
    assert "too few" in verdict.reasons[0]


def test_the_rarer_class_is_asked_for() -> None:
    pairs = scored(4000, 0.1)
    duplicates = np.flatnonzero(pairs.labels)[:40]
    rows = np.concatenate([duplicates, np.flatnonzero(~pairs.labels)])
    rare = PairedProbabilities(
        pairs.champion[rows], pairs.challenger[rows], pairs.labels[rows], np.arange(len(rows))
    )
    assert measured(LABELS, rare).wanting == "duplicates"


def test_harm_elsewhere_fails_and_its_look_alone_withholds_the_pass() -> None:
    better = measured(LABELS, scored(4000, 0.3))
    assert judge([better, measured(ELSEWHERE, scored(480, 0.0))], MARGIN).outcome == "passed"
    assert judge([better, measured(ELSEWHERE, scored(2000, -0.5))], MARGIN).outcome == "failed"
    unclear = measured(ELSEWHERE, scored(480, 0.0))
    recall = replace(unclear.figures["recall_at_precision"], difference=-0.06, interval=(-0.2, 0.1))
    verdict = judge(
        [better, replace(unclear, figures={**unclear.figures, "recall_at_precision": recall})],
        MARGIN,
    )
    assert verdict.outcome == "not enough evidence"
    assert "looks worse by more than 0.05" in verdict.reasons[0]


# The command


def test_the_command_holds_two_releases_against_each_other(
    tiny_release: Release, tmp_path: Path
) -> None:
    pairs, other = (write_pairs(tmp_path / f"{i}.tsv", generated_pairs(60, seed=i)) for i in (1, 2))
    arguments = [
        "--champion",
        tiny_release.path,
        "--challenger",
        tiny_release.path,
        "--pairs",
        pairs,
    ]
    command = ["gate", *map(str, arguments), "--elsewhere", str(other), "--device", "cpu"]
    printed = CliRunner().invoke(cli, [*command, "--json"], catch_exceptions=False).stdout
    verdict = json.loads(printed[printed.index("{") :])
    assert verdict["outcome"] == "failed"
    assert "nothing to gain" in verdict["reasons"][0]
    assert [
        (one["name"].split("/")[1], one["pairs"], one["components"]) for one in verdict["sets"]
    ] == [
        ("1.tsv", 60, 60),
        ("2.tsv", 60, 60),
    ]
    assert verdict["sets"][0]["figures"]["calibration"]["interval"] == [0.0, 0.0]
    assert "failed\n" in CliRunner().invoke(cli, command, catch_exceptions=False).stdout
    (tmp_path / "damaged").mkdir()
    with pytest.raises(ReleaseRefused, match="manifest"):
        CliRunner().invoke(
            cli,
            ["gate", "--champion", str(tmp_path / "damaged"), *command[3:]],
            catch_exceptions=False,
        )
