"""A service that swaps releases while it writes, until it kills itself; tests/test_swap_durability.py looks at what is
left."""

import asyncio
import itertools
import os
import traceback
from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from app.detector import Detector
from app.engine import live_release as live_release_module
from app.engine.index import in_memory as in_memory_module
from app.engine.store import DEFAULT_COLLECTION
from app.main import create_app
from app.settings import Settings
from tests.durability import Journal, die_at

STORED = 40  # questions that there are when the swap begins


def swap_in_fork(settings: Settings, name: str, journal: Path, deadly: tuple[str, int]) -> None:
    """Serve, write and swap in a process forked from one that has imported everything, until it dies."""
    note = Journal(os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT))
    disable_progress_bar()
    live_release_module.CATCH_UP_CHUNK = 8
    in_memory_module.SAVE_AFTER = 16
    die_at(*deadly, note)
    try:
        asyncio.run(_swap(settings, name, note))
    except BaseException:
        note.note(failed=traceback.format_exc())
    os._exit(1)


async def _swap(settings: Settings, name: str, journal: Journal) -> None:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        detector: Detector = app.state.detector
        for number in itertools.count():
            if number == STORED:
                await app.state.releases.activate(name, "a test")
            await detector.add(DEFAULT_COLLECTION, [(str(number), f"question number {number}?")])
            journal.note(acknowledged=number)
