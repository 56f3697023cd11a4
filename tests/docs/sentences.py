"""Sentences of prose, and how many words each has. `python -m tests.docs.sentences` lists the long ones."""

import ast
import io
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator

from tests.docs.blocks import ROOT, pages, prose

MOST_WORDS = 25
PACKAGES = ("app", "training", "sameask-client/src", "benchmarks", "examples")
SOURCES = (*PACKAGES, "tests")
DESCRIPTIONS = {"description", "help"}
DOCUMENTED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
TABLE = re.compile(r"^ *\|.*$", re.MULTILINE)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
CODE = re.compile(r"``?[^`]+``?")
AT_LINE_START = re.compile(r"^(?:#+ |[-*] |\d+\. |> )")
BESIDE = re.compile(r"\([^()]*\)")  # what stands in brackets is beside the sentence
END = re.compile(r"(?<=[.!?:;])[\"')”*]*\s+(?=[\"'(“*]*[A-Z0-9`…–-]|$)|(?<=[:;])\s+")
LIST = re.compile(r"(?:[^,·]{1,40}[,·] ){4,}")  # a list of names


def sentences(text: str) -> Iterator[str]:
    """The sentences of Markdown without blocks and tables. A colon or a semicolon ends one as a full stop does."""
    text = CODE.sub("X", TABLE.sub("", text))
    text = LINK.sub(r"\1", COMMENT.sub("", text))
    for paragraph in re.split(r"\n\s*\n|\n(?= *(?:[-*] |\d+\. ))", text):
        line = " ".join(AT_LINE_START.sub("", part.strip()) for part in paragraph.splitlines())
        while BESIDE.search(line):
            line = BESIDE.sub("", line)
        yield from (found.strip() for found in END.split(line) if found and found.strip())


def long_sentences(text: str) -> Iterator[str]:
    """Those with more words than a reader keeps in mind, lists of names left out."""
    for sentence in sentences(text):
        if words(sentence) > MOST_WORDS and not LIST.search(sentence):
            yield sentence


def words(sentence: str) -> int:
    """How many words a sentence has."""
    return len(re.findall(r"[\w'’…/%.-]*\w[\w'’…/%.-]*", sentence))


def source_texts() -> Iterator[tuple[str, str]]:
    """The docstring of each module of our own; of the packages, all docstrings, comments and messages as well."""
    for folder in SOURCES:
        for file in sorted((ROOT / folder).rglob("*.py")):
            source = file.read_text("utf-8")
            found = texts_of(source) if folder in PACKAGES else module_docstring(source)
            for line, text in found:
                yield f"{file.relative_to(ROOT)}:{line}", text


def texts_of(source: str) -> Iterator[tuple[int, str]]:
    """Each docstring, message and comment of a module, by its line."""
    yield from module_docstring(source)
    yield from messages(source)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and (docstring := ast.get_docstring(node)):
            yield node.lineno, _without_drawings(docstring)
    yield from comments(source)


def module_docstring(source: str) -> Iterator[tuple[int, str]]:
    """That of the module itself, if it has one."""
    if docstring := ast.get_docstring(ast.parse(source)):
        yield 1, _without_drawings(docstring)


def messages(source: str) -> Iterator[tuple[int, str]]:
    """Each text of an error that is raised, and each description of an option, a setting or a field, by its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise):
            yield from ((node.lineno, text) for text in _all_written(node))
        elif isinstance(node, ast.keyword) and node.arg in DESCRIPTIONS:
            yield node.value.lineno, _written(node.value)


def _all_written(node: ast.AST) -> Iterator[str]:
    if text := _written(node):
        yield text
        return
    for part in ast.iter_child_nodes(node):
        yield from _all_written(part)


def _written(node: ast.AST) -> str:
    """The text of a literal, X in place of what is put into it; empty for anything else."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_written(part) or "X" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Each comment by its line. A comment that goes on in the next line is one."""
    found: list[tuple[int, list[str]]] = []
    ended = (-1, -1)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        row, column = token.start
        goes_on = token.line.lstrip().startswith("#") and ended == (row - 1, column)
        if not goes_on:
            found.append((row, []))
        found[-1][1].append(token.string.lstrip("# "))
        ended = (row, column)
    return ((line, " ".join(parts)) for line, parts in found)


def _without_drawings(docstring: str) -> str:
    """A docstring without indented or aligned lines, which are drawings and tables."""
    lines = docstring.splitlines()
    return "\n".join(line for line in lines if not re.search(r"^    |\w {3,}\w", line))


def long_ones() -> dict[str, list[str]]:
    """The long sentences of each page, docstring, comment and message, where there are any."""
    texts = [
        (str(page.relative_to(ROOT)), prose(page)) for page in [*pages(), ROOT / "CONTRIBUTING.md"]
    ]
    found: dict[str, list[str]] = defaultdict(list)
    for name, text in [*texts, *source_texts()]:
        found[name] += long_sentences(text)
    return {name: long for name, long in found.items() if long}


if __name__ == "__main__":
    for place, found in long_ones().items():
        for one in found:
            sys.stdout.write(f"{place}: {words(one)}: {one}\n")
