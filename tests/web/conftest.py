"""One service for all tests of a module, and what a browser sends."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from app.engine.release import Release
from app.main import create_app
from app.settings import Settings
from tests.conftest import wait_until_ready


@pytest.fixture(scope="module")
def page_settings(tmp_path_factory: pytest.TempPathFactory, tiny_release: Release) -> Settings:
    """Settings of a service that the tests of one module share."""
    return Settings(
        data_dir=tmp_path_factory.mktemp("pages") / "data", release=tiny_release.path, device="cpu"
    )


@pytest.fixture(scope="module")
def pages(page_settings: Settings) -> Iterator[TestClient]:
    """The running service, one for a module, that no key was made for."""
    with TestClient(create_app(page_settings), follow_redirects=False) as client:
        wait_until_ready(client)
        client.headers["Accept"] = "text/html"
        yield client
