"""All duplicate pairs of a set of questions: which, what is said of them, and a run that was killed."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
from numpy.typing import NDArray

from app.engine.models.encoder import Encoder
from app.engine.models.pair_classifier import PairClassifier
from app.engine.release import Release
from app.engine.rulings import Ruling
from app.engine.scorer import similarity
from app.engine.signals import Reader
from app.engine.text import WordedPair
from app.errors import CommandError
from app.mining import job
from app.mining.job import Models, Source, Wanted, mine
from app.mining.sources import ids_by_text
from tests.conftest import publish_release
from tests.tiny_model import DIMENSION, build_tiny_classifier

TEXTS = [
    f"{start} {thing} {end}?"
    for start in ("may I", "how do I")
    for thing in ("fly", "pay", "stay")
    for end in "ab"
]
TEXTS += ["how  do I pay a?"]  # as one of them, after normalisation
IDS = [f"q{i}" for i in range(len(TEXTS))]


class Killed(BaseException):
    """Stands for a kill: nothing in the code under test may catch it."""


@pytest.fixture(scope="module")
def classified(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Release:
    folder = tmp_path_factory.mktemp("classified")
    classifier = build_tiny_classifier(tiny_model, folder / "tiny", 1)
    return publish_release(folder / "release", tiny_model, DIMENSION, classifier=classifier)


@pytest.fixture
def models(classified: Release, tiny_encoder: Encoder) -> Models:
    classifier = PairClassifier.open(classified.path / "classifier", "cpu")
    reader = Reader(tiny_encoder, classifier)
    return Models(classified.digest, DIMENSION, classified.scorer("0.90"), classifier, reader)


@pytest.fixture
def source(tiny_encoder: Encoder) -> Source:
    return Source(
        [[id_] for id_ in IDS], TEXTS, lambda start, end: tiny_encoder.encode(TEXTS[start:end])
    )


def found(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    pairs = {(line["id1"], line["id2"]): line for line in lines}
    assert len(pairs) == len(lines)
    return pairs


def mined(
    out: Path, source: Source, models: Models, wanted: Wanted, **how: bool
) -> dict[tuple[str, str], dict[str, Any]]:
    count = mine(source, models, out, wanted, lambda *_: None, **how)
    assert not out.with_name(f"{out.name}.mining").exists()
    pairs = found(out)
    assert len(pairs) == count
    return pairs


def expected(
    encoder: Encoder, models: Models, least: float
) -> dict[tuple[str, str], tuple[float, float]]:
    """Similarity and probability of every pair that is so similar, one at a time."""
    vectors = encoder.encode(TEXTS)
    pairs = {}
    for i in range(len(TEXTS)):
        for j in range(i + 1, len(TEXTS)):
            cosine = float(similarity(vectors[i : i + 1], vectors[j : j + 1])[0])
            assert models.classifier
            logit = float(models.classifier.score([(TEXTS[i], TEXTS[j])])[0])
            if cosine >= least:
                pairs[IDS[i], IDS[j]] = (cosine, 1 / (1 + np.exp(-logit)))
    return pairs


def test_every_pair_that_is_similar_enough_is_there_with_its_scores(
    tmp_path: Path, tiny_encoder: Encoder, source: Source, models: Models
) -> None:
    pairs = mined(tmp_path / "pairs.ndjson", source, models, Wanted(similarity=0.8))
    wanted = expected(tiny_encoder, models, 0.8)
    assert pairs.keys() == wanted.keys()
    assert 3 < len(pairs) < 70
    for ids, line in pairs.items():
        cosine, probability = (1.0, 1.0) if ids == ("q8", "q12") else wanted[ids]
        assert line["similarity"] == pytest.approx(cosine, abs=1e-5)
        assert line["probability"] == pytest.approx(probability, abs=1e-5)
        assert line["verdict"] == (
            "duplicate" if probability >= 0.9 else "review" if probability >= 0.5 else "different"
        )
        assert (line["text1"], line["text2"]) == (
            TEXTS[IDS.index(ids[0])],
            TEXTS[IDS.index(ids[1])],
        )
    similarities = [line["similarity"] for line in pairs.values()]
    assert similarities == sorted(similarities, reverse=True)


def test_a_probability_bounds_them_too(
    tmp_path: Path, tiny_encoder: Encoder, source: Source, models: Models
) -> None:
    pairs = mined(
        tmp_path / "pairs.ndjson", source, models, Wanted(similarity=0.5, probability=0.6)
    )
    wanted = {
        ids
        for ids, (_, probability) in expected(tiny_encoder, models, 0.5).items()
        if probability >= 0.6
    }
    assert pairs.keys() == wanted | {("q8", "q12")}


def test_without_a_bound_they_are_those_that_are_not_called_different(
    tmp_path: Path, tiny_encoder: Encoder, source: Source, models: Models
) -> None:
    pairs = mined(tmp_path / "pairs.ndjson", source, models, Wanted())
    wanted = {
        ids
        for ids, (_, probability) in expected(tiny_encoder, models, -1.0).items()
        if probability >= 0.5
    }
    assert pairs.keys() == wanted | {("q8", "q12")}


def test_unread_pairs_have_the_probability_of_their_similarity_and_are_review_at_most(
    tmp_path: Path, source: Source, models: Models
) -> None:
    for line in mined(
        tmp_path / "p.ndjson", source, models, Wanted(similarity=0.5, verify=False)
    ).values():
        if line["similarity"] < 1.0 and (line["id1"], line["id2"]) != ("q8", "q12"):
            assert line["probability"] == pytest.approx(
                1 / (1 + np.exp(90 - 100 * line["similarity"])), abs=1e-3
            )
            assert line["verdict"] == ("review" if line["probability"] >= 0.5 else "different")


def test_labels_overrule(tmp_path: Path, source: Source, models: Models) -> None:
    said = {
        (TEXTS[8], TEXTS[12]): Ruling(1, False, "anna", "2026-01-01T00:00:00Z", contradicted=False)
    }

    def ruled(pairs: Sequence[WordedPair]) -> Mapping[tuple[str, str], Ruling]:
        texts = [(one.text, other.text) for one, other in pairs]
        return {pair: said[pair] for pair in texts if pair in said}

    all_pairs = mined(
        tmp_path / "pairs.ndjson", replace(source, ruled=ruled), models, Wanted(similarity=0.1)
    )
    assert all_pairs["q8", "q12"]["verdict"] == "different"
    assert ("q8", "q12") not in mined(
        tmp_path / "few.ndjson", replace(source, ruled=ruled), models, Wanted()
    )


def test_a_text_under_many_ids_is_judged_once_and_makes_one_line(
    tmp_path: Path, tiny_encoder: Encoder, models: Models
) -> None:
    texts = {
        "Who pays?": 30,
        "Who may pay?": 1,
        "Who\u200b pays?": 2,
        "Ｗｈｏ pays?": 1,
        "Who pays": 1,
    }
    rows = [(f"{text}-{n}", text) for text, count in texts.items() for n in range(count)]
    by_text = ids_by_text(reversed(rows))
    distinct = list(by_text)
    source = Source(
        list(by_text.values()),
        distinct,
        lambda start, end: tiny_encoder.encode(distinct[start:end]),
    )
    count = mine(source, models, tmp_path / "p.ndjson", Wanted(similarity=0.99), lambda *_: None)
    lines = [json.loads(line) for line in (tmp_path / "p.ndjson").read_text("utf-8").splitlines()]
    assert len(lines) == count
    of_one = {line["text1"]: line for line in lines if line["text1"] == line["text2"]}
    assert {text: line["id_count1"] for text, line in of_one.items()} == {
        "Who pays?": 30,
        "Who\u200b pays?": 2,
    }
    many = of_one["Who pays?"]
    ids = [f"Who pays?-{n}" for n in range(29, -1, -1)]
    assert (many["ids1"], many["ids2"]) == (ids[:20], ids[:20])
    assert (many["id1"], many["id2"], many["verdict"]) == (ids[0], ids[1], "duplicate")
    same = {
        frozenset((line["text1"], line["text2"])) for line in lines if line["similarity"] > 0.9999
    }
    alike = [text for text in texts if text.endswith(" pays?")]
    assert same == {frozenset((one, other)) for one in alike for other in alike} - {
        frozenset((text,)) for text in alike if texts[text] == 1
    }


def test_parquet_holds_the_same(tmp_path: Path, source: Source, models: Models) -> None:
    lines = mined(tmp_path / "pairs.ndjson", source, models, Wanted(similarity=0.8))
    mine(source, models, tmp_path / "pairs.parquet", Wanted(similarity=0.8), lambda *_: None)
    assert parquet.read_table(tmp_path / "pairs.parquet").to_pylist() == list(lines.values())


@pytest.mark.parametrize("phase", ["embedding", "searching", "judging"])
@pytest.mark.parametrize("ending", ["ndjson", "parquet"])
def test_a_killed_run_goes_on_and_comes_to_the_same(
    phase: str,
    ending: str,
    tmp_path: Path,
    source: Source,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("EMBEDDED_AT_ONCE", "SCORED_AT_ONCE"):
        monkeypatch.setattr(job, name, 4)
    mine(source, models, tmp_path / f"whole.{ending}", Wanted(similarity=0.5), lambda *_: None)
    out, embedded = tmp_path / f"pairs.{ending}", list[int]()

    def die(reached: str, done: int, total: int) -> None:
        if reached == phase and done >= total / 2:
            raise Killed

    def vectors(start: int, end: int) -> NDArray[np.float32]:
        embedded.append(start)
        return source.vectors(start, end)

    watched = replace(source, vectors=vectors)
    with pytest.raises(Killed):
        mine(watched, models, out, Wanted(similarity=0.5), die)
    with pytest.raises(CommandError, match="begun by an earlier run: --resume"):
        mine(watched, models, out, Wanted(similarity=0.5), lambda *_: None)
    with pytest.raises(CommandError, match="begun with other questions, bounds"):
        mine(watched, models, out, Wanted(similarity=0.6), lambda *_: None, resume=True)
    if phase == "judging" and ending == "ndjson":
        with out.open("a") as file:
            file.write('{"id1": "torn')  # what a kill in the middle of a write leaves
    mine(watched, models, out, Wanted(similarity=0.5), lambda *_: None, resume=True)
    assert out.read_bytes() == (tmp_path / f"whole.{ending}").read_bytes()
    assert embedded == list(range(0, len(TEXTS), 4))  # each once


@pytest.mark.parametrize("left", ["nothing", "half", "no vectors"])
def test_a_run_whose_files_were_moved_or_shortened_writes_them_anew(
    left: str, tmp_path: Path, source: Source, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "SCORED_AT_ONCE", 4)
    whole = mined(tmp_path / "whole.ndjson", source, models, Wanted(similarity=0.5))
    out = tmp_path / "pairs.ndjson"
    until = "searching" if left == "no vectors" else "judging"

    def die(reached: str, done: int, total: int) -> None:
        if reached == until and done >= total / 2:
            raise Killed

    with pytest.raises(Killed):
        mine(source, models, out, Wanted(similarity=0.5), die)
    if left == "no vectors":
        (tmp_path / "pairs.ndjson.mining" / "vectors.f32").unlink()
    elif left == "half":
        os.truncate(out, out.stat().st_size // 2)
    else:
        out.unlink()
    assert mined(out, source, models, Wanted(similarity=0.5), resume=True) == whole


def test_what_exists_is_replaced_on_request_only(
    tmp_path: Path, source: Source, models: Models
) -> None:
    out = tmp_path / "pairs.ndjson"
    out.write_text("precious\n")
    for how in ({}, {"resume": True}):
        with pytest.raises(CommandError, match="exists: --overwrite replaces it"):
            mine(source, models, out, Wanted(), lambda *_: None, **how)
    assert out.read_text() == "precious\n"
    assert mined(out, source, models, Wanted(similarity=0.8), overwrite=True)


@pytest.mark.parametrize("bound", [0.0, -0.5, 1.01, float("nan")])
@pytest.mark.parametrize("name", ["similarity", "probability"])
def test_a_bound_is_above_0_and_at_most_1(
    bound: float, name: str, tmp_path: Path, source: Source, models: Models
) -> None:
    wanted = Wanted(similarity=bound) if name == "similarity" else Wanted(probability=bound)
    with pytest.raises(CommandError, match=f"--{name} must be above 0 and at most 1"):
        mine(source, models, tmp_path / "pairs.ndjson", wanted, lambda *_: None)
    assert list(tmp_path.iterdir()) == []


def test_nothing_and_unknown_kinds_are_refused(
    tmp_path: Path, source: Source, models: Models
) -> None:
    with pytest.raises(CommandError, match="no questions to mine"):
        mine(
            replace(source, ids=[], texts=[]),
            models,
            tmp_path / "pairs.ndjson",
            Wanted(),
            lambda *_: None,
        )
    with pytest.raises(CommandError, match=r"must end in \.ndjson, \.jsonl, \.parquet"):
        mine(source, models, tmp_path / "pairs.xlsx", Wanted(), lambda *_: None)
    assert list(tmp_path.iterdir()) == []


def test_one_question_has_no_pair(tmp_path: Path, source: Source, models: Models) -> None:
    one = replace(source, ids=[IDS[:1]], texts=TEXTS[:1])
    assert mined(tmp_path / "pairs.ndjson", one, models, Wanted(similarity=0.1)) == {}
