"""Releases: one takes the place of another under load, and no acknowledged write is ever missing."""

import asyncio
import gc
import logging
import random
import shutil
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from numpy.typing import NDArray
from starlette.testclient import TestClient

from app.detector import Detector
from app.engine import live_release as live_release_module
from app.engine.live_release import LiveRelease
from app.engine.models.encoder import Encoder
from app.engine.models.tokens import Tokens
from app.engine.release import Release
from app.engine.store import NewLabel, Store
from app.errors import (
    ModelFailing,
    NoShadow,
    NothingBefore,
    QuestionNotFound,
    ReleaseNotFound,
    ReleaseProtected,
    ReleaseUnusable,
    ShadowBusy,
    ShadowNotReady,
    StorageFull,
    Unembeddable,
)
from app.main import create_app
from app.releases.at_start import AT_START
from app.releases.releases import Releases
from app.releases.swap import Phase, Shadow
from app.settings import FORMER_RELEASES, FORMERLY, LARGER_RELEASE, SHIPPED_RELEASE, Settings
from tests.backend import WITHIN
from tests.conftest import WIDE_DIMENSION, publish_release
from tests.serving import PATIENCE_SECONDS, Model
from tests.tiny_model import build_tiny_classifier

pytestmark = pytest.mark.anyio

COLLECTION = "default"
ALL = 1000  # more than any test stores
TINY, WIDE = "tiny", "wide"
TEXTS = {
    "a": "How do I reset my password?",
    "b": "How can I reset my password today?",
    "c": "Where is the invoice of March?",
    "d": "Who may park in this street?",
}


@pytest.fixture
def trained(settings: Settings, wide_release: Release) -> Path:
    """The wide release where trained ones stand."""
    folder = settings.data_dir / "releases" / WIDE
    shutil.copytree(wide_release.path, folder)
    return folder


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[FastAPI]:
    """The service at work, its indexes up to date."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        while not (await app.state.detector.readiness()).ready:
            await asyncio.sleep(0.002)
        yield app


@pytest.fixture
async def app(settings: Settings, trained: Path) -> AsyncIterator[FastAPI]:
    assert trained.is_dir()
    async with running(settings) as app:
        yield app


@pytest.fixture
def releases(app: FastAPI) -> Releases:
    found: Releases = app.state.releases
    return found


@pytest.fixture
def detector(app: FastAPI) -> Detector:
    found: Detector = app.state.detector
    return found


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():
            await asyncio.sleep(0.002)


async def until(releases: Releases, phase: Phase) -> None:
    """Return when the shadow is in this phase."""

    async def is_there() -> bool:
        progress = await releases.shadow()
        assert progress.phase == phase or progress.failure is None, progress
        return progress.phase == phase

    await eventually(is_there)


async def swapped(releases: Releases, name: str) -> None:
    """Return when the release is live, and what it replaced is closed."""

    async def is_done() -> bool:
        live = await releases.live()
        assert live.swap is None or live.swap.failure is None, live.swap
        return live.release == name and live.swap is None

    await eventually(is_done)


async def swap(releases: Releases, name: str) -> None:
    await releases.activate(name, "a test")
    await swapped(releases, name)


async def fill(
    detector: Detector, texts: dict[str, str] = TEXTS, collection: str = COLLECTION
) -> None:
    await detector.add(collection, list(texts.items()))


async def found(detector: Detector, collection: str = COLLECTION) -> dict[str, str]:
    """Id -> text of all that a search offers; the text asked is none of those stored."""
    findings = await detector.find(["Something else entirely?"], collection, ALL)
    return {candidate.id: candidate.text for candidate in findings.results[0].candidates}


def failing(
    dimension: int, monkeypatch: pytest.MonkeyPatch, texts: Sequence[str] | None = None
) -> None:
    """Let the models of this dimension fail: always, or with no finite vector for texts that hold one of these."""
    forward = Encoder.encode_tokens

    def encode_tokens(encoder: Encoder, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        if getattr(encoder, "dimension", None) == dimension:
            if texts is None:
                raise RuntimeError("the model is broken")
            if any(text in tokens.text for tokens in batch for text in texts):
                raise Unembeddable("the model has no finite vector for this text")
        return forward(encoder, batch)

    monkeypatch.setattr(Encoder, "encode_tokens", encode_tokens)


# Swapping


async def test_a_swap_and_a_rollback_change_the_answers_and_lose_nothing(
    detector: Detector, releases: Releases
) -> None:
    await fill(detector)
    before = await detector.find(["How do I reset it?"], COLLECTION, 4)
    await swap(releases, WIDE)
    after = await detector.find(["How do I reset it?"], COLLECTION, 4)
    assert (before.release, after.release) == (TINY, WIDE)
    assert detector.live.models.encoder.dimension == WIDE_DIMENSION
    for one, other in zip(before.results[0].candidates, after.results[0].candidates, strict=True):
        assert one.similarity != other.similarity
    assert await found(detector) == TEXTS
    await releases.roll_back("worse")
    await swapped(releases, TINY)
    again = await detector.find(["How do I reset it?"], COLLECTION, 4)
    assert (again.release, again.results) == (before.release, before.results)
    assert await found(detector) == TEXTS


async def test_a_swap_to_what_is_live_changes_nothing(
    detector: Detector, releases: Releases
) -> None:
    live = detector.live
    assert await releases.activate(TINY, "again") is None
    assert detector.live is live
    with pytest.raises(ReleaseProtected):
        await releases.open_shadow(TINY)


async def test_writes_never_miss_while_releases_take_turns(
    detector: Detector, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_release_module, "CATCH_UP_CHUNK", 8)
    done = asyncio.Event()
    stored: dict[str, str] = {}

    async def live_a_life(number: int) -> None:
        chosen = random.Random(number)
        for turn in range(ALL):
            if done.is_set():
                return
            id_, text = f"{number}-{turn % 5}", "".join(chosen.choices("abcdefgh ", k=20)) + "?"
            await detector.add(COLLECTION, [(id_, text)])
            stored[id_] = text
            assert (await found(detector))[id_] == text
            if chosen.random() < 0.3:
                await detector.remove(COLLECTION, id_)
                del stored[id_]
                assert id_ not in await found(detector)

    async def take_turns() -> None:
        for name in (WIDE, TINY) * 3:
            await swap(releases, name)
        done.set()

    await asyncio.gather(take_turns(), *(live_a_life(number) for number in range(8)))
    assert await found(detector) == stored


async def test_a_write_that_waits_while_a_release_joins_is_shown_by_it(
    detector: Detector, releases: Releases, model: Model
) -> None:
    await fill(detector)
    model.hold("xyzzy")
    write = asyncio.create_task(
        detector.add(COLLECTION, [("e", "xyzzy?")])
    )  # committed, and held by the live model
    await eventually(lambda: _true(model.reached.is_set()))
    await releases.activate(WIDE, "a test")
    await until(releases, "indexing")  # held too, by the shadow's model
    assert not write.done()
    model.release()
    assert (await write).added == 1
    await swapped(releases, WIDE)
    assert await found(detector) == TEXTS | {"e": "xyzzy?"}


async def _true(value: bool) -> bool:
    return value


async def test_a_request_under_way_is_answered_by_the_release_it_began_with_which_closes_after_it(
    detector: Detector, releases: Releases, model: Model
) -> None:
    await fill(detector)
    old = detector.live
    model.hold("xyzzy")
    asking = asyncio.create_task(detector.find(["xyzzy?"], COLLECTION, 4))
    await eventually(lambda: _true(model.reached.is_set()))
    await releases.activate(WIDE, "a test")
    await until(releases, "draining")
    assert (await detector.find(["Something else?"], COLLECTION, 4)).release == WIDE
    assert old.users >= 1
    with pytest.raises(ShadowBusy):
        await releases.cancel_shadow()
    model.release()
    assert (await asking).release == TINY
    await swapped(releases, WIDE)
    with pytest.raises(ModelFailing):
        old.models.embed(old.models.encoder.tokenize(["closed?"]))


async def test_what_was_replaced_is_let_go_of(detector: Detector, releases: Releases) -> None:
    await fill(detector)
    gone = []
    for name in (WIDE, TINY) * 2:
        gone += [
            weakref.ref(thing)
            for thing in (detector.live, detector.live.models.encoder, detector.live.index(1))
        ]
        await swap(releases, name)
    gc.collect()
    assert [reference() for reference in gone] == [None] * len(gone)


async def test_labels_hold_after_a_swap(detector: Detector, releases: Releases) -> None:
    await fill(detector)
    said = [
        NewLabel(False, "anna", questions=[TEXTS["a"], TEXTS["b"]]),
        NewLabel(True, "anna", questions=[TEXTS["a"], TEXTS["d"]]),
    ]
    await detector.label(COLLECTION, said)
    await swap(releases, WIDE)
    scores = await detector.score([(TEXTS["b"], TEXTS["a"]), (TEXTS["d"], TEXTS["a"])], COLLECTION)
    assert [score.verdict for score in scores.scores] == ["different", "duplicate"]
    findings = await detector.find([TEXTS["a"]], COLLECTION, 4)
    assert {c.id: c.verdict for c in findings.results[0].candidates} == {
        "a": "duplicate",
        "d": "duplicate",
    }


# The shadow


async def test_a_shadow_follows_what_is_written_made_and_deleted(
    detector: Detector, releases: Releases
) -> None:
    await detector.create_collection("old", 10)
    await fill(detector, collection="old")
    await releases.open_shadow(WIDE)
    await until(releases, "ready")
    await fill(detector)
    await detector.create_collection("new", 10)
    await fill(detector, {"n": "Is it new?"}, "new")
    await detector.delete_collection("old")
    await detector.remove(COLLECTION, "d")
    await eventually(lambda: _indexed(releases, 4))
    await swap(releases, WIDE)
    assert await found(detector) == {id_: text for id_, text in TEXTS.items() if id_ != "d"}
    assert await found(detector, "new") == {"n": "Is it new?"}


async def _indexed(releases: Releases, questions: int) -> bool:
    progress = await releases.shadow()
    return progress.questions_indexed == progress.questions == questions


async def test_collections_that_come_and_go_while_it_indexes_are_no_fault(
    detector: Detector, releases: Releases, model: Model
) -> None:
    await detector.create_collection("old", 10)
    await fill(detector, {"x": "xyzzy?"}, "old")
    model.hold("xyzzy")
    await releases.activate(WIDE, "a test")
    await eventually(lambda: _true(model.reached.is_set()))
    await detector.delete_collection("old")
    await detector.create_collection("new", 10)
    await fill(detector, {"n": "Is it new?"}, "new")
    model.release()
    await swapped(releases, WIDE)
    assert await found(detector, "new") == {"n": "Is it new?"}
    assert await found(detector) == {}


async def test_another_shadow_has_to_wait(
    detector: Detector, releases: Releases, model: Model, trained: Path, wide_release: Release
) -> None:
    publish_release(trained.with_name("other"), Path(wide_release.base.name), WIDE_DIMENSION)
    await fill(detector, {"x": "xyzzy?"})
    model.hold("xyzzy")
    await releases.open_shadow(WIDE)
    await until(releases, "indexing")
    again = await releases.open_shadow(WIDE)
    assert (again.release, again.goes_live) == (WIDE, False)
    for attempt in (releases.open_shadow("other"), releases.activate("other", "")):
        with pytest.raises(ShadowBusy, match="'wide' is indexing"):
            await attempt
    with pytest.raises(ReleaseProtected, match="is indexing"):
        await releases.remove(WIDE)
    model.release()
    await swap(releases, WIDE)
    assert await found(detector) == {"x": "xyzzy?"}


async def test_a_shadow_that_was_cancelled_goes_on_from_its_snapshots(
    detector: Detector, releases: Releases, monkeypatch: pytest.MonkeyPatch, model: Model
) -> None:
    monkeypatch.setattr(live_release_module, "CATCH_UP_CHUNK", 2)
    await fill(detector, TEXTS | {"x": "xyzzy?"})
    model.hold("xyzzy")
    await releases.open_shadow(WIDE)
    await eventually(lambda: _indexed_some(releases))
    await eventually(lambda: _true(model.reached.is_set()))
    asyncio.get_running_loop().call_later(0.05, model.release)
    await releases.cancel_shadow()
    with pytest.raises(NoShadow):
        await releases.shadow()
    model.seen.clear()
    await swap(releases, WIDE)
    assert await found(detector) == TEXTS | {"x": "xyzzy?"}
    assert not {TEXTS["a"], TEXTS["b"]} & set(model.seen)


async def test_a_release_that_can_not_note_what_it_held_back_is_live_all_the_same(
    detector: Detector, releases: Releases, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The release before it answers the requests that began with it."""

    def fail(_: LiveRelease) -> None:
        raise StorageFull

    monkeypatch.setattr(LiveRelease, "go_live", fail)
    await fill(detector)
    model.hold("xyzzy")
    asking = asyncio.create_task(detector.find(["xyzzy?"], COLLECTION, 4))
    await eventually(lambda: _true(model.reached.is_set()))
    await releases.activate(WIDE, "a test")
    await until(releases, "draining")
    model.release()
    assert (await asking).release == TINY
    await swapped(releases, WIDE)


async def _indexed_some(releases: Releases) -> bool:
    return (await releases.shadow()).questions_indexed >= 2


async def test_a_shadow_whose_model_fails_leaves_the_live_one_alone(
    detector: Detector, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(detector)
    await releases.open_shadow(WIDE)
    await until(releases, "ready")
    failing(WIDE_DIMENSION, monkeypatch)
    await fill(detector, {"e": "What about me?"})
    assert await found(detector) == TEXTS | {"e": "What about me?"}

    async def has_failed() -> bool:
        return (await releases.shadow()).phase == "failed"

    await eventually(has_failed)
    assert (await releases.shadow()).failure == "the model fails: RuntimeError"
    assert (await releases.live()).release == TINY
    monkeypatch.undo()
    await swap(releases, WIDE)
    assert await found(detector) == TEXTS | {"e": "What about me?"}


async def test_a_release_that_fails_while_it_joins_is_left_out_and_the_write_goes_through(
    detector: Detector, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(detector)
    follow = Shadow._follow

    async def write_first(shadow: Shadow, opened: LiveRelease) -> int:
        if shadow.phase == "joining":
            failing(WIDE_DIMENSION, monkeypatch)
            written = await detector.add(COLLECTION, [("e", "What about me?")])
            assert (written.added, detector.live.release.name) == (1, TINY)
        return await follow(shadow, opened)

    monkeypatch.setattr(Shadow, "_follow", write_first)
    await releases.activate(WIDE, "a test")

    async def has_failed() -> bool:
        return (await releases.shadow()).phase == "failed"

    await eventually(has_failed)
    assert (await releases.live()).release == TINY
    assert await found(detector) == TEXTS | {"e": "What about me?"}


async def test_what_a_shadow_has_yet_to_remove_is_not_forgotten(
    detector: Detector, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replaced version is purged when every snapshot is past it: a shadow without one must count as well."""
    await fill(detector)
    await releases.open_shadow(WIDE)
    await until(releases, "ready")
    with monkeypatch.context() as patch:
        patch.setattr(LiveRelease, "follow_changed", lambda *_: 0)
        await fill(detector, {"a": "Something else than before?"})
        await asyncio.to_thread(detector.live.indexes.save)
    await swap(releases, WIDE)
    assert await found(detector) == TEXTS | {"a": "Something else than before?"}
    assert detector.live.state(1).size == len(TEXTS)


async def test_a_text_that_only_the_shadow_cannot_embed_stays_the_live_ones(
    detector: Detector, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(WIDE_DIMENSION, monkeypatch, ["invoice"])
    await fill(detector)
    await releases.open_shadow(WIDE)
    await until(releases, "ready")
    assert await detector.read(detector.store.revisions.quarantined_count) == 0
    await asyncio.to_thread(detector.live.indexes.save)
    await swap(releases, WIDE)
    assert (
        await detector.read(detector.store.questions.get, COLLECTION, "c")
    ).quarantined is not None
    assert await found(detector) == {id_: text for id_, text in TEXTS.items() if id_ != "c"}
    await swap(releases, TINY)
    assert await found(detector) == TEXTS
    assert await detector.read(detector.store.revisions.quarantined_count) == 0


async def test_the_service_ends_in_the_middle_and_goes_on_later(
    settings: Settings, trained: Path, model: Model
) -> None:
    assert trained.is_dir()
    async with running(settings) as app:
        await fill(app.state.detector, TEXTS | {"x": "xyzzy?"})
        model.hold("xyzzy")
        await app.state.releases.activate(WIDE, "a test")
        await eventually(lambda: _true(model.reached.is_set()))
        asyncio.get_running_loop().call_later(0.05, model.release)
    async with running(settings) as app:
        assert (await app.state.releases.live()).release == TINY
        await swap(app.state.releases, WIDE)
        assert await found(app.state.detector) == TEXTS | {"x": "xyzzy?"}


# What is served after a start


async def test_after_a_start_what_was_made_live_is_served(
    settings: Settings, trained: Path
) -> None:
    assert trained.is_dir()
    async with running(settings) as app:
        await fill(app.state.detector)
        await swap(app.state.releases, WIDE)
    async with running(settings) as app:
        live = await app.state.releases.live()
        assert (live.release, live.reason) == (WIDE, "a test")
        assert await found(app.state.detector) == TEXTS
        await app.state.releases.roll_back("")
        await swapped(app.state.releases, TINY)


async def test_a_release_that_was_damaged_is_not_served_and_why_is_logged(
    settings: Settings, trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(settings) as app:
        await swap(app.state.releases, WIDE)
    with (trained / "metrics.json").open("a") as file:
        file.write(" ")
    with caplog.at_level(logging.WARNING, "app.releases.at_start"):
        async with running(settings) as app:
            assert app.state.detector.live.release.name == TINY
            with pytest.raises(ReleaseUnusable, match=r"metrics\.json"):
                await app.state.releases.activate(WIDE, "")
            assert app.state.detector.live.release.name == TINY
    said = [record.message for record in caplog.records if "is not served" in record.message]
    assert {words.split()[0] for words in said} == {WIDE}


async def test_a_changed_setting_says_what_is_served(
    settings: Settings, trained: Path, tmp_path: Path
) -> None:
    assert trained.is_dir()
    async with running(settings) as app:
        await swap(app.state.releases, WIDE)
    copy = shutil.copytree(settings.release, tmp_path / "elsewhere" / TINY)
    changed = settings.model_copy(update={"release": copy})
    async with running(changed) as app:
        live = await app.state.releases.live()
        assert (live.release, live.reason) == (TINY, AT_START)
    async with running(settings) as app:  # and back: it is a change again
        assert app.state.detector.live.release.name == TINY


@pytest.fixture
def updated(settings: Settings, wide_release: Release, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a version that ships the wide release in place of the tiny one."""
    monkeypatch.setitem(FORMERLY, wide_release.path, (settings.release,))
    return settings.model_copy(update={"release": wide_release.path})


async def test_after_an_update_the_former_release_is_served_and_the_new_one_is_its_shadow(
    settings: Settings, updated: Settings
) -> None:
    async with running(settings) as app:
        await fill(app.state.detector)
    for _ in range(2):  # and so it stays, until somebody makes the new one live
        async with running(updated) as app:
            live = await app.state.releases.live()
            assert (live.release, live.reason) == (TINY, AT_START)
            await until(app.state.releases, "ready")
            shadow = await app.state.releases.shadow()
            assert (shadow.release, shadow.goes_live) == (WIDE, False)
            listed = [(one.name, one.state) for one in await app.state.releases.all()]
            assert listed == [(WIDE, "shadow"), (TINY, "live")]
            assert await found(app.state.detector) == TEXTS
    async with running(updated) as app:
        await swap(app.state.releases, WIDE)
    async with running(updated) as app:
        assert app.state.detector.live.release.name == WIDE
        with pytest.raises(NoShadow):
            await app.state.releases.shadow()
        await app.state.releases.roll_back("")
        await swapped(app.state.releases, TINY)


def test_the_larger_release_comes_up_beside_the_one_that_ships() -> None:
    assert Settings(release=LARGER_RELEASE).former_releases == (SHIPPED_RELEASE, *FORMER_RELEASES)
    assert Settings().former_releases == FORMER_RELEASES
    assert Settings(release=Path("another")).former_releases == ()


async def test_a_shadow_with_the_same_bi_encoder_embeds_nothing_anew(
    settings: Settings, tiny_release: Release, model: Model
) -> None:
    base = Path(tiny_release.base.name)
    publish_release(settings.data_dir / "releases" / "taught", base, 32, duplicate_from=0.95)
    async with running(settings) as app:
        await fill(app.state.detector)
    async with running(settings) as app:  # what was stored is on the disk now
        embedded = len(model.seen)
        await swap(app.state.releases, "taught")
        assert set(TEXTS.values()).isdisjoint(model.seen[embedded:])  # a probe alone
        assert await found(app.state.detector) == TEXTS
        await fill(app.state.detector, {"new": "Is this one new?"})
        await app.state.releases.roll_back("")
        await swapped(app.state.releases, TINY)
        assert await found(app.state.detector) == {**TEXTS, "new": "Is this one new?"}


async def test_a_new_data_directory_gets_what_is_shipped_now(updated: Settings) -> None:
    async with running(updated) as app:
        assert app.state.detector.live.release.name == WIDE
        with pytest.raises(NoShadow):
            await app.state.releases.shadow()


async def test_a_command_in_place_opens_no_shadow_after_an_update(
    settings: Settings, updated: Settings
) -> None:
    async with running(settings):
        pass
    in_place = create_app(updated, in_place=True)
    async with in_place.router.lifespan_context(in_place):
        assert in_place.state.detector.live.release.name == TINY
        with pytest.raises(NoShadow):
            await in_place.state.releases.shadow()


async def test_a_command_in_place_answers_by_what_is_live_and_notes_nothing(
    settings: Settings, trained: Path
) -> None:
    assert trained.is_dir()
    async with running(settings) as app:
        await swap(app.state.releases, WIDE)
    in_place = create_app(settings, in_place=True)
    async with in_place.router.lifespan_context(in_place):
        assert in_place.state.detector.live.release.name == WIDE
    store = Store(settings.store_url or settings.data_dir / "sameask.db")
    assert [activation.release for activation in store.activations.latest_first()] == [WIDE, TINY]
    store.close()


# The list


async def test_the_list_shows_each_release_and_its_state(
    releases: Releases, trained: Path, settings: Settings, wide_release: Release
) -> None:
    shutil.copytree(trained, trained.with_name("renamed"))
    shutil.copytree(settings.release, trained.with_name(TINY))
    (trained.with_name("empty")).mkdir()
    listed = await releases.all()
    states = [(one.name, one.state) for one in listed]
    assert states == [
        (TINY, "live"),
        ("empty", "refused"),
        ("renamed", "refused"),
        (TINY, "refused"),
        (WIDE, "ready"),
    ]
    assert (listed[-1].digest, listed[-1].dimension) == (wide_release.digest, WIDE_DIMENSION)
    assert [one.why for one in listed[2:4]] == [
        "its manifest calls it 'wide'",
        "the name 'tiny' is that of SAMEASK_RELEASE's",
    ]
    await releases.open_shadow(WIDE)
    assert {one.name: one.state for one in await releases.all()}[WIDE] == "shadow"


async def test_only_a_release_that_nobody_needs_is_removed(
    releases: Releases, trained: Path
) -> None:
    with pytest.raises(NothingBefore):
        await releases.roll_back("")
    with pytest.raises(ReleaseNotFound):
        await releases.remove("nothing")
    await swap(releases, WIDE)
    for name in (WIDE, TINY):
        with pytest.raises(ReleaseProtected):
            await releases.remove(name)
    await swap(releases, TINY)
    with pytest.raises(ReleaseProtected, match="SAMEASK_KEEP_RELEASES"):
        await releases.remove(WIDE)
    assert trained.is_dir()


@pytest.mark.data_directory
async def test_removing_a_release_removes_its_snapshots(settings: Settings, trained: Path) -> None:
    async with running(settings.model_copy(update={"keep_releases": 0})) as app:
        await fill(app.state.detector)
        for name in (WIDE, TINY):
            await swap(app.state.releases, name)
        assert len(list((settings.data_dir / "snapshots").iterdir())) == 2
        await app.state.releases.open_shadow(WIDE)
        with pytest.raises(ReleaseProtected):
            await app.state.releases.remove(WIDE)
        await app.state.releases.cancel_shadow()
        await app.state.releases.remove(WIDE)
        assert not trained.exists()
        assert len(list((settings.data_dir / "snapshots").iterdir())) == 1
        with pytest.raises(NothingBefore):
            await app.state.releases.roll_back("")


# What would change


async def test_a_diff_counts_the_verdicts_that_would_change(
    detector: Detector, releases: Releases, trained: Path, wide_release: Release
) -> None:
    base = Path(wide_release.base.name)
    publish_release(
        trained.with_name("bold"), base, WIDE_DIMENSION, duplicate_from=1e-9
    )  # its thresholds are its own
    await fill(detector)
    await detector.label(COLLECTION, [NewLabel(False, "anna", questions=[TEXTS["a"], TEXTS["b"]])])
    with pytest.raises(ShadowNotReady):
        await releases.diff("bold", COLLECTION)
    await releases.open_shadow("bold")
    await until(releases, "ready")
    live, diff, _ = await releases.diff("bold", COLLECTION)
    pairs = [(one, other) for one in TEXTS.values() for other in TEXTS.values() if one < other]
    unlabelled = [pair for pair in pairs if set(pair) != {TEXTS["a"], TEXTS["b"]}]
    before = await detector.score(unlabelled, COLLECTION)
    await swap(releases, "bold")
    after = await detector.score(unlabelled, COLLECTION)
    changed = {
        frozenset(pair): (one.probability, other.probability)
        for pair, one, other in zip(unlabelled, before.scores, after.scores, strict=True)
        if one.verdict != other.verdict
    }
    assert (live, diff.sampled, diff.pairs, diff.labelled) == (TINY, 4, 6, 1)
    assert changed
    assert {frozenset(q.text for q in one.questions) for one in diff.changed} == set(changed)
    for one in diff.changed:
        expected = changed[frozenset(q.text for q in one.questions)]
        assert (one.live.probability, one.shadow.probability) == pytest.approx(
            expected, abs=1e2 * WITHIN
        )
    sizes = [abs(one.live.probability - one.shadow.probability) for one in diff.changed]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(diff.verdicts.values()) == 5


async def test_a_diff_asks_both_classifiers(
    settings: Settings, tiny_model: Path, tmp_path: Path
) -> None:
    folders = (tmp_path / "one", settings.data_dir / "releases" / "two")
    for seed, folder, duplicate_from in zip((1, 2), folders, (0.9, 1e-9), strict=True):
        classifier = build_tiny_classifier(tiny_model, tmp_path / f"classifier-{seed}", seed)
        publish_release(
            folder, tiny_model, 32, classifier=classifier, duplicate_from=duplicate_from
        )
    async with running(settings.model_copy(update={"release": tmp_path / "one"})) as app:
        detector, releases = app.state.detector, app.state.releases
        await fill(detector)
        await releases.open_shadow("two")
        await until(releases, "ready")
        _, diff, _ = await releases.diff("two", COLLECTION)
        assert diff.changed
        for one in diff.changed:
            first, second = (question.text for question in one.questions)
            (score,) = (await detector.score([(first, second)], COLLECTION)).scores
            assert one.live.probability == pytest.approx(score.probability, abs=1e-5)
            assert one.live.similarity == pytest.approx(
                one.shadow.similarity, abs=1e-5
            )  # one bi-encoder
            assert one.shadow.probability != pytest.approx(score.probability, abs=1e-5)


async def test_near_pairs_are_the_most_similar_that_nobody_has_labelled(detector: Detector) -> None:
    await fill(detector, TEXTS | {"a2": f"{TEXTS['a']} "})
    pairs = await detector.near_pairs(COLLECTION, 100)
    texts = TEXTS | {"a2": f"{TEXTS['a']} "}
    scores = await detector.score([(one[1], other[1]) for one, other in pairs], COLLECTION)
    similarities = [score.similarity for score in scores.scores]
    assert similarities == sorted(similarities, reverse=True)
    assert {frozenset((one[0], other[0])) for one, other in pairs} == {
        frozenset((one, other)) for one in texts for other in texts if one < other
    } - {frozenset(("a", "a2"))}
    assert all(texts[id_] == text for pair in pairs for id_, text in pair)
    (first, second), *_ = pairs
    await detector.label(COLLECTION, [NewLabel(False, "anna", questions=[second[1], first[1]])])
    left = await detector.near_pairs(COLLECTION, 100)
    assert {first[1].upper(), second[1].upper()} not in [
        {one[1].upper(), other[1].upper()} for one, other in left
    ]
    assert await detector.near_pairs(COLLECTION, 2) == left[:2]


async def test_a_question_that_is_gone_is_not_found_by_a_new_release(
    detector: Detector, releases: Releases
) -> None:
    await fill(detector)
    await releases.open_shadow(WIDE)
    await until(releases, "ready")
    await detector.remove(COLLECTION, "a")
    await swap(releases, WIDE)
    with pytest.raises(QuestionNotFound):
        await detector.remove(COLLECTION, "a")
    assert "a" not in await found(detector)


@pytest.mark.parametrize(("duplicate_from", "is_said"), [(None, True), (0.9, False)])
def test_a_target_precision_without_a_threshold_is_said_at_the_start(
    tmp_path: Path,
    tiny_model: Path,
    caplog: pytest.LogCaptureFixture,
    duplicate_from: float | None,
    is_said: bool,
) -> None:
    release = publish_release(tmp_path / "release", tiny_model, 32, duplicate_from=duplicate_from)
    settings = Settings(data_dir=tmp_path / "data", release=release.path, device="cpu")
    with (
        caplog.at_level(logging.WARNING, "app.releases.at_start"),
        TestClient(create_app(settings)),
    ):
        pass
    assert ("no threshold for SAMEASK_TARGET_PRECISION=0.90" in caplog.text) is is_said
