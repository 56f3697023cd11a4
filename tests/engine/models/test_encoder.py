"""Texts to unit vectors, by value against a transformer's mean-pooled output, and what is refused on the way."""

import json
import random
import shutil
import string
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import AutoModel, AutoTokenizer

from app.engine.bases import WEIGHTS, find_base
from app.engine.models.encoder import Encoder
from app.engine.models.tokenizer import equal
from app.engine.text_form import readable
from app.errors import ModelRefused, Unembeddable
from tests.tiny_model import MAX_TOKENS, PIECES, build_tiny_model

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюя"
MANY_SCRIPTS = [
    *PIECES,
    *string.ascii_uppercase,
    *"äöüÄÖÜßéñ",
    *CYRILLIC,
    *CYRILLIC.upper(),
    *"是什么意思",
    *"हिन्दी",
    *"العربية",
]

QUESTIONS = [
    "How do I learn Python?",
    "What is the best way to learn the Python programming language?",
    "Why?",
    "How can I reset my password when I no longer have access to my old email address?",
    "what's 2+2",
    "Is it safe to eat mushrooms found in a forest?",
    "Where is the nearest station?",
    "Which laptop should I buy for machine learning, and why that one and not any other?",
    "Can dogs eat grapes?",
    "¿Cómo aprendo Python?",
]


def by_hand(folder: Path, texts: Sequence[str]) -> NDArray[np.float64]:
    """Mean of the transformer's last hidden states over the real tokens, divided by its norm."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    inputs = tokenizer(
        list(texts), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
    )
    with torch.inference_mode():
        hidden = model(**inputs).last_hidden_state.double().numpy()
    mask = inputs["attention_mask"].double().numpy()[:, :, None]
    means = (hidden * mask).sum(axis=1) / mask.sum(axis=1)
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True))


def words(count: int) -> str:
    """A text of `count` tokens, the special two included."""
    return " ".join("abcdefghij"[i % 10] for i in range(count - 2))


@pytest.fixture(scope="module")
def distilbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Laid out as distilbert-base-nli-stsb-quora-ranking is."""
    return build_tiny_model(tmp_path_factory.mktemp("models") / "distilbert", "distilbert", seed=1)


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Laid out as distilbert-multilingual-nli-stsb-quora-ranking is: it keeps case and knows many scripts."""
    folder = tmp_path_factory.mktemp("models") / "multilingual"
    return build_tiny_model(folder, "distilbert", seed=2, pieces=MANY_SCRIPTS, lower_case=False)


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without a transformer, whose every word has the one vector of `static_rows`."""
    folder = tmp_path_factory.mktemp("models") / "static"
    tokenizer = Tokenizer(
        WordLevel({"[UNK]": 0, "how": 1, "old": 2, "are": 3, "you": 4}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = Whitespace()
    module = StaticEmbedding(tokenizer, embedding_weights=static_rows())
    SentenceTransformer(modules=[module], device="cpu").save(str(folder), create_model_card=False)
    return folder


def static_rows() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path, tiny_model: Path) -> Path:
    """A copy of the tiny model, to be changed."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def change_weights(folder: Path, name: str, row: int | slice, value: float) -> None:
    weights = load_file(folder / WEIGHTS)
    weights[name][row] = value
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


# Values


def test_a_vector_is_the_mean_over_the_tokens_divided_by_its_norm(
    tiny_model: Path, tiny_encoder: Encoder
) -> None:
    np.testing.assert_allclose(
        tiny_encoder.encode(QUESTIONS), by_hand(tiny_model, QUESTIONS), rtol=0, atol=1e-6
    )


def test_the_layout_of_distilbert_quora_ranking(distilbert: Path) -> None:
    encoder = Encoder.open(distilbert, "cpu")
    np.testing.assert_allclose(
        encoder.encode(QUESTIONS), by_hand(distilbert, QUESTIONS), rtol=0, atol=1e-6
    )


def test_the_layout_of_its_multilingual_sibling(multilingual: Path) -> None:
    encoder = Encoder.open(multilingual, "cpu")
    texts = [
        *QUESTIONS,
        "Что это значит?",
        "是什么意思",
        "Wie schön ist Österreich?",
        "हिन्दी",
        "العربية",
    ]
    np.testing.assert_allclose(
        encoder.encode(texts), by_hand(multilingual, texts), rtol=0, atol=1e-6
    )


def test_a_cased_model_tells_case_and_an_uncased_does_not(
    multilingual: Path, tiny_encoder: Encoder
) -> None:
    texts = ["Polish", "polish"]
    cased, uncased = Encoder.open(multilingual, "cpu").encode(texts), tiny_encoder.encode(texts)
    assert float(cased[0] @ cased[1]) < 0.99
    np.testing.assert_array_equal(uncased[0], uncased[1])


def test_a_multilingual_model_reads_every_script(multilingual: Path) -> None:
    unknown = 1  # the place of [UNK] in the vocabulary
    texts = ["Привет", "意思", "schön", "हिन्दी"]
    known = {
        t.text: unknown not in t.features["input_ids"]
        for t in Encoder.open(multilingual, "cpu").tokenize(texts)
    }
    assert known == dict.fromkeys(texts, True)


def test_a_transformer_without_modules_is_mean_pooled(model: Path, tiny_encoder: Encoder) -> None:
    (model / "modules.json").unlink()
    (model / "sentence_bert_config.json").unlink()
    texts = ["How do I learn Python?", "Why?"]
    found = Encoder.open(model, "cpu").encode(texts)
    np.testing.assert_allclose(found, tiny_encoder.encode(texts), rtol=0, atol=1e-6)


def test_a_static_model_gives_the_mean_of_its_words(static: Path) -> None:
    how, old, are, you = static_rows()[1:]
    means = np.stack([(how + old) / 2, (how + old + are + you) / 4, you])
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    found = Encoder.open(static, "cpu").encode(["how old", "how old are you", "you"])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_a_static_model_has_no_limit_and_cuts_nothing(static: Path) -> None:
    encoder = Encoder.open(static, "cpu")
    (tokens,) = encoder.tokenize(["how old are you " * 10_000])
    assert not tokens.truncated
    assert encoder.max_tokens is None


def test_a_text_without_a_word_has_no_direction_in_a_static_model(static: Path) -> None:
    encoder = Encoder.open(static, "cpu")
    nothing, something = encoder.tokenize(["", "you"])
    with pytest.raises(Unembeddable):
        encoder.encode_tokens([something, nothing])
    np.testing.assert_allclose(
        encoder.encode_tokens([something]), encoder.encode(["you"]), rtol=0, atol=1e-7
    )


def test_the_real_minilm_equals_sentence_transformers() -> None:
    folder = find_base("all-MiniLM-L6-v2")
    expected = SentenceTransformer(str(folder), device="cpu").encode(
        QUESTIONS, normalize_embeddings=True
    )
    encoder = Encoder.open(folder, "cpu")
    assert (encoder.dimension, encoder.max_tokens) == (384, 256)
    np.testing.assert_allclose(encoder.encode(QUESTIONS), expected, rtol=0, atol=1e-6)


# What holds for any text


def test_vectors_are_unit_float32_though_the_model_normalises_nothing(
    tiny_model: Path, tiny_encoder: Encoder
) -> None:
    raw = np.asarray(SentenceTransformer(str(tiny_model), device="cpu").encode(QUESTIONS))
    assert float(np.linalg.norm(raw, axis=1).min()) > 1.5
    vectors = tiny_encoder.encode(QUESTIONS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=0, atol=1e-6)


@settings(deadline=None)
@given(ANY_TEXT)
@example("")
@example("\x00")
@example("\u200b\u202e\ufeff")
@example("👩‍👩‍👧‍👦" * 50)
@example("\U0010ffff")
def test_any_text_has_a_finite_unit_vector(tiny_encoder: Encoder, text: str) -> None:
    (vector,) = tiny_encoder.encode([text])
    assert float(np.linalg.norm(vector)) == pytest.approx(1, abs=1e-6)


@settings(deadline=None, max_examples=50)
@given(st.lists(ANY_TEXT, min_size=2, max_size=6))
def test_the_company_in_a_batch_changes_next_to_nothing(
    tiny_encoder: Encoder, texts: list[str]
) -> None:
    alone = np.concatenate([tiny_encoder.encode([text]) for text in texts])
    np.testing.assert_allclose(tiny_encoder.encode(texts), alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_vectors_stand_in_the_order_of_their_texts(tiny_encoder: Encoder, batch_size: int) -> None:
    texts = [words(count) for count in (30, 3, 48, 7, 7, 90, 2, 12, 5, 40)]
    alone = np.concatenate([tiny_encoder.encode([text]) for text in texts])
    np.testing.assert_allclose(tiny_encoder.encode(texts, batch_size), alone, rtol=0, atol=1e-6)


def test_no_texts_have_no_tokens_and_no_vectors(tiny_encoder: Encoder) -> None:
    assert tiny_encoder.tokenize([]) == []
    vectors = tiny_encoder.encode([])
    assert vectors.tolist() == np.empty((0, 32)).tolist()
    assert vectors.shape == (0, 32)


# Tokens


def test_tokens_are_what_the_models_tokenizer_gives(
    tiny_model: Path, tiny_encoder: Encoder
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    for text, tokens in zip(QUESTIONS[:4], tiny_encoder.tokenize(QUESTIONS[:4]), strict=True):
        expected = tokenizer(text, truncation=True, max_length=MAX_TOKENS)
        assert tokens.text == text
        assert tokens.features["input_ids"].tolist() == expected["input_ids"]
        assert tokens.features["attention_mask"].tolist() == expected["attention_mask"]
        assert tokens.count == len(expected["input_ids"])


@pytest.mark.parametrize("kind", ["tiny_model", "distilbert", "multilingual"])
def test_tokens_are_made_without_detours_and_the_same(
    kind: str, request: pytest.FixtureRequest
) -> None:
    encoder = Encoder.open(request.getfixturevalue(kind), "cpu")
    assert encoder._tokenizer
    assert encoder._tokenizer.core
    texts = [
        *QUESTIONS,
        "",
        " ",
        "[SEP] how [PAD] OLD?",
        "İß ｆｕｌｌ\u200b\t日本語",
        words(48),
        words(49),
        words(3000),
    ]
    for asked in (texts, *([text] for text in texts)):
        by_the_model = encoder._tokenizer.by_the_model([readable(text) for text in asked])
        assert all(map(equal, encoder.tokenize(asked), by_the_model))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(ANY_TEXT, min_size=1, max_size=4))
def test_any_text_has_the_tokens_that_the_model_makes_of_it(
    tiny_encoder: Encoder, texts: list[str]
) -> None:
    assert tiny_encoder._tokenizer
    by_the_model = tiny_encoder._tokenizer.by_the_model([readable(text) for text in texts])
    assert all(map(equal, tiny_encoder.tokenize(texts), by_the_model))


def test_a_model_that_does_more_to_texts_than_tokenize_them_does_all_of_it(
    tiny_model: Path, tiny_encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    preprocess = SentenceTransformer.preprocess

    def prompted(model: SentenceTransformer, texts: list[str]) -> dict[str, Any]:
        return dict(preprocess(model, [f"a {text}" for text in texts]))

    monkeypatch.setattr(SentenceTransformer, "preprocess", prompted)
    encoder = Encoder.open(tiny_model, "cpu")
    (tokens,), (expected,) = encoder.tokenize(["b"]), tiny_encoder.tokenize(["a b"])
    assert encoder._tokenizer
    assert encoder._tokenizer.core is None
    assert tokens.features["input_ids"].tolist() == expected.features["input_ids"].tolist()


@pytest.mark.parametrize(
    ("count", "kept", "truncated"),
    [(47, 47, False), (48, 48, False), (49, 48, True), (1000, 48, True)],
)
def test_a_text_is_cut_past_the_limit_and_says_so(
    tiny_encoder: Encoder, count: int, kept: int, truncated: bool
) -> None:
    (tokens,) = tiny_encoder.tokenize([words(count)])
    assert (tokens.count, tokens.truncated) == (kept, truncated)


def test_a_cut_text_has_the_vector_of_what_was_kept(tiny_encoder: Encoder) -> None:
    whole, cut = tiny_encoder.encode([words(48), words(48) + " and then some more"])
    np.testing.assert_allclose(cut, whole, rtol=0, atol=1e-6)


def test_only_the_texts_that_are_cut_say_so(tiny_encoder: Encoder) -> None:
    counts = [5, 49, 48, 60, 2]
    tokens = tiny_encoder.tokenize([words(count) for count in counts])
    assert [(t.count, t.truncated) for t in tokens] == [
        (5, False),
        (48, True),
        (48, False),
        (48, True),
        (2, False),
    ]


def test_many_threads_tokenize_at_once(tiny_model: Path) -> None:
    encoder = Encoder.open(tiny_model, "cpu")

    def wrong(seed: int) -> list[str]:
        counts = [random.Random(seed + i).choice([5, 48, 49, 100]) for i in range(8)]
        tokens = encoder.tokenize([words(count) for count in counts])
        found = [(t.count, t.truncated) for t in tokens]
        expected = [(min(count, 48), count > 48) for count in counts]
        return [f"{f} for {e}" for f, e in zip(found, expected, strict=True) if f != e]

    with ThreadPoolExecutor(16) as threads:
        assert [said for said in threads.map(wrong, range(1000)) if said] == []


# What the encoder says of itself


def test_an_encoder_knows_its_model(tiny_encoder: Encoder) -> None:
    assert (tiny_encoder.dimension, tiny_encoder.max_tokens) == (32, 48)
    assert (tiny_encoder.device, tiny_encoder.dtype) == ("cpu", "float32")


def test_weights_are_float32_on_a_cpu_however_they_are_stored(
    model: Path, tiny_encoder: Encoder
) -> None:
    weights = {name: value.half() for name, value in load_file(model / WEIGHTS).items()}
    save_file(weights, model / WEIGHTS, metadata={"format": "pt"})
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "dtype": "float16"}))
    encoder = Encoder.open(model, "cpu")
    assert encoder.dtype == "float32"
    np.testing.assert_allclose(
        encoder.encode(QUESTIONS), tiny_encoder.encode(QUESTIONS), rtol=0, atol=5e-3
    )


def test_auto_is_the_cpu_where_there_is_no_gpu(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Encoder.open(tiny_model, "auto").device == "cpu"


def test_cuda_without_a_gpu_is_refused_and_the_setting_named(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelRefused, match="SAMEASK_DEVICE=cpu"):
        Encoder.open(tiny_model, "cuda")


# A GPU that has too little memory


def test_a_batch_that_does_not_fit_is_run_in_halves(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [words(count) for count in (3, 9, 2, 30, 12, 1, 5)]
    encoder = Encoder.open(tiny_model, "cpu")
    expected = encoder.encode(texts)
    sizes = crowded(monkeypatch, room=2)
    np.testing.assert_allclose(
        encoder.encode_tokens(encoder.tokenize(texts)), expected, rtol=0, atol=1e-6
    )
    assert sizes == [7, 3, 1, 2, 4, 2, 2]


def test_a_text_that_does_not_fit_alone_is_an_error(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Encoder.open(tiny_model, "cpu")
    crowded(monkeypatch, room=0)
    with pytest.raises(torch.OutOfMemoryError):
        encoder.encode(["how old?", "why?"])


def crowded(monkeypatch: pytest.MonkeyPatch, room: int) -> list[int]:
    """Models have memory for so many rows at once; the sizes that they were asked."""
    sizes: list[int] = []
    run = SentenceTransformer.forward

    def forward(model: SentenceTransformer, features: dict[str, torch.Tensor]) -> Any:
        sizes.append(len(features["attention_mask"]))
        if sizes[-1] > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(model, features)

    monkeypatch.setattr(SentenceTransformer, "forward", forward)
    return sizes


# Models that give no numbers


def test_a_text_whose_vector_is_not_finite_is_unembeddable(
    model: Path, tiny_encoder: Encoder
) -> None:
    row = (model / "vocab.txt").read_text("utf-8").split("\n").index("7")
    change_weights(model, "embeddings.word_embeddings.weight", row, float("nan"))
    encoder = Encoder.open(model, "cpu")
    good, bad = encoder.tokenize(["no such digit", "7"])
    with pytest.raises(Unembeddable):
        encoder.encode_tokens([bad])
    with pytest.raises(Unembeddable):
        encoder.encode_tokens([good, bad])
    np.testing.assert_array_equal(
        encoder.encode_tokens([good]), tiny_encoder.encode(["no such digit"])
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_without_finite_numbers_embeds_nothing(model: Path, value: float) -> None:
    change_weights(model, "embeddings.word_embeddings.weight", slice(None), value)
    with pytest.raises(Unembeddable):
        Encoder.open(model, "cpu")


# Folders that are refused


def test_pickled_weights_are_refused(model: Path) -> None:
    torch.save(load_file(model / WEIGHTS), model / "pytorch_model.bin")
    (model / WEIGHTS).unlink()
    with pytest.raises(ModelRefused, match=r"pytorch_model\.bin is a pickle"):
        Encoder.open(model, "cpu")


def test_pickled_weights_beside_safetensors_are_passed_over(
    model: Path, tiny_encoder: Encoder
) -> None:
    torch.save(
        dict.fromkeys(load_file(model / WEIGHTS), torch.zeros(1)), model / "pytorch_model.bin"
    )
    np.testing.assert_array_equal(
        Encoder.open(model, "cpu").encode(QUESTIONS), tiny_encoder.encode(QUESTIONS)
    )


@pytest.fixture
def dense(tmp_path: Path, tiny_model: Path) -> Path:
    """A model with a second module that has weights of its own."""
    model = SentenceTransformer(str(tiny_model), device="cpu")
    model.append(Dense(32, 8))
    model.save(str(tmp_path / "dense"), create_model_card=False)
    return tmp_path / "dense"


def test_a_model_with_a_dense_module_opens(dense: Path) -> None:
    expected = SentenceTransformer(str(dense), device="cpu").encode(
        QUESTIONS, normalize_embeddings=True
    )
    np.testing.assert_allclose(
        Encoder.open(dense, "cpu").encode(QUESTIONS), expected, rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("beside", [[], ["other.safetensors"]])
def test_a_module_with_pickled_weights_is_refused(dense: Path, beside: list[str]) -> None:
    module = dense / "2_Dense"
    torch.save(load_file(module / WEIGHTS), module / "pytorch_model.bin")
    for name in beside:  # not the file that would be loaded instead of the pickle
        shutil.copy(module / WEIGHTS, module / name)
    (module / WEIGHTS).unlink()
    with pytest.raises(ModelRefused, match=r"2_Dense.pytorch_model\.bin is a pickle"):
        Encoder.open(dense, "cpu")


def write_modules(folder: Path, second_type: object) -> None:
    modules = json.loads((folder / "modules.json").read_text("utf-8"))
    modules[1]["type"] = second_type
    (folder / "modules.json").write_text(json.dumps(modules), "utf-8")


@pytest.mark.parametrize(
    "kind",
    ["custom.Pooling", "os.path.Pooling", "sentence_transformersx.Pooling", "Pooling", "", None, 7],
)
def test_a_module_of_a_models_own_is_refused(model: Path, kind: object) -> None:
    write_modules(model, kind)
    ran = model / "ran"
    (model / "custom.py").write_text(f"open({str(ran)!r}, 'w')\nclass Pooling: pass\n")
    with pytest.raises(ModelRefused, match=r"modules\.json"):
        Encoder.open(model, "cpu")
    assert not ran.exists()


def test_an_unknown_module_of_sentence_transformers_is_refused(model: Path) -> None:
    write_modules(model, "sentence_transformers.models.nothing.Pooling")
    with pytest.raises(ModelRefused):
        Encoder.open(model, "cpu")


@pytest.mark.parametrize(
    "content", ["", "{", "7", '"modules"', '["modules"]', '{"type": 1}', "[]", "[{}]"]
)
def test_modules_that_are_no_list_of_modules_are_refused(model: Path, content: str) -> None:
    (model / "modules.json").write_text(content)
    with pytest.raises(ModelRefused):
        Encoder.open(model, "cpu")


def test_code_that_a_configuration_names_is_never_run(model: Path) -> None:
    ran = model / "ran"
    (model / "own.py").write_text(f"open({str(ran)!r}, 'w')\n")
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (model / "config.json").write_text(json.dumps(own))
    with pytest.raises(ModelRefused):
        Encoder.open(model, "cpu")
    assert not ran.exists()


@pytest.mark.parametrize(
    "name", [WEIGHTS, "config.json", "tokenizer.json", "1_Pooling/config.json"]
)
@pytest.mark.parametrize("content", [b"", b"junk"])
def test_a_damaged_file_refuses_the_model(model: Path, name: str, content: bytes) -> None:
    (model / name).write_bytes(content)
    with pytest.raises(ModelRefused, match=f"can't load {model}"):
        Encoder.open(model, "cpu")


def test_weights_cut_short_refuse_the_model(model: Path) -> None:
    (model / WEIGHTS).write_bytes((model / WEIGHTS).read_bytes()[:-100])
    with pytest.raises(ModelRefused, match=f"can't load {model}"):
        Encoder.open(model, "cpu")


@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "1_Pooling/config.json"])
def test_a_missing_file_refuses_the_model(model: Path, name: str) -> None:
    (model / name).unlink()
    with pytest.raises(ModelRefused, match=f"can't load {model}"):
        Encoder.open(model, "cpu")


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_without_a_model_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelRefused, match=name):
        Encoder.open(tmp_path / name, "cpu")
