"""The pair classifier: symmetric, by value, and refused where it is none."""

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentence_transformers import CrossEncoder
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import AutoTokenizer

from app.engine.models.pair_classifier import PairClassifier, in_order
from app.engine.models.tokenizer import equal
from app.engine.models.tokenizer_core import shares
from app.engine.text_form import readable
from app.errors import ModelRefused
from tests.memory import Memory
from tests.tiny_model import build_tiny_classifier

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@pytest.fixture(scope="module")
def folder(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CrossEncoder over the tiny BERT."""
    return build_tiny_classifier(tiny_model, tmp_path_factory.mktemp("classifier") / "tiny")


@pytest.fixture(scope="module")
def classifier(folder: Path) -> PairClassifier:
    return PairClassifier.open(folder, "cpu")


def some_pairs(count: int) -> list[tuple[str, str]]:
    words = [
        "how",
        "do",
        "reset",
        "change",
        "my",
        "password",
        "app",
        "without",
        "mail",
        "🦊",
        "ß",
        "É",
    ]
    chances = random.Random(0)
    return [
        (
            " ".join(chances.choices(words, k=chances.randint(1, 12))),
            " ".join(chances.choices(words, k=5)),
        )
        for _ in range(count)
    ]


def test_scores_are_those_of_the_cross_encoder(folder: Path, classifier: PairClassifier) -> None:
    pairs = some_pairs(50)
    reference = CrossEncoder(str(folder), device="cpu", num_labels=1)
    expected = reference.predict(
        [in_order(*pair) for pair in pairs], activation_fn=torch.nn.Identity()
    )
    np.testing.assert_allclose(classifier.score(pairs), expected, atol=1e-5)
    assert np.std(expected) > 1e-3


def test_a_score_is_symmetric(classifier: PairClassifier) -> None:
    pairs = some_pairs(1000)
    one, other = classifier.score(pairs), classifier.score([(b, a) for a, b in pairs])
    assert np.abs(one - other).max() < 1e-6


def test_a_pair_scores_the_same_alone_and_among_others(classifier: PairClassifier) -> None:
    pairs = some_pairs(20)
    alone = [classifier.score([pair])[0] for pair in pairs]
    np.testing.assert_allclose(classifier.score(pairs), alone, atol=1e-5)


def test_nothing_scores_nothing(classifier: PairClassifier) -> None:
    assert classifier.score([]).shape == (0,)
    assert classifier.tokenize([]) == []


def test_long_pairs_are_cut(classifier: PairClassifier) -> None:
    (tokens,) = classifier.tokenize([("why " * 500, "short?")])
    assert tokens.count == 64  # as many positions as the model has
    assert np.isfinite(classifier.score_tokens([tokens])).all()


def forms(pair: tuple[str, str]) -> tuple[str, str]:
    """What the model reads of a pair."""
    one, other = in_order(*pair)
    return readable(one), readable(other)


def test_tokens_of_pairs_are_made_without_detours_and_the_same(classifier: PairClassifier) -> None:
    tokenizer = classifier._tokenizer
    assert tokenizer.core
    long = "why " * 500
    texts = [
        "",
        " ",
        "How old?",
        "[SEP] how [PAD] OLD?",
        "İß ｆｕｌｌ\u200b\t日本語",
        "so " * 5,
        long,
    ]
    pairs = [(a, b) for a in texts for b in texts]
    for asked in (pairs, *([pair] for pair in pairs)):
        in_one_order = [forms(pair) for pair in asked]
        assert all(map(equal, classifier.tokenize(asked), tokenizer.by_the_model(in_one_order)))
    cut = {
        pair: tokens.truncated
        for pair, tokens in zip(pairs, classifier.tokenize(pairs), strict=True)
    }
    assert (cut["How old?", long], cut["How old?", "so " * 5]) == (True, False)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.lists(st.tuples(ANY_TEXT, ANY_TEXT), min_size=1, max_size=4))
def test_any_pair_has_the_tokens_that_the_model_makes_of_it(
    classifier: PairClassifier, pairs: list[tuple[str, str]]
) -> None:
    expected = classifier._tokenizer.by_the_model([forms(pair) for pair in pairs])
    assert all(map(equal, classifier.tokenize(pairs), expected))


@settings(deadline=None, max_examples=300)
@given(counts=st.tuples(st.integers(0, 40), st.integers(0, 40)), room=st.integers(0, 45))
def test_of_a_pair_the_longer_text_gives_way_first(counts: tuple[int, int], room: int) -> None:
    """As the tokenizers library has it, whose token of each letter is that letter."""
    core = Tokenizer(WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    core.pre_tokenizer = Split("", "isolated")
    core.enable_truncation(room, strategy="longest_first")
    encoding = core.encode("a" * counts[0], "b" * counts[1])
    kept = shares(counts, room)
    assert kept == [encoding.tokens.count("a"), encoding.tokens.count("b")]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pair=st.tuples(*2 * [st.text(st.sampled_from("a bc,.é日🦊"), max_size=200)]))
def test_a_cut_pair_has_the_tokens_that_its_tokenizer_leaves(
    folder: Path, classifier: PairClassifier, pair: tuple[str, str]
) -> None:
    reference = AutoTokenizer.from_pretrained(folder)
    expected = reference([forms(pair)], truncation="longest_first", max_length=64)
    whole = reference([forms(pair)], verbose=False)
    (tokens,) = classifier.tokenize([pair])
    (by_the_model,) = classifier._tokenizer.by_the_model([forms(pair)])
    assert tokens.features["input_ids"].tolist() == expected["input_ids"][0]
    assert by_the_model.features["input_ids"].tolist() == expected["input_ids"][0]
    assert tokens.features["token_type_ids"].tolist() == expected["token_type_ids"][0]
    assert tokens.truncated == by_the_model.truncated == (len(whole["input_ids"][0]) > tokens.count)


@pytest.mark.parametrize("by_the_model", [False, True])
def test_a_pair_of_long_texts_costs_the_sum_of_both_not_the_product(
    classifier: PairClassifier, by_the_model: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their pieces that are cut off would be combined in 25,000 ways: gigabytes."""
    if by_the_model:
        monkeypatch.setattr(classifier._tokenizer, "core", None)
    classifier.tokenize([("a", "b")])
    memory = Memory(os.getpid())
    memory.begin()
    (tokens,) = classifier.tokenize([("," * 9990, "!" * 9990)])
    assert (tokens.count, tokens.truncated, memory.rise() < 2**26) == (64, True, True)


def test_a_model_that_does_more_to_pairs_than_tokenize_them_does_all_of_it(
    folder: Path, classifier: PairClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    preprocess = CrossEncoder.preprocess

    def prompted(model: CrossEncoder, pairs: list[tuple[str, str]]) -> dict[str, Any]:
        return dict(preprocess(model, [(f"a {one}", other) for one, other in pairs]))

    monkeypatch.setattr(CrossEncoder, "preprocess", prompted)
    prompting = PairClassifier.open(folder, "cpu")
    assert prompting._tokenizer.core is None
    (tokens,), (expected,) = prompting.tokenize([("b", "c")]), classifier.tokenize([("a b", "c")])
    assert tokens.features["input_ids"].tolist() == expected.features["input_ids"].tolist()


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="as a pair classifier"):
        PairClassifier.open(tmp_path, "cpu")
