"""`sameask releases`: made live and taken back."""

import json
import shutil

from app.engine.release import Release
from app.settings import Settings
from tests.cli.commands import Sameask


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
