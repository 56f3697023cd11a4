"""`kill -9` while a release embeds everything again, or takes another's place: nothing is lost, or half done."""

import asyncio
import multiprocessing
import shutil
import signal
from multiprocessing import forkserver
from pathlib import Path

import pytest

from app.detector import Detector
from app.engine.release import Release
from app.engine.store import DEFAULT_COLLECTION
from app.settings import Settings
from tests.engine.test_durability import SECONDS_FOR_A_CHILD, read_journal
from tests.releases.test_releases import TINY, WIDE, running, swap
from tests.swapping import STORED, swap_in_fork

pytestmark = pytest.mark.anyio

ALL = 100_000  # more than any child writes

# Where the process kills itself, at which call of it, and which releases may be live afterwards.
POINTS = {
    "embedding again": ("app.engine.index.faiss_index:Index.apply:after", STORED + 3, {TINY}),
    "saving": ("app.engine.index.snapshot:Snapshots.save:after", 4, {TINY}),
    "joining": ("app.engine.following:Following.join:after", 1, {TINY}),
    "following": ("app.engine.following:Following._check_joined:before", 1, {TINY}),
    "about to note it": ("app.engine.store.activations:Activations.add:before", 2, {TINY}),
    "having noted it": ("app.engine.store.activations:Activations.add:after", 2, {WIDE}),
    "having replaced it": ("app.engine.following:Following.replace:after", 1, {WIDE}),
    "about to close what was replaced": (
        "app.engine.live_release:LiveRelease.close:before",
        1,
        {WIDE},
    ),
}


@pytest.fixture(scope="module")
def forks() -> multiprocessing.context.ForkServerContext:
    """Forks from a process that has imported everything and has no threads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONWARNINGS", "ignore")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.durability", "tests.swapping"])
        forkserver.ensure_running()
    return context


@pytest.mark.parametrize("moment", POINTS)
async def test_killed_at_any_moment_of_a_swap_nothing_is_lost_or_half_done(
    forks: multiprocessing.context.ForkServerContext,
    settings: Settings,
    wide_release: Release,
    tmp_path: Path,
    moment: str,
) -> None:
    function, nth, allowed = POINTS[moment]
    shutil.copytree(wide_release.path, settings.data_dir / "releases" / WIDE)
    process = forks.Process(
        target=swap_in_fork,
        args=(settings, WIDE, tmp_path / "journal", (function, nth)),
        daemon=True,
    )
    process.start()
    await asyncio.to_thread(process.join, SECONDS_FOR_A_CHILD)
    if process.exitcode is None:
        process.kill()
        pytest.fail(f"the process never came to {function}")
    records = read_journal(tmp_path / "journal")
    assert [record["failed"] for record in records if "failed" in record] == []
    assert process.exitcode == -signal.SIGKILL
    acknowledged = {str(record["acknowledged"]) for record in records if "acknowledged" in record}
    async with running(settings) as app:
        live = app.state.detector.live.release.name
        assert live in allowed
        await _assert_holds(app.state.detector, acknowledged)
        await swap(app.state.releases, WIDE if live == TINY else TINY)
        await _assert_holds(app.state.detector, acknowledged)


async def _assert_holds(detector: Detector, acknowledged: set[str]) -> None:
    """Search shows what the store holds: all that was acknowledged, and at most the write that was under way."""
    stored = {
        question.id: question.text
        for question in await detector.read(
            detector.store.questions.page, DEFAULT_COLLECTION, None, ALL
        )
    }
    findings = await detector.find(["Something else entirely?"], DEFAULT_COLLECTION, ALL)
    assert {candidate.id: candidate.text for candidate in findings.results[0].candidates} == stored
    assert acknowledged <= stored.keys()
    assert len(stored) <= len(acknowledged) + 1
