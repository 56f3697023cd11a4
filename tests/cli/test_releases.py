"""`sameask releases`: made live and taken back."""

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from app.cli.releases import _swapped
from app.engine.live_release import LiveRelease
from app.engine.release import Release
from app.errors import CommandError
from app.promises.kept_collections import KeptCollections
from app.promises.report import Change
from app.settings import Settings
from sameask_client import AsyncClient, SwapProgress
from sameask_client import LiveRelease as LiveNow
from tests.cli.commands import Sameask, question_file


def test_a_release_is_made_live_and_taken_back(
    sameask: Sameask, settings: Settings, wide_release: Release
) -> None:
    shutil.copytree(wide_release.path, settings.data_dir / "releases" / "wide")
    listed = json.loads(sameask("releases", "list", "--json").out)["releases"]
    assert [(one["name"], one["state"]) for one in listed] == [("tiny", "live"), ("wide", "ready")]
    assert sameask("releases", "shadow", "wide").out == "wide has caught up\n"
    assert sameask("releases", "activate", "wide", "--reason", "a test").out == "wide is live\n"
    assert json.loads(sameask("find", "Why?", "--json").out)["release"] == "wide"
    refused = sameask("releases", "remove", "wide")
    assert (refused.code, "Release is protected" in refused.err) == (1, True)
    assert sameask("releases", "rollback").out == "tiny is live\n"
    assert json.loads(sameask("find", "Why?", "--json").out)["release"] == "tiny"
    assert "Shadow not ready" in sameask("releases", "diff", "wide").err
    assert "there is no release 'none'" in sameask("releases", "activate", "none").err


def test_a_swap_that_somebody_ends_is_no_success() -> None:
    swap = SwapProgress(
        release="wide",
        phase="indexing",
        goes_live=True,
        collections=1,
        questions=1,
        questions_indexed=0,
        failure=None,
    )
    live = LiveNow(release="tiny", digest="d", since=None, reason=None, swap=swap)

    class Service:
        async def read_live_release(self) -> LiveNow:
            return replace(live, swap=None)

    with pytest.raises(CommandError, match="tiny is live: the swap to wide was ended meanwhile"):
        asyncio.run(_swapped(cast(AsyncClient, Service()), live))


def test_a_shadow_has_caught_up_once_it_has_its_thresholds(
    sameask: Sameask,
    url: str,
    settings: Settings,
    wide_release: Release,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    prepare = KeptCollections.prepare

    async def slowly(kept: KeptCollections, release: LiveRelease) -> list[Change]:
        await asyncio.sleep(1)
        return await prepare(kept, release)

    monkeypatch.setattr(KeptCollections, "prepare", slowly)
    releases = settings.data_dir.with_name("served") / "releases"
    shutil.copytree(wide_release.path, releases / "wide")
    assert sameask("import", question_file(tmp_path), "--url", url).code == 0
    assert sameask("releases", "shadow", "wide", "--url", url).out == "wide has caught up\n"
    assert sameask("releases", "diff", "wide", "--url", url).code == 0
