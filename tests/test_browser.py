"""The documentation page in a real browser; it is no use to anybody if only its HTML is right."""

import shutil
import subprocess
from pathlib import Path

import pytest

from app.main import create_app
from app.settings import Settings
from tests.serving import served

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=10000",
    "--dump-dom",
]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_documentation_shows_every_route_ready_to_be_tried(
    settings: Settings, tmp_path: Path
) -> None:
    app = create_app(settings)
    with served(app) as url:
        command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"{url}/docs"]
        page = subprocess.run(
            command, capture_output=True, text=True, timeout=100, check=True
        ).stdout
    operations = {
        operation["operationId"]
        for methods in app.openapi()["paths"].values()
        for operation in methods.values()
    }
    shown = {operation for operation in operations if operation in page}
    assert "Unable to render" not in page
    assert shown == operations
