"""What one answer may hold, and what the models may read for it: bytes and tokens, whatever a request asks for."""

import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from starlette.testclient import TestClient

from app.engine.models.pair_classifier import PairClassifier
from app.engine.query import READ_AT_ONCE, Bounds
from app.engine.sizes import fit, fitting, json_bytes, text_bytes, until_full
from app.engine.store import Question, Store
from app.errors import AnswerTooLarge
from app.main import create_app
from app.settings import Settings
from tests.conftest import publish_release, wait_until_ready
from tests.serving import ask, detector_of, write
from tests.statements import statements_of
from tests.tiny_model import build_tiny_classifier

T = TypeVar("T")

LIMIT = 65_536
LONG = "x" * 9_000  # seven of them fit
CONTROL = "\x01" * 3_000  # 18,000 bytes of JSON: three of them fit
CROWD = 900
MOST_HELD = 3_000_000  # bytes for an answer of 65,536, where all that is stored is 8 MB
FRAME = 4_000  # bytes of an answer that are no texts of questions


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[TestClient]:
    """A service whose answers are small, with a pair classifier."""
    folder = tmp_path_factory.mktemp("small")
    classifier = build_tiny_classifier(tiny_model, folder / "classifier")
    release = publish_release(folder / "classified", tiny_model, 32, classifier=classifier)
    settings = Settings(
        data_dir=folder / "data",
        release=release.path,
        device="cpu",
        max_answer_bytes=LIMIT,
        max_request_tokens=1024,
    )
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        for collection, text in (("long", LONG), ("control", CONTROL)):
            assert client.put(f"/collections/{collection}").is_success
            texts = {f"q{n:02}": f"{n} {text}" for n in range(20)}
            write(client, collection, **texts)
        yield client


def _pages(client: TestClient, path: str, items: str, **parameters: Any) -> list[list[Any]]:
    """Every page of a list, by its cursors; each no larger than an answer may be."""
    pages = []
    while True:
        response = client.get(path, params=parameters)
        assert len(response.content) <= LIMIT + FRAME
        page = response.json()
        pages.append(page[items])
        if page["next_cursor"] is None:
            return pages
        parameters["cursor"] = page["next_cursor"]


@pytest.mark.parametrize(("collection", "first_page"), [("long", 7), ("control", 3)])
def test_a_page_of_long_questions_ends_early_and_the_next_goes_on(
    small: TestClient, collection: str, first_page: int
) -> None:
    pages = _pages(small, "/questions", "questions", collection=collection, limit=1000)
    assert len(pages[0]) == first_page
    assert [question["id"] for page in pages for question in page] == [
        f"q{n:02}" for n in range(20)
    ]


def test_a_page_of_short_questions_is_full(small: TestClient) -> None:
    write(small, **{f"s{n:03}": f"a short question {n}?" for n in range(50)})
    pages = _pages(small, "/questions", "questions", limit=20)
    assert [len(page) for page in pages] == [20, 20, 10]


def test_a_page_of_labels_with_long_texts_ends_early_and_the_next_goes_on(
    small: TestClient,
) -> None:
    said = [
        {"questions": [f"{n} {LONG}", f"other {n}"], "is_duplicate": True, "by": "a"}
        for n in range(20)
    ]
    assert small.post("/labels", json={"collection": "long", "labels": said}).is_success
    pages = _pages(small, "/labels", "labels", collection="long", limit=1000)
    assert len(pages[0]) == 7
    assert [label["id"] for page in pages for label in page] == list(range(1, 21))


def test_no_more_rows_are_read_than_a_page_can_hold(store: Store) -> None:
    store.questions.upsert("default", [(f"q{n:03}", f"{n} {LONG}") for n in range(200)])
    assert len(store.questions.page("default", None, 200, max_bytes=LIMIT)) == 8


def test_one_item_larger_than_an_answer_is_a_page_of_its_own() -> None:
    texts = ["a" * 10, "b" * 100, "c" * 10, "d" * 10]
    assert fitting(list(until_full(texts[1:], 50)), 50) == ["b" * 100]
    assert fitting(list(until_full(texts, 50)), 50) == ["a" * 10]
    assert fitting(texts[2:], 50) == texts[2:]


@pytest.mark.parametrize("text", ["plain", "äöü", "🦊", "\x01\n\t", '"\\', "\ud800"])
def test_bytes_of_a_text_are_those_of_its_json(text: str) -> None:
    encoded = json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert json_bytes(text) == len(encoded) - 2
    question = Question("id", text, 1, None, b"", b"")
    assert text_bytes(question) == 2 + json_bytes(text)
    assert fit([text], json_bytes(text))
    assert not fit([text], json_bytes(text) - 1)


def test_duplicates_with_too_many_bytes_of_texts_are_refused(small: TestClient) -> None:
    body = {"questions": ["y"], "collection": "long", "top_k": 20, "verify": "never"}
    response = small.post("/duplicates", json=body)
    assert response.status_code == 422
    assert response.json()["errors"] == [
        {
            "field": "questions",
            "detail": "would be answered with too many bytes of texts; at most 65,536 (SAMEASK_MAX_ANSWER_BYTES)",
        }
    ]
    candidates = small.post("/duplicates", json=body | {"top_k": 7}).json()["results"][0]
    assert len(candidates["candidates"]) == 7


def test_a_question_that_is_asked_twice_is_counted_twice(small: TestClient) -> None:
    body = {"questions": ["y", "y"], "collection": "long", "top_k": 5, "verify": "never"}
    assert small.post("/duplicates", json=body).status_code == 422
    assert small.post("/duplicates", json=body | {"top_k": 3}).status_code == 200


def test_copies_of_a_text_are_counted_once(small: TestClient) -> None:
    assert small.put("/collections/copies").is_success
    write(small, "copies", **{f"same{n}": f"the same {LONG}" for n in range(20)})
    body = {"questions": [f"the same {LONG}"], "collection": "copies", "top_k": 8}
    (candidate,) = small.post("/duplicates", json=body).json()["results"][0]["candidates"]
    assert candidate["id_count"] == 20


@pytest.fixture(scope="module")
def crowded(small: TestClient) -> TestClient:
    """The service with 900 questions, 8 MB, of the same visible words, and as many copies of one text."""
    for collection in ("variants", "crowd"):
        assert small.put(f"/collections/{collection}").is_success
    for start in range(0, CROWD, 300):
        numbers = range(start, start + 300)
        write(small, "variants", **{f"v{n}": f"the same{' ' * n} {LONG}" for n in numbers})
        write(small, "crowd", **{f"c{n}": f"the same {LONG}" for n in numbers})
    return small


def _peak_of(act: Callable[[], T]) -> tuple[T, int]:
    """What it returns, and the most bytes that Python held meanwhile beside those from before."""
    tracemalloc.start()
    try:
        return act(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("collection", "top_k", "status"),
    [("variants", 3, 200), ("variants", 99, 422), ("crowd", 3, 200)],
)
def test_of_many_exact_matches_no_more_are_held_than_are_answered(
    crowded: TestClient, collection: str, top_k: int, status: int
) -> None:
    body = {"questions": [f"the same {LONG}"], "collection": collection, "top_k": top_k}
    response, peak = _peak_of(lambda: crowded.post("/duplicates", json=body))
    assert response.status_code == status
    assert peak < MOST_HELD
    if status == 200:
        candidates = response.json()["results"][0]["candidates"]
        expected = ["v0", "v1", "v2"] if collection == "variants" else ["c0"]
        assert [candidate["id"] for candidate in candidates] == expected


def test_of_all_questions_few_are_held_at_a_time(crowded: TestClient) -> None:
    questions = detector_of(crowded).store.questions
    count, peak = _peak_of(lambda: sum(1 for _ in questions.every("crowd")))
    assert count == CROWD
    assert peak < MOST_HELD


def test_of_many_questions_that_a_label_links_no_more_are_held_than_an_answer_goes(
    crowded: TestClient,
) -> None:
    said = {"questions": ["asked", f"The same {LONG}"], "is_duplicate": True, "by": "anna"}
    assert crowded.post("/labels", json={"collection": "variants", "labels": [said]}).is_success
    body = {"questions": ["asked"], "collection": "variants", "top_k": 3, "verify": "never"}
    response, peak = _peak_of(lambda: crowded.post("/duplicates", json=body))
    candidates = response.json()["results"][0]["candidates"]
    assert [candidate["verdict"] for candidate in candidates] == ["duplicate"] * 3
    assert peak < MOST_HELD


@pytest.mark.data_directory
def test_questions_that_were_hit_are_read_no_further_than_an_answer_goes(store: Store) -> None:
    count = 4 * READ_AT_ONCE
    store.questions.upsert("default", [(f"q{n}", f"{n} {LONG}") for n in range(count)])
    bounds = Bounds(max_answer_bytes=LIMIT)
    with statements_of(store) as statements, pytest.raises(AnswerTooLarge):
        bounds.read(store, 1, range(1, count + 1))
    assert len([one for one in statements if one.startswith("SELECT")]) == 1
    assert len(bounds.read(store, 1, range(1, 8))) == 7


def test_what_is_excluded_is_not_read(small: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    read_questions = Bounds.read

    def watch(bounds: Bounds, store: Store, key: int, revisions: list[int]) -> dict[int, Question]:
        read.extend(revisions)
        return read_questions(bounds, store, key, revisions)

    monkeypatch.setattr(Bounds, "read", watch)
    ask(
        small,
        "y",
        collection="long",
        top_k=2,
        exclude_ids=[f"q{n:02}" for n in range(15)],
        verify="never",
    )
    assert len(read) == 2


def test_texts_with_too_many_tokens_are_refused(small: TestClient) -> None:
    texts = [f"{n} " + "a b " * 50 for n in range(40)]  # 48 tokens each: the model reads no more
    for path, body in (
        ("/duplicates", {"questions": texts}),
        ("/pair-score", {"pairs": [{"question1": text, "question2": "b"} for text in texts]}),
    ):
        response = small.post(path, json=body)
        assert response.status_code == 422
        (error,) = response.json()["errors"]
        assert error["field"] in ("questions", "pairs")
        assert error["detail"].endswith("tokens; at most 1,024 (SAMEASK_MAX_REQUEST_TOKENS)")
    assert small.post("/duplicates", json={"questions": texts[:20]}).status_code == 200


def test_candidates_past_the_tokens_stay_unread_the_nearest_of_each_text_first(
    small: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, str]] = []
    tokenize = PairClassifier.tokenize

    def watch(classifier: PairClassifier, pairs: list[tuple[str, str]]) -> Any:
        read.extend(pairs)
        return tokenize(classifier, pairs)

    monkeypatch.setattr(PairClassifier, "tokenize", watch)
    monkeypatch.setattr("app.engine.scorer.Scorer.is_open", lambda _, near: near == near)
    assert small.put("/collections/middling").is_success
    write(small, "middling", **{f"m{n}": f"{n} " + "c d " * 50 for n in range(20)})
    texts = [f"{n} " + "b a " * 50 for n in range(8)]
    answer = ask(small, *texts, collection="middling", top_k=3, verify="auto")
    assert len(answer["results"]) == 8
    assert [pair[0] for pair in read[:8]] == texts
    body = {"questions": texts, "collection": "middling", "top_k": 3, "verify": "always"}
    response = small.post("/duplicates", json=body)
    assert response.status_code == 422
    assert "SAMEASK_MAX_REQUEST_TOKENS" in response.json()["errors"][0]["detail"]
