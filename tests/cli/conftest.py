"""Fixtures of the tests of commands."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.main import main
from app.cli.terminal import out
from app.engine.release import Release
from app.main import create_app
from app.settings import Settings
from tests.cli.commands import Outcome, Sameask, Server, serving
from tests.serving import served


@pytest.fixture
def sameask(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Sameask:
    """Runs a command inside this process, over the tiny release and an empty data directory."""
    for name in ("release", "data_dir", "device"):
        monkeypatch.setenv(f"SAMEASK_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(out, "width", 200)  # it took its width at import, from wherever that was
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["sameask", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Outcome(int(ended.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_release: Release) -> Iterator[Server]:
    """One server in a process of its own, for several tests."""
    with serving(tmp_path_factory.mktemp("server"), tiny_release) as server:
        yield server


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    """Address of a server inside this process, with a data directory of its own."""
    own = settings.model_copy(update={"data_dir": settings.data_dir.with_name("served")})
    with served(create_app(own)) as url:
        yield url
