"""One service for all tests of a module, and what a browser sends."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser
from starlette.testclient import TestClient

from app.engine.release import Release
from app.main import create_app
from app.settings import Settings
from tests.conftest import wait_until_ready
from tests.web.browser import Watched, launched, watched


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for the tests of a module."""
    with launched() as browser:
        yield browser


@pytest.fixture
def seen(browser: Browser, address: str) -> Iterator[Watched]:
    """A wide window before the module's service; nothing in it may have gone wrong when the test is over."""
    with watched(browser, address) as seen:
        yield seen
        seen.assert_clean()
