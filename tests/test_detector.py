"""Detector: who writes finds it in the next answer, among many at once, with bad texts and failing models."""

import asyncio
import random
import string
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app.detector import EMBEDDING_THREADS, IMPORTS_AT_ONCE, READING_THREADS, Detector
from app.engine.asked import Asked
from app.engine.findings import Candidate
from app.engine.index import faiss_index
from app.engine.index.faiss_index import Body, Index
from app.engine.live_release import LiveRelease
from app.engine.models.encoder import Encoder
from app.engine.models.tokens import Tokens
from app.engine.search import Search
from app.engine.served_models import ServedModels
from app.engine.store import NewLabel, Store, Written
from app.engine.store.questions import Questions
from app.errors import InvalidRequest, ModelFailing, NotReady, QuestionNotFound, Unembeddable
from app.main import create_app
from app.settings import Settings
from tests.backend import WITHIN
from tests.serving import PATIENCE_SECONDS, Model, write

pytestmark = pytest.mark.anyio

ALL = 1000  # more than any test stores
COLLECTION = "default"
BAD = "unembeddable"


@pytest.fixture
async def detector(settings: Settings) -> AsyncIterator[Detector]:
    """A detector at work, its indexes up to date."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        detector: Detector = app.state.detector
        await _eventually(lambda: _is_ready(detector))
        yield detector


@pytest.fixture
def picky_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that has no finite vector for a text with `BAD` in it."""
    forward = Encoder.encode_tokens

    def encode_tokens(encoder: Encoder, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        if any(BAD in tokens.text for tokens in batch):
            raise Unembeddable("the model has no finite vector for this text")
        return forward(encoder, batch)

    monkeypatch.setattr(Encoder, "encode_tokens", encode_tokens)


async def _eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():
            await asyncio.sleep(0.002)


async def _is_ready(detector: Detector) -> bool:
    return (await detector.readiness()).ready


async def _candidates(detector: Detector, text: str, top_k: int = ALL) -> list[Candidate]:
    return (await detector.find([text], COLLECTION, top_k)).results[0].candidates


async def _found(detector: Detector, text: str = "Something else entirely?") -> dict[str, str]:
    """Id -> text of all that a search offers; the text asked is none of those stored."""
    return {candidate.id: candidate.text for candidate in await _candidates(detector, text)}


def _texts(count: int) -> list[str]:
    chosen = random.Random(7)
    return ["".join(chosen.choices(string.ascii_lowercase + " ", k=20)) + "?" for _ in range(count)]


async def test_each_of_50_writers_finds_its_own_question_right_after_its_answer(
    detector: Detector,
) -> None:
    async def write_and_find(number: int, text: str) -> None:
        written = await detector.add(COLLECTION, [(str(number), text)])
        findings = await detector.find([f"not {text}"], COLLECTION, ALL)
        assert (written.added, findings.revision >= written.revision) == (1, True)
        assert {c.id: c.text for c in findings.results[0].candidates}[str(number)] == text

    await asyncio.gather(*(write_and_find(*numbered) for numbered in enumerate(_texts(50))))
    assert await _found(detector) == {str(number): text for number, text in enumerate(_texts(50))}
    assert (await detector.read(detector.store.collections.get, COLLECTION)).revision == 50


async def test_50_who_write_update_and_delete_at_once_each_see_their_own_last_write(
    detector: Detector,
) -> None:
    async def live_a_life(number: int, text: str) -> None:
        id_ = str(number)
        await detector.add(COLLECTION, [(id_, text)])
        await detector.add(COLLECTION, [(id_, text[::-1])])
        assert (await _found(detector))[id_] == text[::-1]
        await detector.remove(COLLECTION, id_)
        assert id_ not in await _found(detector)
        if number % 2:
            await detector.add(COLLECTION, [(id_, text)])
            assert (await _found(detector))[id_] == text

    texts = _texts(50)
    await asyncio.gather(*(live_a_life(*numbered) for numbered in enumerate(texts)))
    assert await _found(detector) == {str(number): texts[number] for number in range(1, 50, 2)}


async def test_answers_among_50_writers_are_right_by_value(
    detector: Detector, tiny_encoder: Encoder
) -> None:
    await detector.add(COLLECTION, [("fixed", "Can I cancel my order?")])
    asked = ["Can I cancel an order?", "What is the capital of France?", "Zyx?"]
    vectors = tiny_encoder.encode(["Can I cancel my order?", *asked])

    async def ask(place: int) -> float:
        return {c.id: c.similarity for c in await _candidates(detector, asked[place])}["fixed"]

    writers = [detector.add(COLLECTION, [(str(n), text)]) for n, text in enumerate(_texts(50))]
    answers = await asyncio.gather(*(ask(n % 3) for n in range(50)), *writers)
    similarities = (vectors[1:] @ vectors[0]).tolist()
    assert answers[:50] == pytest.approx([similarities[n % 3] for n in range(50)], abs=WITHIN)


async def test_who_asks_waits_for_no_other_reading(detector: Detector) -> None:
    await detector.add(COLLECTION, [("fixed", "Can I cancel my order?")])
    over = threading.Event()
    long = [detector._threads.reading.submit(over.wait, 30) for _ in range(READING_THREADS)]
    try:
        found = await asyncio.wait_for(detector.find(["Can I cancel an order?"], COLLECTION, 1), 20)
    finally:
        over.set()
    assert [c.id for c in found.results[0].candidates] == ["fixed"]
    assert all(reading.result() for reading in long)


async def test_what_is_excluded_stays_so_where_it_is_rewritten_meanwhile(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    await detector.add(COLLECTION, [("a", "Can I pay by card?"), ("b", "Can I pay by cheque?")])
    find_nearest = Search.find_nearest
    loop = asyncio.get_running_loop()

    def after_a_write(search: Search, texts: Sequence[Asked]) -> int:
        rewrite = detector.add(COLLECTION, [("a", "Can I pay by cards?")])
        asyncio.run_coroutine_threadsafe(rewrite, loop).result(PATIENCE_SECONDS)
        return find_nearest(search, texts)

    monkeypatch.setattr(Search, "find_nearest", after_a_write)
    findings = await detector.find(["Can I pay by bank card?"], COLLECTION, ALL, ["a"])
    assert [candidate.id for candidate in findings.results[0].candidates] == ["b"]


async def test_a_find_that_is_cancelled_gives_its_place_back(
    detector: Detector, model: Model
) -> None:
    model.hold("held")
    held = asyncio.create_task(detector.find(["held?"], COLLECTION, 5))
    await asyncio.to_thread(model.reached.wait, PATIENCE_SECONDS)
    leaving = asyncio.create_task(detector.find(["left one?", "left two?"], COLLECTION, 5))
    await _eventually(lambda: _is_waiting(detector, 3))
    leaving.cancel()
    await _eventually(lambda: _is_waiting(detector, 1))
    model.release()
    await held
    await _candidates(detector, "after?")
    assert not {"left one?", "left two?"} & set(model.seen)
    assert {"held?", "after?"} <= set(model.seen)


async def _is_waiting(detector: Detector, texts: int) -> bool:
    return detector.live.models.batcher.waiting == texts


@pytest.mark.usefixtures("picky_model")
async def test_a_text_that_can_not_be_embedded_is_written_and_passed_over(
    detector: Detector,
) -> None:
    written = await detector.add(
        COLLECTION, [("a", "One?"), ("b", f"An {BAD} text?"), ("c", "Three?")]
    )
    assert (written.added, written.revision) == (3, 3)
    assert await _found(detector) == {"a": "One?", "c": "Three?"}
    await detector.add(COLLECTION, [("d", "Four?")])
    assert await _found(detector) == {"a": "One?", "c": "Three?", "d": "Four?"}
    assert await _is_ready(detector)


@pytest.mark.usefixtures("picky_model")
async def test_a_quarantined_question_says_why_and_is_counted(detector: Detector) -> None:
    await detector.add(COLLECTION, [("a", "One?"), ("b", f"An {BAD} text?")])
    assert (await detector.read(detector.store.questions.get, COLLECTION, "a")).quarantined is None
    reason = (await detector.read(detector.store.questions.get, COLLECTION, "b")).quarantined
    assert reason == "Unembeddable: the model has no finite vector for this text"
    assert await detector.read(detector.store.revisions.quarantined_count) == 1


@pytest.mark.usefixtures("picky_model")
async def test_a_quarantined_question_is_found_word_for_word(detector: Detector) -> None:
    await detector.add(COLLECTION, [("b", f"An {BAD} text?")])
    (candidate,) = await _candidates(detector, f"An  {BAD} text?")
    assert (candidate.id, candidate.similarity, candidate.verdict) == ("b", 1.0, "duplicate")


@pytest.mark.usefixtures("picky_model")
async def test_a_text_that_is_mended_or_deleted_leaves_quarantine(detector: Detector) -> None:
    await detector.add(COLLECTION, [("a", f"One {BAD} text?"), ("b", f"Another {BAD} text?")])
    await detector.add(COLLECTION, [("a", "One?")])
    assert (
        await detector.read(detector.store.revisions.quarantined_count),
        (await detector.read(detector.store.questions.get, COLLECTION, "a")).quarantined,
    ) == (1, None)
    await detector.remove(COLLECTION, "b")
    assert (
        await detector.read(detector.store.revisions.quarantined_count),
        await _found(detector),
    ) == (
        0,
        {"a": "One?"},
    )


@pytest.mark.usefixtures("picky_model")
async def test_asking_what_can_not_be_embedded_is_the_fault_of_its_field_alone(
    detector: Detector,
) -> None:
    await detector.add(COLLECTION, [("a", "One?")])
    with pytest.raises(InvalidRequest) as refused:
        await detector.find(["Fine?", f"One {BAD}?", "Fine?", f"Two {BAD}?"], COLLECTION, 5)
    assert [error.field for error in refused.value.errors] == ["questions.1", "questions.3"]
    with pytest.raises(InvalidRequest) as refused:
        await detector.score([("Fine?", "Well?"), ("Fine?", f"Two {BAD}?")], COLLECTION)
    assert [error.field for error in refused.value.errors] == ["pairs.1.question2"]


@pytest.mark.usefixtures("picky_model")
async def test_bad_texts_of_some_spoil_no_answer_of_others(detector: Detector) -> None:
    await detector.add(COLLECTION, [("a", "One?")])
    asked = [f"A {BAD} text {n}?" if n % 5 == 0 else f"A fine text {n}?" for n in range(50)]
    answers = await asyncio.gather(
        *(_candidates(detector, text) for text in asked), return_exceptions=True
    )
    refused = [n for n, answer in enumerate(answers) if isinstance(answer, InvalidRequest)]
    assert refused == list(range(0, 50, 5))
    assert [a[0].id for a in answers if not isinstance(a, BaseException)] == 40 * ["a"]


@pytest.mark.usefixtures("picky_model")
def test_quarantine_shows_over_http_and_in_the_metrics(client: TestClient) -> None:
    assert write(client, a="One?", b=f"An {BAD} text?")["added"] == 2
    assert client.get("/questions/b").json() == {
        "id": "b",
        "text": f"An {BAD} text?",
        "revision": 2,
        "quarantined": "Unembeddable: the model has no finite vector for this text",
    }
    families = text_string_to_metric_families(client.get("/metrics").text)
    values = {sample.name: sample.value for family in families for sample in family.samples}
    assert (values["sameask_questions"], values["sameask_questions_quarantined"]) == (2, 1)


async def test_a_write_while_the_model_fails_is_kept_and_found_without_another(
    detector: Detector, model: Model
) -> None:
    await detector.add(COLLECTION, [("a", "One?")])
    model.failing = True
    with pytest.raises(ModelFailing):
        await detector.add(COLLECTION, [("b", "Two?")])
    assert (await detector.read(detector.store.questions.get, COLLECTION, "b")).text == "Two?"
    assert not await _is_ready(detector)
    model.failing = False
    await _eventually(lambda: _is_ready(detector))
    await _eventually(lambda: _is_found(detector, "b"))
    assert await _found(detector) == {"a": "One?", "b": "Two?"}


async def test_many_writes_while_the_model_fails_all_say_so_and_are_all_found_later(
    detector: Detector, model: Model
) -> None:
    texts = {str(number): text for number, text in enumerate(_texts(20))}
    model.failing = True
    writes = (detector.add(COLLECTION, [item]) for item in texts.items())
    answers = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(answer) for answer in answers] == 20 * [ModelFailing]
    model.failing = False
    await _eventually(lambda: _is_ready(detector))
    await _eventually(lambda: _is_found(detector, *texts))
    assert await _found(detector) == texts
    assert await detector.read(detector.store.revisions.quarantined_count) == 0


async def test_a_delete_while_the_model_fails_works(detector: Detector, model: Model) -> None:
    await detector.add(COLLECTION, [("a", "One?"), ("b", "Two?")])
    model.failing = True
    assert (await detector.remove(COLLECTION, "a")).revision == 3
    with pytest.raises(QuestionNotFound):
        await detector.read(detector.store.questions.get, COLLECTION, "a")
    model.failing = False
    assert await _found(detector) == {"b": "Two?"}


async def _is_found(detector: Detector, *ids: str) -> bool:
    return set(ids) <= set(await _found(detector))


async def test_a_write_whose_writer_leaves_is_found_all_the_same(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "is_shared", False)
    writing = await _cancelled_before_its_end(detector, monkeypatch)
    assert (await writing).added == 1  # it is committed: whoever hears of it hears that
    assert await _is_at_revision(detector, 1)
    await _eventually(lambda: _is_found(detector, "a"))


async def test_where_others_answer_a_write_that_was_not_shown_is_not_acknowledged(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "is_shared", True)
    writing = await _cancelled_before_its_end(detector, monkeypatch)
    with pytest.raises(NotReady, match="it is written, but"):
        await writing
    await _eventually(lambda: _is_found(detector, "a"))
    show = detector.following.show
    is_showing, may_show = asyncio.Event(), asyncio.Event()

    async def slowly(collection_key: int, revision: int) -> None:
        is_showing.set()
        await may_show.wait()
        await show(collection_key, revision)

    monkeypatch.setattr(detector.following, "show", slowly)
    writing = asyncio.create_task(detector.add(COLLECTION, [("b", "Two?")]))
    await is_showing.wait()
    writing.cancel()
    with pytest.raises(NotReady, match="it is written, but"):
        await writing
    may_show.set()
    await _eventually(lambda: _is_found(detector, "b"))


async def _cancelled_before_its_end(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> "asyncio.Task[Written]":
    """The write of question a, cancelled before it is committed."""
    begun, go_on, upsert = threading.Event(), threading.Event(), Questions.upsert

    def slow_upsert(*arguments: Any) -> Written:
        begun.set()
        assert go_on.wait(PATIENCE_SECONDS)
        return upsert(*arguments)

    monkeypatch.setattr(Questions, "upsert", slow_upsert)
    writing = asyncio.create_task(detector.add(COLLECTION, [("a", "One?")]))
    await asyncio.to_thread(begun.wait, PATIENCE_SECONDS)
    writing.cancel()
    go_on.set()
    return writing


async def _is_at_revision(detector: Detector, revision: int) -> bool:
    return (await detector.read(detector.store.collections.get, COLLECTION)).revision == revision


async def test_nobody_waits_for_the_imports_of_others(detector: Detector, model: Model) -> None:
    await detector.add(COLLECTION, [("q", "Where is it?")])
    for name in map(str, range(EMBEDDING_THREADS)):
        await detector.create_collection(name, ALL)
    model.hold("slow")
    imports = [asyncio.create_task(detector.add("0", [("a", "slow 0")]))]
    await asyncio.to_thread(model.reached.wait, PATIENCE_SECONDS)
    imports.extend(  # while the model is at the first one's batch
        asyncio.create_task(detector.add(name, [("a", f"slow {name}")]))
        for name in map(str, range(1, EMBEDDING_THREADS))
    )
    await _eventually(lambda: _are_waiting(detector, IMPORTS_AT_ONCE - 1))
    label = NewLabel(is_duplicate=True, by="anna", questions=("Who?", "Whom?"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await detector.label(COLLECTION, [label])
        await detector.create_collection("another", ALL)
        await detector.remove(COLLECTION, "q")
        await detector.delete_collection("another")
    assert not any(task.done() for task in imports)
    model.release()
    await asyncio.gather(*imports)


async def _are_waiting(detector: Detector, count: int) -> bool:
    """Whether so many texts of imports wait behind the one that the model is at."""
    return len(detector.live.models.batcher._background) == count


async def test_the_end_waits_for_no_index_that_is_being_rebuilt(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss_index, "EXACT_LIMIT", 10)
    monkeypatch.setattr(faiss_index, "COPY_CHUNK", 2)
    copy, close = Index._copy, ServedModels.close
    copied = list[int]()
    is_copying, is_ending = threading.Event(), threading.Event()

    def slowly(index: Index, new: Body, limit: int) -> int:
        copied.append(limit)
        is_copying.set()
        assert is_ending.wait(PATIENCE_SECONDS)
        return copy(index, new, limit)

    def end(models: ServedModels) -> None:
        is_ending.set()
        close(models)

    monkeypatch.setattr(Index, "_copy", slowly)
    monkeypatch.setattr(ServedModels, "close", end)
    app = create_app(settings.model_copy(update={"database_url": None}))
    async with app.router.lifespan_context(app):
        texts = [(str(number), text) for number, text in enumerate(_texts(20))]
        await app.state.detector.add(COLLECTION, texts)
        assert await asyncio.to_thread(is_copying.wait, PATIENCE_SECONDS)
    assert copied == [2]


async def test_nothing_waits_while_a_deletion_does(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written to disk of a collection may be in the way for seconds."""
    await detector.create_collection("gone", ALL)
    forget = LiveRelease.forget
    is_deleting, go_on = threading.Event(), threading.Event()

    def slowly(release: LiveRelease, collection_key: int) -> None:
        is_deleting.set()
        assert go_on.wait(PATIENCE_SECONDS)
        forget(release, collection_key)

    monkeypatch.setattr(LiveRelease, "forget", slowly)
    deletion = asyncio.create_task(detector.delete_collection("gone"))
    await asyncio.to_thread(is_deleting.wait, PATIENCE_SECONDS)
    assert not deletion.done()
    go_on.set()
    await deletion


async def test_a_collection_deleted_under_writers_and_readers_fails_none_of_the_others(
    detector: Detector,
) -> None:
    await detector.create_collection("doomed", 10)
    texts = _texts(30)
    doomed = [detector.add("doomed", [(str(n), text)]) for n, text in enumerate(texts)]
    kept = [detector.add(COLLECTION, [(str(n), text)]) for n, text in enumerate(texts)]
    others = asyncio.gather(detector.delete_collection("doomed"), *doomed, return_exceptions=True)
    written = await asyncio.gather(*kept)
    await others
    assert [w.added for w in written] == 30 * [1]
    assert await _found(detector) == {str(n): text for n, text in enumerate(texts)}
    assert [
        collection.name
        for collection in await detector.read(detector.store.collections.page, "", 10)
    ] == [COLLECTION]
    assert await _is_ready(detector)


async def test_what_is_put_off_while_others_catch_up_is_caught_up_with(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that was cancelled leaves its write to the background; its collection must not be forgotten there."""
    await detector.add(COLLECTION, [("a", "One?")])
    key = detector.store.collections.get(COLLECTION).key
    catch_up = LiveRelease.catch_up

    def with_another_write(release: LiveRelease, collection_key: int) -> int:
        revision = catch_up(release, collection_key)
        monkeypatch.setattr(LiveRelease, "catch_up", catch_up)
        detector.store.questions.upsert(COLLECTION, [("c", "Three?")])
        detector.following.put_off(collection_key)
        return revision

    monkeypatch.setattr(LiveRelease, "catch_up", with_another_write)
    await detector.add(COLLECTION, [("b", "Two?")])
    revision = detector.store.collections.get(COLLECTION).revision

    async def is_shown() -> bool:
        return detector.live.shows(key, revision)

    await _eventually(is_shown)
