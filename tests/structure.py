"""How a checkout's code is built, in figures: `python -m tests.structure [ROOT] [--at COLUMNS]`.

Counting rules:

- A code line is a line that is not blank, not a comment alone, and no part of a docstring.
- AST nodes are all that `ast.walk` yields, docstrings among them, for 100 code lines; comprehensions are list, set and
  dict comprehensions and generator expressions, for 100 code lines.
- A function's or class's length is in lines from `def` or `class` to its last line, with its docstring and without its
  decorators. Methods and functions inside functions count as functions, too. A file's length is all its lines.
- A cycle is a set of modules each of which imports, by some chain of imports, every other.

With `--at`, a copy is formatted at so many columns first: two checkouts can be compared only at the same width.
"""

import argparse
import ast
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("app", "training")
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DOCUMENTED = (ast.Module, ast.ClassDef, *FUNCTIONS)

Imports = Mapping[str, set[str]]


@dataclass(frozen=True)
class Module:
    """A source file: its dotted name, its text and its syntax tree."""

    name: str
    text: str
    tree: ast.Module

    @property
    def lines(self) -> int:
        """All lines."""
        return len(self.text.splitlines())

    def code_lines(self) -> int:
        """Lines that are neither blank, nor a comment alone, nor part of a docstring."""
        documentation = docstring_lines(self.tree)
        count = 0
        for number, line in enumerate(self.text.splitlines(), 1):
            content = line.strip()
            if content and not content.startswith("#") and number not in documentation:
                count += 1
        return count


@dataclass(frozen=True)
class Structure:
    """The figures of one package. A largest one is (name, lines)."""

    function_median: float
    function_p90: int
    largest_file: tuple[str, int]
    largest_class: tuple[str, int]
    code_lines: int
    nodes: float
    comprehensions: float
    inner_imports: list[str]
    cycles: list[list[str]]


def docstring_lines(tree: ast.Module) -> set[int]:
    """The numbers of the lines that docstrings take."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            lines.update(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    return lines


def read_modules(root: Path, package: str) -> list[Module]:
    """Every module of a package, by path."""
    modules = []
    for path in sorted((root / package).rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        text = path.read_text("utf-8")
        modules.append(Module(name, text, ast.parse(text)))
    return modules


def measure(modules: Sequence[Module], known: Iterable[str]) -> Structure:
    """The figures of these modules; `known` are the names of all own modules."""
    names = set(known)
    functions = sorted(length for module in modules for _, length in lengths(module, FUNCTIONS))
    classes = [found for module in modules for found in lengths(module, (ast.ClassDef,))]
    code_lines = sum(module.code_lines() for module in modules)
    nodes = [node for module in modules for node in ast.walk(module.tree)]
    comprehensions = [node for node in nodes if isinstance(node, COMPREHENSIONS)]
    return Structure(
        function_median=statistics.median(functions),
        function_p90=functions[math.ceil(0.9 * len(functions)) - 1],
        largest_file=max(
            ((module.name, module.lines) for module in modules), key=lambda found: found[1]
        ),
        largest_class=max(classes, key=lambda found: found[1]),
        code_lines=code_lines,
        nodes=100 * len(nodes) / code_lines,
        comprehensions=100 * len(comprehensions) / code_lines,
        inner_imports=list(inner_imports(modules, names)),
        cycles=cycles({module.name: own_imports(module.tree, names) for module in modules}),
    )


def lengths(module: Module, kinds: tuple[type[ast.AST], ...]) -> Iterator[tuple[str, int]]:
    """(name, lines) of each function or class of a module."""
    for node in ast.walk(module.tree):
        if isinstance(node, kinds) and isinstance(node, (ast.ClassDef, *FUNCTIONS)):
            yield f"{module.name}.{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def own_imports(tree: ast.AST, known: set[str]) -> set[str]:
    """The own modules that a piece of code imports."""
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                imported.add(inside if inside in known else node.module)
    return imported & known


def inner_imports(modules: Iterable[Module], known: set[str]) -> Iterator[str]:
    """Own imports that stand inside a function."""
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, FUNCTIONS):
                for imported in sorted(own_imports(node, known)):
                    yield f"{module.name}.{node.name} imports {imported}"


def cycles(imports: Imports) -> list[list[str]]:
    """Sets of modules that import one another, directly or by others (strongly connected components)."""
    reached = {name: reachable(name, imports) for name in imports}
    components = set()
    for name in imports:
        together = frozenset(other for other in reached[name] if name in reached.get(other, set()))
        if together:
            components.add(together | {name})
    return sorted(sorted(component) for component in components)


def reachable(start: str, imports: Imports) -> set[str]:
    """Every module that some chain of imports leads to."""
    reached: set[str] = set()
    waiting = list(imports[start])
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(imports.get(name, ()))
    return reached


def formatted_copy(root: Path, folder: Path, columns: int) -> Path:
    """A copy of the packages in a folder, formatted at so many columns."""
    for package in PACKAGES:
        shutil.copytree(
            root / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    ruff = str(Path(sys.executable).with_name("ruff"))
    width = ["--line-length", str(columns), "--target-version", "py311"]
    subprocess.run([ruff, "format", "--isolated", "--quiet", *width, str(folder)], check=True)
    return folder


def described(package: str, structure: Structure) -> str:
    """The figures in lines."""
    file, class_ = structure.largest_file, structure.largest_class
    rows = {
        "function lines, median": f"{structure.function_median:g}",
        "function lines, p90": str(structure.function_p90),
        "largest file": f"{file[1]} ({file[0]})",
        "largest class": f"{class_[1]} ({class_[0]})",
        "code lines": f"{structure.code_lines:,}",
        "AST nodes in 100 code lines": f"{structure.nodes:.0f}",
        "comprehensions in 100 code lines": f"{structure.comprehensions:.1f}",
        "own imports inside functions": "; ".join(structure.inner_imports) or "none",
        "import cycles": "; ".join(" <-> ".join(cycle) for cycle in structure.cycles) or "none",
    }
    return "\n".join([package, *(f"  {name:34}{value}" for name, value in rows.items())])


def report(root: Path) -> str:
    """The figures of every package in a checkout."""
    modules = {package: read_modules(root, package) for package in PACKAGES}
    known = [module.name for found in modules.values() for module in found]
    return "\n".join(
        described(package, measure(found, known)) for package, found in modules.items()
    )


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.structure", description="How the code is built, in figures."
    )
    parser.add_argument(
        "root", type=Path, nargs="?", default=Path(__file__).parent.parent, help="A checkout."
    )
    parser.add_argument(
        "--at", type=int, metavar="COLUMNS", help="Format a copy at so many columns first."
    )
    arguments = parser.parse_args()
    if arguments.at is None:
        sys.stdout.write(report(arguments.root) + "\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(report(formatted_copy(arguments.root, Path(folder), arguments.at)) + "\n")


if __name__ == "__main__":
    main()
