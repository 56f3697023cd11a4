"""Every objective, from pairs to a release that serves: the loss falls and held-out pairs are ranked better."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.engine.models.opening import open_models
from app.engine.release import CLASSIFIER, DIFFERENCE, ENCODER, Release
from app.errors import CommandError, ModelRefused, ReleaseRefused
from app.main import create_app
from app.settings import Settings
from tests.conftest import publish_release, wait_until_ready
from tests.tiny_model import PIECES, build_tiny_classifier, build_tiny_model
from tests.training.generated import WORDS, generated_pairs, write_pairs
from training import figures
from training import fit as training_fit
from training.augmentation import augmented
from training.card import HISTORY, curves
from training.cli import cli
from training.evaluation import evaluate
from training.fit import JUDGED
from training.objectives import OBJECTIVES, ObjectiveName
from training.pairs import COLUMNS, LabelledPair, read_pairs, texts_of
from training.teacher import kept
from training.train import EVALUATIONS_PER_EPOCH, averaged

PAIRS = 2000
HELD_OUT = 300
COMMON = ("--device", "cpu", "--learning-rate", "5e-3", "--epochs", "2", "--seed", "1")

CHECKED = [name for name in ObjectiveName if not name.startswith("distill")]


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    """Intervals are not looked at here, and take most of the time that a small model takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "RESAMPLES", 10)
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT that knows the words of the pairs, untrained."""
    return build_tiny_model(tmp_path_factory.mktemp("base") / "tiny", pieces=[*PIECES, *WORDS])


@pytest.fixture(scope="module")
def held_out() -> list[LabelledPair]:
    return generated_pairs(PAIRS + HELD_OUT)[PAIRS:]


@pytest.fixture(scope="module")
def pairs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(
        tmp_path_factory.mktemp("pairs") / "pairs.tsv", generated_pairs(PAIRS + HELD_OUT)[:PAIRS]
    )


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory, base: Path, pairs_file: Path) -> Release:
    """The base as it is, calibrated."""
    out = tmp_path_factory.mktemp("untrained") / "untrained"
    run("calibrate", "--base", base, "--pairs", pairs_file, "--out", out, "--device", "cpu")
    return Release.open(out)


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory, base: Path, pairs_file: Path) -> Release:
    """A release with a pair classifier, as small differences from the base."""
    out = tmp_path_factory.mktemp("classified") / "classified"
    fit(pairs_file, base, out, "joint", "cross-encoder", "--bits", 3)
    return Release.open(out)


def run(*arguments: object) -> str:
    """`python -m training …` in this process; what it prints."""
    result = CliRunner().invoke(
        cli, [str(argument) for argument in arguments], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.output


def fit(pairs: Path, base: Path, out: Path, *rest: object) -> Release:
    """`fit` for the objectives that come first in `rest`, with the options that follow."""
    names = [argument for argument in rest if argument in list(ObjectiveName)]
    options = [argument for argument in rest if argument not in names]
    objectives = [part for name in names for part in ("--objective", name)]
    run("fit", *objectives, "--pairs", pairs, "--base", base, "--out", out, *COMMON, *options)
    return Release.open(out)


def average_precision(release: Release, pairs: list[LabelledPair]) -> float:
    """Of the probability, which is the classifier's where there is one."""
    return float(evaluate(release, pairs, device="cpu")["probability"]["average_precision"])


def scores(release: Release, folder: Path) -> list[float]:
    """What the running service says of a duplicate and of another pair."""
    body = {
        "pairs": [
            {
                "question1": "how do i reset my password at work",
                "question2": "what is the way to reset the password at work",
            },
            {
                "question1": "how do i reset my password at work",
                "question2": "what is the way to not reset the password at work",
            },
        ]
    }
    with TestClient(
        create_app(Settings(data_dir=folder, release=release.path, device="cpu"))
    ) as client:
        wait_until_ready(client)
        return [
            score["probability"] for score in client.post("/pair-score", json=body).json()["scores"]
        ]


@pytest.mark.parametrize("objective", CHECKED)
def test_an_objective_learns_and_its_release_serves(
    objective: ObjectiveName,
    base: Path,
    pairs_file: Path,
    held_out: list[LabelledPair],
    untrained: Release,
    tmp_path: Path,
) -> None:
    release = fit(pairs_file, base, tmp_path / "mine", objective)
    (history,) = (tmp_path / ".mine.training").glob(f"0-*/{HISTORY}")
    losses = [loss for _, loss in curves(history)["loss"]]
    assert sum(losses[-3:]) < sum(losses[:3])
    assert average_precision(release, held_out) > average_precision(untrained, held_out) + 0.05
    same, other = scores(release, tmp_path / "data")
    assert same > other
    part = OBJECTIVES[objective].part
    assert list(release.manifest["training"]) == [part]
    assert ("keep" in release.manifest["training"][part][objective]) == (part == ENCODER)
    assert (release.by_pair is not None) == (part == CLASSIFIER)


@pytest.mark.slow
def test_a_teacher_is_distilled_into_both_parts(
    base: Path,
    pairs_file: Path,
    held_out: list[LabelledPair],
    untrained: Release,
    classified: Release,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is asked once, and not again when the training goes on; pairs made by rule are the classifier's alone."""
    asked = (ObjectiveName.DISTILL_CLASSIFIER, ObjectiveName.DISTILL_ENCODER)
    options = ("--teacher", classified.path, "--mine", 500, "--augment", 0.1)
    release = fit(pairs_file, base, tmp_path / "mine", *asked, *options)
    assert average_precision(release, held_out) > average_precision(untrained, held_out) + 0.05
    for part, objective in zip((CLASSIFIER, ENCODER), asked, strict=True):
        told = release.manifest["training"][part][str(objective)]
        assert (told["teacher"], told["mine"]) == (classified.name, 500)
    work = tmp_path / ".mine.training"
    judged = kept(work / JUDGED)
    learnt, made = told["pairs"], len(judged.pairs) - told["pairs"] - 500
    assert made == len(augmented(judged.pairs[:learnt], 0.1, seed=1)) > 0
    texts = {text for pair in judged.pairs[:learnt] for text in (pair.question1, pair.question2)}
    assert all(
        {pair.question1, pair.question2} <= texts for pair in judged.pairs[learnt : learnt + 500]
    )
    histories = [
        json.loads((work / f"{n}-{name}" / HISTORY).read_text("utf-8"))
        for n, name in enumerate(asked)
    ]
    assert max(at["step"] for at in histories[0]) > max(at["step"] for at in histories[1])
    encoder, classifier = open_models(classified, "cpu")
    assert classifier
    some = [*judged.pairs[:learnt:40], *judged.pairs[-made:]]
    first, second = (encoder.encode([getattr(pair, side) for pair in some]) for side in COLUMNS[:2])
    logits = classifier.score([(pair.question1, pair.question2) for pair in some])
    expected = classified.scorer("0.90").probability((first * second).sum(axis=1), logits)
    assert judged.teacher is not None
    said = np.concatenate([judged.teacher[:learnt:40], judged.teacher[-made:]])
    np.testing.assert_allclose(said, expected, atol=0.05)
    shutil.rmtree(release.path)
    shutil.rmtree(work / "1-distill")
    monkeypatch.setattr(
        training_fit, "judge", lambda *_: pytest.fail("the teacher was asked again")
    )
    again = fit(pairs_file, base, tmp_path / "mine", *asked, *options)
    assert again.metrics == release.metrics


def test_a_bi_encoder_is_shown_how_near_questions_are(
    base: Path,
    pairs_file: Path,
    held_out: list[LabelledPair],
    untrained: Release,
    classified: Release,
    tmp_path: Path,
) -> None:
    """Afterwards its similarities go with the teacher's, more than before; it learns from duplicates alone."""
    options = ("--teacher", classified.path, "--limit", 600)
    release = fit(pairs_file, base, tmp_path / "mine", "distill-finding", *options)
    texts = texts_of(held_out)[:100]
    shown, before, after = (near(one, texts) for one in (classified, untrained, release))
    assert np.corrcoef(shown, after)[0, 1] > np.corrcoef(shown, before)[0, 1] + 0.05
    told = release.manifest["training"]["encoder"]["distill-finding"]
    assert told["teacher"] == classified.name


def near(release: Release, texts: list[str]) -> NDArray[np.float32]:
    """The similarity of any two of the texts."""
    encoder, _ = open_models(release, "cpu")
    vectors = encoder.encode(texts)
    similarities: NDArray[np.float32] = (vectors @ vectors.T)[np.triu_indices(len(texts), 1)]
    return similarities


def test_a_classifier_of_another_base_stands_beside_a_parents_bi_encoder(
    base: Path, pairs_file: Path, held_out: list[LabelledPair], classified: Release, tmp_path: Path
) -> None:
    """Of another architecture, with its own tokenizer; and it serves."""
    larger = build_tiny_model(tmp_path / "larger", "distilbert", 48, pieces=[*PIECES, *WORDS])
    release = fit(
        pairs_file,
        base,
        tmp_path / "mine",
        "cross-encoder",
        "--parent",
        classified.path,
        "--start",
        larger,
    )
    assert (
        json.loads((release.path / "classifier" / "config.json").read_text("utf-8"))["model_type"]
        == "distilbert"
    )
    vectors, of_parent = (
        open_models(of, "cpu")[0].encode(["Who pays?"]) for of in (release, classified)
    )
    np.testing.assert_array_equal(vectors, of_parent)
    assert release.encoder_digest == classified.encoder_digest  # no question is embedded anew
    assert average_precision(release, held_out) > 0.6
    same, other = scores(release, tmp_path / "data")
    assert same > other
    command = (
        "fit",
        "--objective",
        "cross-encoder",
        "--pairs",
        pairs_file,
        "--base",
        base,
        "--start",
        larger,
    )
    assert "--bits" in refused(*command, "--bits", 3, "--out", tmp_path / "other")
    assert not (tmp_path / ".other.training").exists()


@pytest.mark.slow
def test_a_model_of_the_older_layout_is_trained_and_served(
    pairs_file: Path, held_out: list[LabelledPair], tmp_path: Path
) -> None:
    """DistilBERT, mean pooling and no normalising module, as the documented Quora models and stsb-distilbert-base."""
    base = build_tiny_model(tmp_path / "tiny", "distilbert", pieces=[*PIECES, *WORDS])
    run(
        "calibrate",
        "--base",
        base,
        "--pairs",
        pairs_file,
        "--out",
        tmp_path / "untrained",
        "--device",
        "cpu",
    )
    release = fit(pairs_file, base, tmp_path / "mine", "multi-task", "cross-encoder", "--bits", 3)
    before = evaluate(Release.open(tmp_path / "untrained"), held_out, device="cpu")["similarity"]
    after = evaluate(release, held_out, device="cpu")["similarity"]
    assert after["average_precision"] > before["average_precision"] + 0.05
    same, other = scores(release, tmp_path / "data")
    assert same > other


def test_a_mean_weighs_the_models_by_their_shares(tmp_path: Path) -> None:
    start, trained = (
        build_tiny_model(tmp_path / name, seed=seed) for seed, name in enumerate(("a", "b"))
    )
    mean = averaged("encoder", {start: 1.0, trained: 3.0}, tmp_path / "mean")
    old, new, mixed = (
        SentenceTransformer(str(f), device="cpu").state_dict() for f in (start, trained, mean)
    )
    for name, value in mixed.items():
        torch.testing.assert_close(value, 0.75 * new[name] + 0.25 * old[name])


@pytest.mark.slow
def test_a_release_is_published_as_the_mean_of_others_and_a_share_of_its_start(
    base: Path, pairs_file: Path, tmp_path: Path
) -> None:
    one = fit(pairs_file, base, tmp_path / "one", "contrastive", "--limit", 200)
    mean = fit(
        pairs_file,
        base,
        tmp_path / "mean",
        *("contrastive", "--limit", 200, "--seed", 3),
        *("--average", one.path, "--share", 0.25, "--keep", 0.2),
    )
    trained = tmp_path / ".mean.training" / "0-contrastive" / "best"
    folders = (base, trained, one.path / "encoder", mean.path / "encoder")
    start, new, other, published = (
        SentenceTransformer(str(f), device="cpu").state_dict() for f in folders
    )
    for name, value in published.items():
        torch.testing.assert_close(value, 0.2 * start[name] + 0.2 * new[name] + 0.6 * other[name])
    assert mean.manifest["training"]["encoder"]["contrastive"]["average"] == ["one"]


@pytest.mark.slow
def test_two_processes_train_one_release(
    base: Path, pairs_file: Path, held_out: list[LabelledPair], untrained: Release, tmp_path: Path
) -> None:
    """The same command under torchrun: each process sees half of an epoch's batches, the first one publishes. It looks
    at its progress as often as one process would."""
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--standalone",
    ]
    arguments = [
        "fit",
        "--objective",
        "contrastive",
        "--pairs",
        pairs_file,
        "--base",
        base,
        "--out",
        tmp_path / "mine",
    ]
    command = [*torchrun, "-m", "training", *arguments, *COMMON, "--batch-size", "32"]
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    (history,) = (tmp_path / ".mine.training").glob(f"0-*/{HISTORY}")
    looked = [at for at in json.loads(history.read_text("utf-8")) if "eval_runtime" in at]
    assert len(looked) >= 2 * EVALUATIONS_PER_EPOCH
    release = Release.open(tmp_path / "mine")
    assert average_precision(release, held_out) > average_precision(untrained, held_out) + 0.05


@pytest.mark.slow
def test_hard_negatives_large_batches_and_low_rank_learn_too(
    base: Path,
    pairs_file: Path,
    held_out: list[LabelledPair],
    untrained: Release,
    classified: Release,
    tmp_path: Path,
) -> None:
    options = (
        "--parent",
        classified.path,
        "--hard-negatives",
        2,
        "--batch-size",
        128,
        "--lora-rank",
        8,
        "--accumulate",
        2,
        "--patience",
        9,
    )
    release = fit(pairs_file, base, tmp_path / "mine", "mnrl", *options)
    figures = evaluate(release, held_out, device="cpu")["similarity"]
    assert figures["average_precision"] > average_precision(untrained, held_out) + 0.05
    kept = CLASSIFIER + DIFFERENCE
    assert release.manifest["files"][kept] == classified.manifest["files"][kept]


@pytest.mark.slow
def test_a_low_rank_classifier_keeps_its_head(
    base: Path, pairs_file: Path, held_out: list[LabelledPair], tmp_path: Path
) -> None:
    release = fit(
        pairs_file,
        base,
        tmp_path / "mine",
        "cross-encoder",
        "--lora-rank",
        16,
        "--bits",
        3,
        "--epochs",
        8,
    )
    assert average_precision(release, held_out) > 0.6
    assert {"classifier.safetensors"} == {
        name for name in release.manifest["files"] if name.startswith("class")
    }


@pytest.mark.slow
def test_differences_are_smaller_than_models_and_score_alike(
    base: Path, pairs_file: Path, held_out: list[LabelledPair], classified: Release, tmp_path: Path
) -> None:
    whole = fit(pairs_file, base, tmp_path / "whole", "joint", "cross-encoder")
    assert {ENCODER, CLASSIFIER} <= {name.partition("/")[0] for name in whole.manifest["files"]}
    assert {"encoder.safetensors", "classifier.safetensors"} <= classified.manifest["files"].keys()
    assert average_precision(classified, held_out) > average_precision(whole, held_out) - 0.05


def test_a_release_scores_the_same_each_time_it_is_opened(
    classified: Release, held_out: list[LabelledPair]
) -> None:
    """Its head is in it whole: the base has none, and draws one each time."""
    asked = [(pair.question1, pair.question2) for pair in held_out]
    one, other = (open_models(classified, "cpu")[1] for _ in range(2))
    assert one
    assert other
    assert one.score(asked).tolist() == other.score(asked).tolist()
    assert one.score(asked).std() > 0.01


@pytest.mark.slow
def test_training_goes_on_from_a_parent(
    base: Path, pairs_file: Path, held_out: list[LabelledPair], classified: Release, tmp_path: Path
) -> None:
    release = fit(
        pairs_file,
        base,
        tmp_path / "mine",
        "cross-encoder",
        "--parent",
        classified.path,
        "--bits",
        3,
    )
    assert release.parent == "classified"
    assert list(release.manifest["training"]["encoder"]) == ["joint"]
    assert {"encoder.safetensors", "classifier.safetensors"} <= release.manifest["files"].keys()
    assert {"training-encoder.png", "training-classifier.png"} <= release.manifest["files"].keys()
    assert [of["from"] for of in release.manifest["data"]["before"]] == [
        classified.manifest["data"]["train"]["from"]
    ]
    assert (
        release.manifest["data"]["unknown"] == []
    )  # the same sets were kept apart from both trainings
    assert average_precision(release, held_out) > average_precision(classified, held_out) - 0.03


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [0, 1])
def test_training_that_was_killed_reaches_the_same_release(
    epoch: int, base: Path, pairs_file: Path, tmp_path: Path
) -> None:
    """SIGKILL after a checkpoint in that epoch; started again, it goes on and ends as if nothing had been."""
    undisturbed = fit(pairs_file, base, tmp_path / "one" / "mine", "online-contrastive")
    arguments = ["fit", "--objective", "online-contrastive", "--pairs", pairs_file, "--base", base]
    command = [
        sys.executable,
        "-m",
        "training",
        *arguments,
        "--out",
        tmp_path / "two" / "mine",
        *COMMON,
    ]
    work = tmp_path / "two" / ".mine.training"
    child = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while child.poll() is None and not reached(epoch, work):
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert not (tmp_path / "two" / "mine").exists()
    resumed = fit(pairs_file, base, tmp_path / "two" / "mine", "online-contrastive")
    assert resumed.metrics == undisturbed.metrics


def reached(epoch: int, work: Path) -> bool:
    """Whether a checkpoint lies past so many epochs; some are deleted meanwhile."""
    for state in work.glob("*/checkpoint-*/trainer_state.json"):
        with suppress(OSError, ValueError):
            if json.loads(state.read_text("utf-8"))["epoch"] > epoch:
                return True
    return False


def test_evaluate_prints_the_figures_of_the_contract(classified: Release, pairs_file: Path) -> None:
    printed = run(
        "evaluate",
        "--release",
        classified.path,
        "--pairs",
        pairs_file,
        "--corpus",
        pairs_file,
        "--json",
    )
    figures = json.loads(printed[printed.index("{") :])
    ranking = {"average_precision", "best_f1", "accuracy", "mcc", "recall_at_precision"}
    assert figures["similarity"].keys() == ranking
    assert figures["probability"].keys() == ranking | {"log_loss", "brier", "ece"}
    assert figures["probability"]["recall_at_precision"].keys() == {"0.90", "0.95", "0.98"}
    assert {"ndcg@10", "mrr@10", "map@100", "recall@10"} <= figures["retrieval"].keys()
    assert figures["mining"].keys() == {"average_precision", "best_f1"}
    assert figures["pairs"] == len(read_pairs(pairs_file))


def test_the_card_shows_the_figures_and_the_pictures(classified: Release) -> None:
    card = (classified.path / "README.md").read_text("utf-8")
    (report,) = classified.metrics["report"]
    for kind in ("base", "similarity", "probability"):
        assert f"{report[kind]['average_precision']:.3f}" in card
    for picture in (
        "precision-recall",
        "reliability",
        "scores",
        "training-encoder",
        "training-classifier",
    ):
        assert f"]({picture}.png)" in card
        assert (classified.path / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_one_flipped_byte_of_a_difference_is_refused(classified: Release, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in classified.path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    weights = bytearray((copy / "classifier.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "classifier.safetensors").write_bytes(weights)
    with pytest.raises((ReleaseRefused, ModelRefused), match=r"classifier\.safetensors"):
        Release.open(copy)


# Bad input


def refused(*arguments: object) -> str:
    """What the command says when it refuses."""
    with pytest.raises(CommandError) as error:
        run(*arguments)
    return str(error.value)


def test_too_few_pairs_are_refused_before_any_training(base: Path, tmp_path: Path) -> None:
    few = write_pairs(tmp_path / "few.tsv", generated_pairs(12))
    words = refused(
        "fit", "--objective", "mnrl", "--pairs", few, "--base", base, "--out", tmp_path / "mine"
    )
    assert "few" in words
    assert list(tmp_path.iterdir()) == [few]


def test_a_data_set_that_can_not_be_had_is_one_error(tmp_path: Path) -> None:
    words = refused(
        "fit", "--objective", "mnrl", "--pairs", "nobody/nothing", "--out", tmp_path / "mine"
    )
    assert "can't load the data set 'nobody/nothing' (pair-class)" in words


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    words = refused(
        "fit", "--objective", "mnrl", "--pairs", tmp_path / "gone.tsv", "--out", tmp_path / "mine"
    )
    assert words == f"there is no file {tmp_path / 'gone.tsv'}"


def test_a_release_is_never_written_over(base: Path, pairs_file: Path, tmp_path: Path) -> None:
    words = refused(
        "fit", "--objective", "mnrl", "--pairs", pairs_file, "--base", base, "--out", tmp_path
    )
    assert "a release never changes" in words


def test_models_of_another_architecture_are_refused_before_any_training(
    base: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have no mean with what is trained, and are no difference from the base."""
    monkeypatch.setattr(training_fit, "train", lambda *_: pytest.fail("it trained"))
    larger = build_tiny_model(tmp_path / "larger", "distilbert", 48)
    classifier = build_tiny_classifier(larger, tmp_path / "classifier")
    alone = publish_release(tmp_path / "alone", larger, 48)
    beside = publish_release(tmp_path / "beside", base, 32, classifier=classifier)
    command = ("fit", "--pairs", pairs_file, "--base", base, "--out", tmp_path / "mine")
    joint = (*command, "--objective", "joint")
    judging = (*command, "--objective", "cross-encoder")
    assert "alone is of another architecture" in refused(*joint, "--average", alone.path)
    assert "alone has no classifier" in refused(*judging, "--average", alone.path)
    assert "beside is of another architecture" in refused(*judging, "--average", beside.path)
    bits = ("--parent", beside.path, "--bits", 3)
    for objective in (joint, judging):
        assert "the classifier is of another architecture" in refused(*objective, *bits)
    assert not (tmp_path / ".mine.training").exists()


def test_other_options_do_not_go_on_from_the_same_checkpoints(
    base: Path, pairs_file: Path, tmp_path: Path
) -> None:
    release = fit(pairs_file, base, tmp_path / "mine", "mnrl", "--limit", 200)
    assert release.manifest["training"]["encoder"]["mnrl"]["pairs"] == 200
    shutil.rmtree(release.path)
    command = (
        "fit",
        "--objective",
        "mnrl",
        "--pairs",
        pairs_file,
        "--base",
        base,
        "--out",
        tmp_path / "mine",
        *COMMON,
    )
    assert "checkpoints of another training" in refused(*command, "--limit", 300)
    assert run(*command, "--limit", 200)


@pytest.mark.slow
def test_another_mean_does_not_go_on_from_the_same_steps(
    base: Path, pairs_file: Path, classified: Release, tmp_path: Path
) -> None:
    """A second objective starts from the mean that the first one made: another mean is another training."""
    names = ("contrastive", "cross-encoder", "--limit", 200)
    mean = ("--average", classified.path, "--share", 0.5, "--keep", 0.2)
    release = fit(pairs_file, base, tmp_path / "mine", *names, *mean)
    shutil.rmtree(release.path)
    for other in (
        (*mean, "--keep", 0.4),
        (*mean, "--share", 0.25),
        ("--keep", 0.2),
    ):
        with pytest.raises(CommandError, match="checkpoints of another training"):
            fit(pairs_file, base, tmp_path / "mine", *names, *other)
    assert fit(pairs_file, base, tmp_path / "mine", *names, *mean)


def test_a_claim_of_an_earlier_version_is_gone_on_from(
    base: Path, pairs_file: Path, tmp_path: Path
) -> None:
    """It lacks what was not recorded then, and says as much as it did."""
    options = ("mnrl", "--limit", 200, "--keep", 0.4)
    release = fit(pairs_file, base, tmp_path / "mine", *options)
    claim = tmp_path / ".mine.training" / "plan.json"
    recorded = json.loads(claim.read_text("utf-8"))
    for name in ("start", "keep", "share", "average"):
        del recorded[name]
    claim.write_text(json.dumps(recorded), "utf-8")
    shutil.rmtree(release.path)
    assert fit(pairs_file, base, tmp_path / "mine", *options).metrics == release.metrics
    claim.write_text(json.dumps({**recorded, "seed": 2}), "utf-8")
    shutil.rmtree(release.path)
    with pytest.raises(CommandError, match="checkpoints of another training"):
        fit(pairs_file, base, tmp_path / "mine", *options)


def test_a_split_by_row_says_that_questions_leak(base: Path, tmp_path: Path) -> None:
    pairs = generated_pairs(400)
    stars = [
        LabelledPair(pairs[i % 20].question1, pair.question2, pair.is_duplicate)
        for i, pair in enumerate(pairs)
    ]
    release = fit(
        write_pairs(tmp_path / "stars.tsv", stars),
        base,
        tmp_path / "mine",
        "contrastive",
        "--row-split",
    )
    assert "questions leak" in (release.path / "README.md").read_text("utf-8")


def test_what_a_label_ties_to_another_set_is_left_out_of_training(
    base: Path, pairs_file: Path, held_out: list[LabelledPair], tmp_path: Path
) -> None:
    """A chain from a question of the report to one that is learnt from takes its whole component out of training."""
    learnt = read_pairs(pairs_file)[:300]
    chain = [LabelledPair(held_out[-1].question1, learnt[0].question1, is_duplicate=False)]
    both = write_pairs(tmp_path / "both.tsv", [*learnt, *chain])
    report = write_pairs(tmp_path / "report.tsv", held_out[-100:])
    fitted = write_pairs(tmp_path / "fitted.tsv", held_out[:200])
    release = fit(
        both, base, tmp_path / "mine", "mnrl", "--tune-pairs", fitted, "--report-pairs", report
    )
    data = release.manifest["data"]
    assert data["train"]["duplicate"] + data["train"]["different"] == 299
    assert [of["from"] for of in data["report"]] == [f"{tmp_path.name}/report.tsv"]


def test_sets_for_figures_that_share_a_question_are_refused_before_any_training(
    base: Path, pairs_file: Path, held_out: list[LabelledPair], tmp_path: Path
) -> None:
    held = write_pairs(tmp_path / "held.tsv", held_out)
    words = refused(
        *("fit", "--objective", "mnrl", "--pairs", pairs_file, "--fit-pairs", held),
        *("--report-pairs", held, "--base", base, "--out", tmp_path / "mine"),
    )
    assert "stands both in tune and in report" in words
    assert list(tmp_path.iterdir()) == [held]


def test_cut_files_are_those_that_are_read_back(pairs_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "cut"
    run("split", "--pairs", pairs_file, "--out", out, "--fit-share", 0, "--report-share", 0.25)
    train, report = read_pairs(out / "train.jsonl"), read_pairs(out / "report.jsonl")
    assert (len(train), len(report)) == (PAIRS * 3 / 4, PAIRS / 4)
    assert sorted(map(str, [*train, *report])) == sorted(map(str, read_pairs(pairs_file)))
    assert "exists" in refused("split", "--pairs", pairs_file, "--out", out)
    assert "nothing to train on" in refused(
        "split", "--pairs", pairs_file, "--out", tmp_path / "a", "--fit-share", 0.9
    )


def test_options_that_nothing_looks_at_are_refused(
    base: Path, pairs_file: Path, tmp_path: Path
) -> None:
    command = ("fit", "--pairs", pairs_file, "--base", base, "--out", tmp_path / "mine")
    words = refused(*command, "--objective", "joint", "--hard-negatives", 2)
    assert words == "--hard-negatives is of no use without mnrl or multi-task"
    assert not (tmp_path / ".mine.training").exists()


def test_distilling_needs_a_teacher(base: Path, pairs_file: Path, tmp_path: Path) -> None:
    words = refused(
        "fit",
        "--objective",
        "distill",
        "--pairs",
        pairs_file,
        "--base",
        base,
        "--out",
        tmp_path / "mine",
    )
    assert "--teacher" in words
