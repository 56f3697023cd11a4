"""What every training from labels sees again."""

import pytest

from training import replay
from training.pairs import class_mix, texts_of
from training.written import read_clusters


def test_written_questions_of_the_training_side_are_replayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replay, "CLUSTERS", 20)
    pairs = replay.replayed(1)
    mix = class_mix(pairs)
    assert len(pairs) > 200
    assert 0.4 < mix["duplicate"] / len(pairs) < 0.6
    assert pairs == replay.replayed(1) != replay.replayed(2)
    questions = {cluster.question for cluster in read_clusters("train")}
    assert questions & set(texts_of(pairs))
    for side in ("calibration", "report"):
        held = {cluster.question for cluster in read_clusters(side)}
        assert not held & set(texts_of(pairs))
