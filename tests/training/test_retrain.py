"""The service's child: from labels to a release and the gate's word, also after a kill; and what bad input gets."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.engine import training_contract
from app.engine.release import CLASSIFIER, ENCODER, Release
from app.engine.training_contract import GivenLabel, Request
from app.errors import CommandError, ReleaseRefused
from tests.conftest import publish_release
from tests.tiny_model import PIECES, build_tiny_model
from tests.training.generated import WORDS, generated_pairs
from training import figures, paired_figures, progress_writer, replay, served_verdicts
from training.cli import main
from training.pairs import LabelledPair, write_pairs
from training.retrain import assemble, learnt_labels, retrain
from training.served_verdicts import NEAR, WRITTEN
from training.splits import assert_disjoint

COUNT = 300
LABELS = [
    GivenLabel(p.question1, p.question2, p.is_duplicate, True, False)
    for p in generated_pairs(COUNT)
]
RECIPES = {
    "calibration": set(),
    "classifier": {CLASSIFIER},
    "encoder": {ENCODER},
    "both": {CLASSIFIER, ENCODER},
}


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    """Intervals are looked at elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "RESAMPLES", 10)
        patch.setattr(paired_figures, "RESAMPLES", 100)
        patch.setattr(replay, "CLUSTERS", 8)
        patch.setattr(served_verdicts, "CLUSTERS", 1)
        yield


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Release:
    folder = tmp_path_factory.mktemp("champion")
    return publish_release(
        folder / "champion", build_tiny_model(folder / "tiny", pieces=[*PIECES, *WORDS]), 32
    )


def asked(
    work: Path, champion: Release, labels: Sequence[GivenLabel] = LABELS, /, **request: object
) -> Path:
    """The folder of a run as the service writes it."""
    work.mkdir(parents=True)
    told: dict[str, object] = {
        "champion": str(champion.path),
        "release": str(work.parent / "releases" / "new"),
        "data_set": None,
    }
    told |= {
        "recipe": "calibration",
        "elsewhere": None,
        "target_precision": "0.90",
        "margin": 0.005,
    }
    (work / "request.json").write_text(
        json.dumps({**told, "device": "cpu", "seed": 20, **request}), "utf-8"
    )
    lines = [json.dumps(vars(label), ensure_ascii=False) for label in labels]
    (work / "labels.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return work


def result(work: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((work / "result.json").read_text("utf-8"))
    return found


def phases(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any]]:
    """All that is told of a run from now on."""
    told: list[Mapping[str, Any]] = []
    write = training_contract.write_one

    def keep(file: Path, value: object, *, durable: bool) -> None:
        write(file, value, durable=durable)
        told.append(json.loads(file.read_text("utf-8")))

    monkeypatch.setattr(progress_writer, "write_one", keep)
    return told


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_makes_a_release_and_the_gate_judges_it(
    recipe: str, champion: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, told = asked(tmp_path / "run", champion, recipe=recipe), phases(monkeypatch)
    near = [
        {"id1": f"a{i}", "id2": f"b{i}", "question1": p.question1, "question2": p.question2}
        for i, p in enumerate(generated_pairs(20, seed=9))
    ]
    (work / "unlabelled.jsonl").write_text("\n".join(map(json.dumps, near)), "utf-8")
    retrain(work)
    release, found = Release.open(tmp_path / "releases" / "new"), result(work)
    assert found["release"] == release.name == "new"
    assert release.parent == "champion"
    assert set(release.manifest["training"]) == RECIPES[recipe]
    assert (release.by_pair is not None) == (CLASSIFIER in RECIPES[recipe])
    trains_encoder = ENCODER in RECIPES[recipe]
    own = {name.partition("/")[0] for name in release.manifest["files"]}
    assert (ENCODER in own) == trains_encoder
    assert (release.encoder_digest == champion.encoder_digest) != trains_encoder
    assert learnt_labels(release) == (recipe != "calibration")
    (labels,) = found["gate"]["sets"]
    data = release.manifest["data"]
    sizes = {
        name: sum(data[name][c] for c in ("duplicate", "different"))
        for name in ("train", "tune")
        if name in data
    }
    assert labels["name"] == "labels"
    assert labels["figures"].keys() == {"average_precision", "recall_at_precision", "calibration"}
    replayed = replay.replayed(20) if RECIPES[recipe] else []
    assert sum(sizes.values()) + labels["pairs"] == COUNT + len(replayed)
    assert [one["name"] for one in found["gate"]["served"]] == [WRITTEN, NEAR]
    assert found["gate"]["served"][1]["challenger"]["pairs"] == 20
    assert found["gate"]["outcome"] in ("passed", "failed", "not enough evidence")
    assert len(found["gate"]["to_label"]) == 20
    order = [one["phase"] for one in told if "phase" in one]
    assert list(dict.fromkeys(order)) == [
        "preparing", *(["training"] if RECIPES[recipe] else []), "measuring", "gate",
    ]  # fmt: skip
    steps = [one for one in told if one.get("steps")]
    assert len(steps) >= 2 * 8 * len(RECIPES[recipe])
    for one in steps:
        assert one["step"] <= one["steps"]
        assert one["eta_seconds"] >= 0
    assert not RECIPES[recipe] or steps[-1]["loss"] > 0
    assert not list(release.path.parent.glob(".*"))  # no checkpoints are left


def test_without_an_evaluation_pair_there_is_a_release_and_no_evidence(
    champion: Release, tmp_path: Path
) -> None:
    evaluation = (
        assemble(request(champion, tmp_path), LABELS, learnt_before=False).evaluation[0].pairs
    )
    measured = {pair.question1 for pair in evaluation}
    work = asked(
        tmp_path / "run", champion, [label for label in LABELS if label.question1 not in measured]
    )
    retrain(work)
    found = result(work)["gate"]
    assert found["sets"] == [{"name": "labels", "pairs": 0, "components": 0, "figures": {}}]
    assert found["outcome"] == "not enough evidence"
    assert (found["more_labels"]["pairs"], found["more_labels"]["of"]) == (100, "both")
    assert found["to_label"] == []


class Killed(BaseException):
    """As if the process had ended there."""


def test_a_run_that_was_killed_goes_on_and_comes_to_the_same(
    champion: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = asked(tmp_path / "one" / "run", champion, recipe="classifier")
    retrain(whole)
    work = asked(tmp_path / "two" / "run", champion, recipe="classifier")
    releases, told = tmp_path / "two" / "releases", phases(monkeypatch)

    def kill(module: Any, name: str, when: Any) -> None:
        call = getattr(module, name)

        def killed(*arguments: Any) -> Any:
            if when():
                raise Killed
            return call(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(module, name, killed)
            with pytest.raises(Killed):
                retrain(work)

    kill(
        progress_writer.ProgressWriter,
        "step",
        lambda: list(releases.glob(".new.training/*/checkpoint-*/trainer_state.json")),
    )
    assert not (releases / "new").exists()
    told.clear()
    kill(
        progress_writer.ProgressWriter, "beat", lambda: (releases / "new").exists()
    )  # in the gate, after publishing
    assert min(one["step"] for one in told if one.get("steps")) > 1
    before = (releases / "new" / "manifest.json").read_bytes()
    retrain(work)
    assert (releases / "new" / "manifest.json").read_bytes() == before
    assert result(work) == result(whole)
    (work / "labels.jsonl").unlink()
    retrain(work)  # what has ended stays
    assert result(work) == result(whole)


@pytest.mark.slow
def test_a_process_that_was_killed_is_started_again_by_the_same_command(
    champion: Release, tmp_path: Path
) -> None:
    work = asked(tmp_path / "run", champion, recipe="both")
    command = [sys.executable, "-m", "training", "retrain", "--work", str(work)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while child.poll() is None and not list(
        tmp_path.glob("releases/.new.training/*/checkpoint-*/trainer_state.json")
    ):
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    assert result(work)["release"] == "new"


# Sets


def request(champion: Release, tmp_path: Path, **more: Any) -> Request:
    return Request(champion=champion.path, release=tmp_path / "new", **{"recipe": "both", **more})


def test_a_data_set_joins_and_labels_overrule_it(champion: Release, tmp_path: Path) -> None:
    pairs = generated_pairs(COUNT + 200)[COUNT:]
    alone = assemble(request(champion, tmp_path), LABELS, learnt_before=False)
    given, measured = alone.train.pairs[0], alone.evaluation[0].pairs
    overruled = LabelledPair(given.question2.upper(), given.question1, not given.is_duplicate)
    tied = LabelledPair(measured[0].question1, pairs[0].question1, is_duplicate=False)
    folder = tmp_path / "set"
    folder.mkdir()
    write_pairs(folder / "train.jsonl", [*pairs[:100], overruled, tied])
    write_pairs(folder / "tune.jsonl", pairs[100:150])
    write_pairs(folder / "report.jsonl", pairs[150:])
    other = tmp_path / "elsewhere.jsonl"
    write_pairs(other, [*generated_pairs(30, seed=7), pairs[150]])
    sets = assemble(
        request(champion, tmp_path, data_set=folder, elsewhere=other), LABELS, learnt_before=False
    )
    assert [(one.name, one.elsewhere) for one in sets.evaluation] == [
        ("labels", False), ("set: report", False), ("elsewhere.jsonl", True),
    ]  # fmt: skip
    assert sets.evaluation[0].pairs == measured
    assert set(sets.evaluation[1].pairs) == set(pairs[150:])
    learnt = {*sets.train.pairs, *sets.tune.pairs}
    assert {*pairs[1:150], given} <= learnt
    assert not {overruled, tied, pairs[0]} & learnt
    named = {f"{i}": one.pairs for i, one in enumerate(sets.evaluation)}
    assert_disjoint({"train": sets.train.pairs, "tune": sets.tune.pairs, **named})


def test_calibration_is_not_fitted_on_what_the_champion_has_learnt(
    champion: Release, tmp_path: Path
) -> None:
    both, apart, anew = (
        assemble(request(champion, tmp_path, recipe=recipe), LABELS, learnt_before=before)
        for recipe, before in (("calibration", False), ("calibration", True), ("classifier", False))
    )
    assert both.train.pairs == apart.train.pairs == []
    assert set(apart.tune.pairs) == set(anew.tune.pairs)
    assert set(both.tune.pairs) == {*anew.tune.pairs, *anew.train.pairs}


# Bad input


def refused(work: Path) -> str:
    """What the run says when it refuses; nothing is published."""
    with pytest.raises((CommandError, ReleaseRefused)) as error:
        retrain(work)
    assert not list(work.parent.glob("releases/*"))
    assert not (work / "result.json").exists()
    return str(error.value)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([], "no label to learn from"),
        (
            [GivenLabel("a", "b", True, False, False), GivenLabel("c", "d", True, True, True)],
            "no label to learn from",
        ),
        ([label for label in LABELS if label.is_duplicate], "both classes"),
        (LABELS[:12], "label"),
    ],
)
def test_labels_that_do_not_do_are_refused(
    labels: list[GivenLabel], words: str, champion: Release, tmp_path: Path
) -> None:
    assert words in refused(asked(tmp_path / "run", champion, labels, recipe="classifier"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recipe": "magic"}, "recipe"),
        ({"target_precision": "0.5"}, "target_precision"),
        ({"margin": "much"}, "margin"),
        ({"champion": "nowhere"}, "nowhere"),
        ({"data_set": "nowhere"}, "has no train.*"),
        ({"elsewhere": "nowhere.tsv"}, "nowhere.tsv"),
    ],
)
def test_a_request_that_does_not_do_is_refused(
    change: dict[str, object], words: str, champion: Release, tmp_path: Path
) -> None:
    assert words in refused(asked(tmp_path / "run", champion, **change))


def test_a_damaged_champion_is_refused(champion: Release, tmp_path: Path) -> None:
    copy = shutil.copytree(champion.path, tmp_path / "damaged")
    (copy / "metrics.json").write_text("{} ", "utf-8")
    words = refused(asked(tmp_path / "run", champion, champion=str(copy)))
    assert "metrics.json has sha256" in words


def test_a_broken_line_is_named_and_its_text_is_not_told(champion: Release, tmp_path: Path) -> None:
    work = asked(tmp_path / "run", champion)
    with (work / "labels.jsonl").open("a", encoding="utf-8") as file:
        file.write(
            '{"question1": "secret", "question2": 5, "is_duplicate": true, "active": true}\n'
        )
    words = refused(work)
    assert f"labels.jsonl:{COUNT + 1}: question2" in words
    assert "secret" not in words


def test_a_release_that_is_there_is_never_written_over(champion: Release, tmp_path: Path) -> None:
    work = asked(tmp_path / "run", champion, release=str(champion.path))
    with pytest.raises(CommandError, match="a release never changes"):
        retrain(work)


def test_the_command_says_one_line_and_ends_with_1(
    champion: Release,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    work = asked(tmp_path / "run", champion, [])
    monkeypatch.setattr(sys, "argv", ["training", "retrain", "--work", str(work)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert (
        capsys.readouterr().err == "training: there is no label to learn from: label pairs first\n"
    )
