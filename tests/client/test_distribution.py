"""The service's distribution brings the client: docs/decisions/0030-client-of-the-command.md."""

import tomllib
from pathlib import Path
from typing import Any

import sameask_client

ROOT = Path(__file__).parent.parent.parent
CLIENT = "sameask-client/src"


def _project(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))


def test_the_service_s_distribution_has_the_client_in_it() -> None:
    setuptools = _project(ROOT)["tool"]["setuptools"]
    assert CLIENT in setuptools["packages"]["find"]["where"]
    assert "sameask_client*" in setuptools["packages"]["find"]["include"]
    assert setuptools["package-data"]["sameask_client"] == ["py.typed"]
    assert Path(sameask_client.__file__).parent == ROOT / CLIENT / "sameask_client"


def test_the_service_requires_all_that_the_client_requires() -> None:
    client = _project(ROOT / "sameask-client")["project"]
    assert set(client["dependencies"]) <= set(_project(ROOT)["project"]["dependencies"])


def test_both_distributions_have_one_version() -> None:
    assert sameask_client.__version__ == _project(ROOT)["project"]["version"]


def test_the_image_and_its_ignore_file_have_the_client() -> None:
    assert f"COPY {CLIENT} {CLIENT}\n" in (ROOT / "Dockerfile").read_text("utf-8")
    assert f"!{CLIENT}\n" in (ROOT / ".dockerignore").read_text("utf-8")
