"""The release for questions of any domain: its parts, and the command over a tiny base."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.engine.bases import WEIGHTS, BaseModel
from app.engine.files import sha256
from app.engine.models.backends import TORCH
from app.engine.models.encoder import Encoder
from app.engine.models.opening import open_models
from app.engine.models.pair_classifier import PairClassifier
from app.engine.release import CLASSIFIER, ENCODER, Release
from app.errors import CommandError
from tests.conftest import publish_release
from tests.tiny_model import build_tiny_classifier, build_tiny_model
from training import finding, questions, related, served_scales, teacher
from training.build import Recipe, Source
from training.elsewhere import PUBLIC_SETS, Portion, apart, portion_of
from training.finding import Alone, ByTeacher
from training.mix import asked_pairs
from training.pairs import LabelledPair
from training.progress_writer import ProgressWriter
from training.questions import (
    QUORA,
    Effort,
    Given,
    _finding,
    _recipe,
    _sources,
    learning,
    make_questions_release,
)
from training.teacher import kept
from training.train import Options
from training.written import Cluster, Side, read_clusters


def test_a_portion_gives_so_many_pairs_an_epoch() -> None:
    pairs = [LabelledPair(f"q{i}", f"r{i}", is_duplicate=True) for i in range(200)]
    assert portion_of("quora", pairs, 50).share == 0.25
    assert portion_of("quora", pairs, 500).share == 1.0


def test_the_bi_encoder_learns_of_quora_what_is_kept_apart_from_the_measured_sides(
    tiny_release: Release,
) -> None:
    pairs = [
        LabelledPair("a", "b", is_duplicate=True),
        LabelledPair(read_clusters("report")[0].question, "c", is_duplicate=True),
    ]
    others = [LabelledPair("d", "e", is_duplicate=True)]
    portions = apart([Portion(QUORA, pairs, 1.0), Portion("paws_qqp", others, 1.0)])
    alone = _finding(Given(tiny_release, Path("quora.tsv"), None, None, []), [], portions)
    assert alone == Alone(pairs[:1])


def test_figures_leave_out_what_was_learnt_from_now_or_by_the_parent(
    tiny_release: Release, tmp_path: Path
) -> None:
    """A release whose classifier stays learns from no pair of the sets; its parent did."""
    pairs = [
        LabelledPair("c", "d", is_duplicate=True),
        LabelledPair("e", "A", is_duplicate=False),
        LabelledPair("b", "f", is_duplicate=False),
    ]
    report = [Source("some.tsv", pairs)]
    given = Given(tiny_release, Path("quora.tsv"), None, None, report, effort=Effort(epochs=0))
    portions = [Portion("quora", [LabelledPair("a", "x", is_duplicate=False)], 1.0)]
    finding = Alone([LabelledPair("B", "y", is_duplicate=True)])
    alone = _recipe(given, [], finding, portions, tmp_path)
    assert alone.report == [Source("some.tsv", pairs[:1])]
    assert alone.train == Source("training/data/written/train, quora.tsv", finding.pairs)
    shown = _recipe(given, [], ByTeacher(tiny_release, [[("B", "y")]]), portions, tmp_path)
    assert shown.report == alone.report
    assert shown.train == Source("training/data/written/train", finding.pairs)


def test_each_written_question_meets_its_paraphrases_and_near_misses() -> None:
    pairs = asked_pairs("report")
    clusters = read_clusters("report")
    assert sum(pair.is_duplicate for pair in pairs) == sum(len(c.paraphrases) for c in clusters)
    first = clusters[0]
    assert pairs[0] == LabelledPair(first.question, first.paraphrases[0], is_duplicate=True)
    assert LabelledPair(first.question, first.near_misses[0].text, is_duplicate=False) in pairs


def test_the_card_names_each_source_and_its_terms(tiny_release: Release, tmp_path: Path) -> None:
    given = Given(tiny_release, Path("quora.tsv"), None, tmp_path, [])
    told = _sources(given)
    assert "CC BY 4.0" in told
    assert "Quora, Inc. | non-commercial" in told
    assert "PAWS-QQP" not in told
    for public in PUBLIC_SETS:
        assert f"| {public.name} |" in told


SMALL = {
    "STARTING": Options(learning_rate=4e-5, frozen_layers=1, batch_size=32),
    "RELATED_PAIRS": 20,
    "CHOSEN_BY": 30,
}


def some(side: Side) -> list[Cluster]:
    """Two clusters of each of four domains."""
    domains: dict[str, list[Cluster]] = {}
    for cluster in read_clusters(side):
        domains.setdefault(cluster.domain, []).append(cluster)
    return [cluster for clusters in list(domains.values())[:4] for cluster in clusters[:2]]


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few clusters, few pairs; and no measuring of backends, which takes longer than all else."""
    for name, count in SMALL.items():
        monkeypatch.setattr(questions, name, count)
    for name in ("ALONE", "BY_TEACHER"):
        monkeypatch.setattr(finding, name, replace(getattr(finding, name), batch_size=16))
    for room in (questions, finding, served_scales):
        monkeypatch.setattr(room, "read_clusters", some)
    monkeypatch.setattr(finding, "ROUNDS", 2)
    monkeypatch.setattr(served_scales, "OTHERS", 40)
    for asks_a_teacher in (questions, teacher):
        monkeypatch.setattr(asks_a_teacher, "AUTO", TORCH)


@pytest.fixture(scope="module")
def parent(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A bi-encoder and a classifier of its own, on the base of a release called `first`."""
    folder = tmp_path_factory.mktemp("made")
    classifier = build_tiny_classifier(tiny_model, folder / "classifier", 1)
    first = publish_release(folder / "first", tiny_model, 32, classifier=classifier)
    with pytest.MonkeyPatch.context() as monkeypatch:
        small(monkeypatch)
        given = Given(first, None, None, None, [])
        return make_questions_release(given, folder / "parent", ProgressWriter())


def test_a_release_is_made_in_two_epochs(parent: Release) -> None:
    folder = parent.path.parent
    assert parent.by_pair
    assert parent.manifest["parent"] == "first"
    assert parent.manifest["training"]["classifier"]["cross-encoder"]["epochs"] == 2
    before, after = (
        PairClassifier.open(one, "cpu").score([("a b", "a c")])
        for one in (folder / "classifier", folder / ".parent.training" / "classifier" / "best")
    )
    assert before != pytest.approx(after)
    assert "How the promise held" in (parent.path / "README.md").read_text("utf-8")


def test_a_killed_training_is_gone_on_from_by_the_same_command_alone(
    tiny_release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a teacher said of the pairs stands beside the release that is to be, by their order alone."""
    small(monkeypatch)

    def killed(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(questions, "related_pairs", killed)
    given = Given(tiny_release, None, None, None, [], effort=Effort(limit=100))
    for _ in range(2):
        with pytest.raises(InterruptedError):
            make_questions_release(given, tmp_path / "mine", ProgressWriter())
    others = [
        replace(given, effort=Effort(limit=200)),
        replace(given, start="all-mpnet-base-v2"),
        replace(given, teacher=tiny_release),
    ]
    for other in others:
        with pytest.raises(CommandError, match="checkpoints of another training"):
            make_questions_release(other, tmp_path / "mine", ProgressWriter())
    taught = replace(given, teacher=tiny_release)
    with pytest.raises(InterruptedError):
        make_questions_release(taught, tmp_path / "taught", ProgressWriter())
    shown = replace(given, finding_teacher=tiny_release)
    with pytest.raises(CommandError, match="checkpoints of another training"):
        make_questions_release(shown, tmp_path / "taught", ProgressWriter())


def test_sets_that_do_not_do_are_refused_before_any_training(
    tiny_release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one class, empty once what was learnt from is left out, or two that share a question."""
    small(monkeypatch)
    for room in (questions, finding):
        monkeypatch.setattr(room, "train", lambda *_: pytest.fail("it trained"))
    learnt = some("train")[0]
    both = [LabelledPair(f"left {i}", f"right {i}", is_duplicate=i == 0) for i in range(4)]
    known = [LabelledPair(learnt.question, f"other {i}", is_duplicate=i == 0) for i in range(2)]
    refusals = {
        "one.tsv needs pairs of both classes; it has 3 pairs": [Source("one.tsv", both[1:])],
        "none.tsv needs pairs of both classes; it has 0 pairs": [Source("none.tsv", known)],
        "stands both in report (a.tsv) and in report (b.tsv)": [
            Source("a.tsv", both),
            Source("b.tsv", both),
        ],
    }
    for words, report in refusals.items():
        given = Given(tiny_release, None, None, None, report, effort=Effort(1, 64))
        with pytest.raises(CommandError, match=re.escape(words)):
            make_questions_release(given, tmp_path / "mine", ProgressWriter())


def test_a_release_without_a_classifier_is_refused_before_any_training(
    tiny_release: Release, parent: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is there one to go on from, nor one that says how probable a duplicate a pair is."""
    small(monkeypatch)
    for room in (questions, finding):
        monkeypatch.setattr(room, "train", lambda *_: pytest.fail("it trained"))
    effort = Effort(1, 64)
    given = [
        Given(tiny_release, None, None, None, [], effort=effort),
        Given(parent, None, None, None, [], teacher=tiny_release, effort=effort),
    ]
    for number, one in enumerate(given):
        with pytest.raises(CommandError, match="has no pair classifier"):
            make_questions_release(one, tmp_path / str(number), ProgressWriter())


def test_all_of_it_runs_on_the_device_that_is_named(
    parent: Release, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No GPU is at hand: the device `cpu` must be named wherever a model is opened."""
    small(monkeypatch)
    devices = []

    def opened(release: Release, device: str = "auto") -> Any:
        devices.append(device)
        return open_models(release, device)

    def made(_: Recipe, __: Path, device: str, ___: ProgressWriter) -> Release:
        devices.append(device)
        return parent

    monkeypatch.setattr(related, "open_models", opened)
    monkeypatch.setattr(questions, "make_release", made)
    monkeypatch.setattr(questions, "train", lambda *_: tmp_path)
    effort = Effort(1, 64, device="cpu")
    given = Given(parent, None, None, None, [], start=str(tiny_model), effort=effort)
    make_questions_release(given, tmp_path / "mine", ProgressWriter())
    assert devices == ["cpu", "cpu"]


def test_the_learning_rate_follows_the_square_root_of_the_batch(tiny_release: Release) -> None:
    sizes = {None: (32, 4e-5), 32: (32, 4e-5), 128: (128, 8e-5), 8: (8, 2e-5)}
    for size, (batch_size, rate) in sizes.items():
        given = Given(tiny_release, None, None, None, [], "larger", effort=Effort(batch_size=size))
        options = learning(given)
        assert options.batch_size == batch_size
        assert options.learning_rate == pytest.approx(rate)
        assert options.frozen_layers == 4


def test_a_new_classifier_starts_from_another_model_beside_the_same_bi_encoder(
    parent: Release, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its difference is from that model, which the release names; the bi-encoder's file is the parent's."""
    small(monkeypatch)
    larger = build_tiny_model(tmp_path / "larger", seed=7)
    given = Given(parent, None, None, None, [], start=str(larger), effort=Effort(1, 64))
    made = make_questions_release(given, tmp_path / "made", ProgressWriter())
    digest = sha256(larger / WEIGHTS)
    assert made.classifier_base == BaseModel(str(larger), {WEIGHTS: digest})
    assert made.base == parent.base
    assert made.model(ENCODER) == (tiny_model, made.path / "encoder.safetensors")
    encoders = [sha256(release.path / "encoder.safetensors") for release in (parent, made)]
    assert encoders[0] == encoders[1]
    learnt = made.manifest["training"]["classifier"]["cross-encoder"]
    assert (learnt["pairs"], learnt["epochs"], learnt["start"]) == (64, 1, str(larger))
    assert 0 < learnt["written"] < 1
    assert f"`{tiny_model}` and `{larger}`" in (made.path / "README.md").read_text("utf-8")
    assert made.manifest["training"]["encoder"] == parent.manifest["training"]["encoder"]
    _, opened = open_models(made, "cpu")
    assert opened
    trained = PairClassifier.open(tmp_path / ".made.training" / "classifier" / "best", "cpu")
    pairs = [("How do I pay?", "How can I pay?"), ("Where is it?", "Who is she?")]
    assert opened.score(pairs) == pytest.approx(trained.score(pairs), abs=0.02)
    recipe = Recipe(made.base.name, Source("", []), [], bits=3, parent=made)
    assert recipe.bases == {ENCODER: str(tiny_model), CLASSIFIER: str(larger)}
    assert replace(recipe, bits=None).bases[CLASSIFIER] == str(tiny_model)


def test_a_larger_model_may_be_the_bi_encoder_as_it_is(
    parent: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is added to it, nothing of its training is told, and its vectors are the model's own."""
    small(monkeypatch)
    larger = build_tiny_model(tmp_path / "larger", seed=7)
    as_it_is = str(larger)
    effort = Effort(1, 64)
    given = Given(parent, None, None, None, [], as_it_is, encoder=as_it_is, effort=effort)
    made = make_questions_release(given, tmp_path / "made", ProgressWriter())
    assert (
        made.base
        == made.classifier_base
        == BaseModel(as_it_is, {WEIGHTS: sha256(larger / WEIGHTS)})
    )
    assert made.model(ENCODER) == (larger, None)
    assert "classifier_base" not in made.manifest
    assert made.manifest["training"]["encoder"] == {}
    assert "- encoder: the base's as it is\n" in (made.path / "README.md").read_text("utf-8")
    assert "training-encoder.png" in parent.manifest["files"]
    assert "training-encoder.png" not in made.manifest["files"]
    encoder, opened = open_models(made, "cpu")
    assert opened
    texts = ["How do I pay?", "Where is it?"]
    assert np.array_equal(encoder.encode(texts), Encoder.open(larger, "cpu").encode(texts))


def test_a_classifier_learns_what_a_teacher_says_of_labelled_and_near_pairs(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch)
    parent, taught_by = (
        publish_release(
            tmp_path / name,
            tiny_model,
            32,
            classifier=build_tiny_classifier(tiny_model, tmp_path / f"{name}-classifier", seed),
        )
        for seed, name in enumerate(("parent", "teacher"))
    )
    given = Given(parent, None, None, None, [], teacher=taught_by, effort=Effort(1, 64, near=10))
    made = make_questions_release(given, tmp_path / "made", ProgressWriter())
    taught = kept(tmp_path / ".made.training" / "taught.parquet")
    assert taught.teacher is not None
    assert len(taught.pairs) == 74
    said = PairClassifier.open(tmp_path / "teacher-classifier", "cpu")
    sure = 1 / (1 + np.exp(-said.score([pair.texts for pair in taught.pairs])))
    labels = np.array([pair.is_duplicate for pair in taught.pairs[:64]])
    assert taught.teacher[:64] == pytest.approx((sure[:64] + labels) / 2, abs=1e-3)
    assert taught.teacher[64:] == pytest.approx(sure[64:], abs=1e-3)
    learnt = made.manifest["training"]["classifier"]["distill-classifier"]
    assert (learnt["teacher"], learnt["near"], learnt["epochs"]) == ("teacher", 10, 1)


def test_a_bi_encoder_is_shown_how_near_questions_are_and_the_classifier_stays(
    parent: Release, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a difference from the parent's base; the classifier's file is the parent's, to the byte."""
    small(monkeypatch)
    larger = build_tiny_model(tmp_path / "larger", seed=7, dimension=48)
    shown_by = publish_release(tmp_path / "shows", larger, 48)
    given = Given(parent, None, None, None, [], finding_teacher=shown_by, effort=Effort(epochs=0))
    made = make_questions_release(given, tmp_path / "made", ProgressWriter())
    assert made.base == parent.base
    files = ["classifier.safetensors", "encoder.safetensors"]
    assert [sha256(made.path / file) == sha256(parent.path / file) for file in files] == [
        True,
        False,
    ]
    told = made.manifest["training"]
    assert told["classifier"] == parent.manifest["training"]["classifier"]
    learnt = told["encoder"]["distill-finding"]
    assert (learnt["teacher"], learnt["keep"]) == ("shows", finding.KEPT_BY_TEACHER)
    assert learnt["pairs"] == 2 * 8 * 3  # rounds, clusters, pairs of each
    assert 0 < made.manifest["data"]["train"]["duplicate"] <= 48
    assert made.model(ENCODER) == (tiny_model, made.path / "encoder.safetensors")
    nobody = Given(shown_by, None, None, None, [], effort=Effort(epochs=0))
    with pytest.raises(CommandError, match="has no classifier to keep"):
        make_questions_release(nobody, tmp_path / "nobody", ProgressWriter())
    taught = replace(given, teacher=parent)
    with pytest.raises(CommandError, match="--epochs 0 keeps the classifier"):
        make_questions_release(taught, tmp_path / "taught", ProgressWriter())
