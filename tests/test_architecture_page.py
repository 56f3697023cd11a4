"""The page that newcomers read first names functions; here they are looked for in the code."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
NAMES = sorted(set(re.findall(r"`((?:app|training)\.[\w.]+)`", PAGE)))
JOURNEYS = PAGE.split("\n## ")[1:]


def _is_there(name: str) -> bool:
    """Whether a dotted name is a module, or a class, function or method of one."""
    parts = name.split(".")
    for length in range(len(parts), 1, -1):
        file = ROOT.joinpath(*parts[:length]).with_suffix(".py")
        if file.exists():
            return _is_defined(ast.parse(file.read_text("utf-8")), parts[length:])
    return False


def _is_defined(tree: ast.Module, path: list[str]) -> bool:
    body: list[ast.stmt] = tree.body
    for name in path:
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        found = next((n for n in body if isinstance(n, kinds) and n.name == name), None)
        if found is None:
            return False
        body = found.body
    return True


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_the_journeys_is_in_the_code(name: str) -> None:
    assert _is_there(name)


def test_a_name_that_is_not_there_would_be_seen() -> None:
    assert not _is_there("app.detector.Detector.ask")
    assert not _is_there("app.nowhere.find")


@pytest.mark.parametrize("journey", JOURNEYS, ids=[text.partition("\n")[0] for text in JOURNEYS])
def test_a_journey_has_about_a_dozen_steps(journey: str) -> None:
    steps = re.findall(r"^\d+\. ", journey, flags=re.MULTILINE)
    assert 8 <= len(steps) <= 13


def test_the_drawing_names_folders_and_files_that_are_there() -> None:
    drawing = PAGE.split("```")[1]
    for folder in ("app", "app/engine"):
        for child in (ROOT / folder).iterdir():
            if child.name.startswith("__") or child.name == "data":
                continue
            written = f"{child.name}/" if child.is_dir() else child.name
            assert written in drawing, f"{folder}/{child.name}"
