"""How the code is built stays within its limits, as `python -m tests.structure --at 100` counts it."""

from pathlib import Path

import pytest

from tests.structure import (
    PACKAGES,
    Module,
    Structure,
    formatted_copy,
    measure,
    read_modules,
)

ROOT = Path(__file__).parent.parent
COLUMNS = 100
MOST_CLASS_LINES = 250
MOST_FILE_LINES = 400
MOST_FUNCTION_LINES = 28  # of nine functions in ten
MOST_NODES = 850  # of the syntax tree, in 100 code lines
MOST_COMPREHENSIONS = 3.0  # in 100 code lines
LONG_FILES = {"app.errors"}  # a list of all errors, read by their names


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Module]]:
    """The modules of each package, formatted at the width that the limits are for."""
    copy = formatted_copy(ROOT, tmp_path_factory.mktemp("formatted"), COLUMNS)
    return {package: read_modules(copy, package) for package in PACKAGES}


@pytest.fixture
def structure(modules: dict[str, list[Module]], package: str) -> Structure:
    """The figures of a package."""
    known = [module.name for found in modules.values() for module in found]
    return measure(modules[package], known)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_is_too_long(modules: dict[str, list[Module]], package: str) -> None:
    long = [module.name for module in modules[package] if module.lines > MOST_FILE_LINES]
    assert set(long) <= LONG_FILES


@pytest.mark.parametrize("package", PACKAGES)
def test_no_class_is_too_long(structure: Structure) -> None:
    assert structure.largest_class[1] <= MOST_CLASS_LINES, structure.largest_class[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_nine_functions_in_ten_are_short(structure: Structure) -> None:
    assert structure.function_p90 <= MOST_FUNCTION_LINES


@pytest.mark.parametrize("package", PACKAGES)
def test_a_line_says_one_thing(structure: Structure) -> None:
    assert structure.nodes <= MOST_NODES
    assert structure.comprehensions <= MOST_COMPREHENSIONS


def test_figures_are_counted_by_the_rules(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    code = '''"""A docstring."""


class A:
    """Another."""

    def b(self):
        # a comment
        return [c for c in "de"]
'''
    (tmp_path / "app" / "one.py").write_text(code, "utf-8")
    (module,) = read_modules(tmp_path, "app")
    assert (module.name, module.lines, module.code_lines()) == ("app.one", 9, 3)
    figures = measure([module], ["app.one"])
    assert figures.largest_file == ("app.one", 9)
    assert figures.largest_class == ("app.one.A", 6)
    assert figures.function_p90 == 3
    assert figures.comprehensions == pytest.approx(100 / 3)
    assert figures.nodes == pytest.approx(100 * 17 / 3)
