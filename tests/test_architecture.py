"""The house, read from its files: who imports whom, and where verdicts are made."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from app.engine.verdicts import Judgement

ROOT = Path(__file__).parent.parent

# Anybody may import these.
LEAVES = {"app", "app.errors", "app.background"}

# The drawing: each room, and the rooms it may import from. An arrow that is not here is not allowed.
ARROWS: dict[str, set[str]] = {
    "app": set(),
    "app.errors": set(),
    "app.background": set(),
    "app.scopes": set(),
    "app.settings": {"app.scopes"},
    # the outside: it builds all, or answers from it
    "app.main": {"app"},
    "app.cli": {"app"},
    "app.http": {
        "app.http",
        "app.door",
        "app.fields",
        "app.leaving",
        "app.whole_files",
        "app.detector",
        "app.promises",
        "app.releases",
        "app.training_runs",
        "app.webhook",
        "app.keys",
        "app.scopes",
        "app.settings",
        "app.engine.store",  # to read
        "app.engine.sizes",
    },
    "app.web": {
        "app.web",
        "app.door",
        "app.fields",
        "app.leaving",
        "app.whole_files",
        "app.importing",
        "app.file_preview",
        "app.detector",
        "app.promises",
        "app.releases",
        "app.training_runs",
        "app.keys",
        "app.scopes",
        "app.settings",
        "app.engine.store",  # to read
        "app.engine.findings",  # the shapes of answers, to show
        "app.engine.verdicts",
        "app.engine.reasons",
        "app.engine.collection_thresholds",
    },
    # what both doors share
    "app.door": {"app.keys", "app.scopes"},
    "app.leaving": set(),
    "app.whole_files": set(),
    "app.fields": {"app.settings", "app.engine.text"},
    # files of questions
    "app.row_checks": {"app.fields", "app.engine.rows", "app.engine.text"},
    "app.file_preview": {"app.engine.rows"},
    "app.importing": {
        "app.detector",
        "app.file_preview",
        "app.row_checks",
        "app.settings",
        "app.engine.rows",
    },
    # the service
    "app.private_files": set(),
    "app.keys": {"app.scopes", "app.private_files", "app.engine.store", "app.engine.files"},
    "app.data_directory": {"app.engine.store"},
    "app.replicas": {"app.replicas", "app.data_directory", "app.engine.store"},
    "app.webhook": {"app.webhook", "app.private_files", "app.engine.store"},
    "app.training_runs": {
        "app.training_runs",
        "app.releases",
        "app.webhook",
        "app.settings",
        "app.engine.store",
        "app.engine.training_contract",
        "app.engine.review",
        "app.engine.files",
        "app.engine.data",
    },
    "app.mining": {
        "app.mining",
        "app.data_directory",
        "app.releases",
        "app.settings",
        "app.engine.live_release",
        "app.engine.verdicts",
        "app.engine.rulings",
        "app.engine.scorer",
        "app.engine.signals",
        "app.engine.models",
        "app.engine.index",
        "app.engine.release",
        "app.engine.store",
        "app.engine.files",
        "app.engine.text",
    },
    "app.promises": {
        "app.promises",
        "app.detector",
        "app.engine.findings",
        "app.engine.live_release",
        "app.engine.background_reading",
        "app.engine.stored_pairs",
        "app.engine.collection_thresholds",
        "app.engine.drawing",
        "app.engine.verdicts",
        "app.engine.scorer",
        "app.engine.store",
        "app.engine.text",
    },
    "app.releases": {
        "app.releases",
        "app.promises",
        "app.detector",
        "app.settings",
        "app.engine.live_release",
        "app.engine.background_reading",
        "app.engine.stored_pairs",
        "app.engine.verdicts",
        "app.engine.scorer",
        "app.engine.index",
        "app.engine.release",
        "app.engine.store",
        "app.engine.files",
    },
    "app.detector": {
        "app.engine.asking",
        "app.engine.query",
        "app.engine.finding",
        "app.engine.findings",
        "app.engine.pair_scores",
        "app.engine.following",
        "app.engine.coroutines",
        "app.engine.stored_pairs",
        "app.engine.live_release",
        "app.engine.store",
    },
    # the engine: plain Python, usable from a notebook and from training
    "app.engine": set(),
    "app.engine.finding": {
        "app.engine.asked",
        "app.engine.asking",
        "app.engine.findings",
        "app.engine.search",
        "app.engine.live_release",
        "app.engine.verdicts",
        "app.engine.rulings",
        "app.engine.query",
        "app.engine.store",
        "app.engine.text",
    },
    "app.engine.findings": {
        "app.engine.asking",
        "app.engine.verdicts",
        "app.engine.reasons",
        "app.engine.rulings",
        "app.engine.scorer",
        "app.engine.store",
    },
    "app.engine.search": {
        "app.engine.asked",
        "app.engine.asking",
        "app.engine.live_release",
        "app.engine.scorer",
        "app.engine.query",
        "app.engine.index",
        "app.engine.store",
    },
    "app.engine.query": {"app.engine.models", "app.engine.sizes", "app.engine.store"},
    "app.engine.asked": {
        "app.engine.rulings",
        "app.engine.store",
        "app.engine.text",
    },
    "app.engine.pair_scores": {
        "app.engine.query",
        "app.engine.asking",
        "app.engine.live_release",
        "app.engine.verdicts",
        "app.engine.rulings",
        "app.engine.scorer",
        "app.engine.store",
        "app.engine.text",
    },
    "app.engine.asking": {
        "app.engine.live_release",
        "app.engine.served_models",
        "app.engine.verdicts",
        "app.engine.coroutines",
        "app.engine.models",
        "app.engine.query",
        "app.engine.text",
    },
    "app.engine.background_reading": {
        "app.engine.live_release",
        "app.engine.served_models",
        "app.engine.verdicts",
        "app.engine.scorer",
        "app.engine.text",
    },
    "app.engine.bounds": set(),
    "app.engine.collection_thresholds": {"app.engine.bounds", "app.engine.scorer"},
    "app.engine.drawing": {"app.engine.bounds", "app.engine.collection_thresholds"},
    "app.engine.following": {
        "app.engine.live_release",
        "app.engine.replica",
        "app.engine.store",
    },
    "app.engine.replica": {"app.engine.live_release", "app.engine.store"},
    "app.engine.stored_pairs": {
        "app.engine.verdicts",
        "app.engine.rulings",
        "app.engine.scorer",
        "app.engine.index",
        "app.engine.store",
        "app.engine.text",
    },
    "app.engine.live_release": {
        "app.engine.served_models",
        "app.engine.models",
        "app.engine.index",
        "app.engine.release",
        "app.engine.scorer",
        "app.engine.signals",
        "app.engine.store",
    },
    "app.engine.served_models": {
        "app.engine.models",
        "app.engine.batching",
        "app.engine.coroutines",
    },
    "app.engine.verdicts": {
        "app.engine.scorer",
        "app.engine.guards",
        "app.engine.reasons",
        "app.engine.rulings",
        "app.engine.letter_case",
        "app.engine.signals",
        "app.engine.text",
        "app.engine.text_form",
    },
    "app.engine.letter_case": set(),
    "app.engine.signals": {"app.engine.models", "app.engine.text", "app.engine.text_form"},
    "app.engine.reasons": {"app.engine.rulings"},
    "app.engine.rulings": {"app.engine.scorer", "app.engine.store", "app.engine.text"},
    "app.engine.scorer": set(),
    "app.engine.guards": {"app.engine.guards", "app.engine.reasons"},
    "app.engine.groups": {
        "app.engine.components",
        "app.engine.index",
        "app.engine.store",
        "app.engine.verdicts",
    },
    "app.engine.review": {"app.engine.components"},
    "app.engine.components": {"app.engine.text"},
    "app.engine.training_contract": {"app.engine.files", "app.engine.text", "app.settings"},
    "app.engine.text_form": {"app.engine.text"},
    "app.engine.release": {
        "app.engine.bases",
        "app.engine.scorer",
        "app.engine.files",
        "app.engine.text_form",
    },
    "app.engine.bases": {"app.engine.files"},
    "app.engine.base_fetching": {"app.engine.bases", "app.engine.files"},
    "app.engine.batching": {"app.engine.turns"},
    "app.engine.turns": set(),
    "app.engine.coroutines": set(),
    "app.engine.files": set(),
    "app.engine.rows": {"app.engine.rows", "app.engine.parquet_footer"},
    "app.engine.parquet_footer": set(),
    "app.engine.text": set(),
    "app.engine.data": set(),
    "app.engine.models": {
        "app.engine.models",
        "app.engine.bases",
        "app.engine.release",
        "app.engine.scorer",
        "app.engine.data",
        "app.engine.files",
        "app.engine.rows",
        "app.engine.text_form",
    },
    "app.engine.index": {
        "app.engine.index",
        "app.engine.text_form",
        "app.engine.scorer",
        "app.engine.store",
        "app.engine.files",
    },
    "app.engine.sizes": set(),
    "app.engine.store": {
        "app.engine.store",
        "app.engine.scorer",
        "app.engine.sizes",
        "app.engine.text",
    },
    # the offline module: never the live release
    "training": {
        "training",
        "app.settings",
        "app.engine.models",
        "app.engine.bases",
        "app.engine.release",
        "app.engine.scorer",
        "app.engine.signals",
        "app.engine.verdicts",
        "app.engine.review",
        "app.engine.components",
        "app.engine.training_contract",
        "app.engine.data",
        "app.engine.files",
        "app.engine.rows",
        "app.engine.text",
        "app.engine.text_form",
    },
}

# Rooms of the drawing that come with later work.
TO_COME = {
    "app.engine.groups",
}


@pytest.mark.parametrize("room", ARROWS)
def test_imports_follow_the_arrows(room: str) -> None:
    modules = [(name, tree) for name, tree in _modules() if _room(name) == room]
    if not modules and room in TO_COME:
        pytest.skip("comes with later work")
    assert modules, "the drawing has a room that does not stand"
    for name, tree in modules:
        wrong = [module for module in _own_imports(tree) if not _is_allowed(room, module)]
        assert wrong == [], name


def test_every_module_is_in_a_room() -> None:
    assert [name for name, _ in _modules() if _room(name) is None] == []


def test_no_own_import_stands_inside_a_function() -> None:
    for name, tree in _modules():
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                assert list(_own_imports(function)) == [], f"{name}: {function.name}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    imports = {name: set(_own_imports(tree)) - {name} for name, tree in _modules()}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_verdicts_are_made_in_one_room() -> None:
    for name, tree in _modules():
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        verdicts = [ast.unparse(call) for call in calls if _makes_verdict(call)]
        assert name == "app.engine.verdicts" or verdicts == [], name


@pytest.mark.parametrize(
    ("code", "makes_verdict"),
    [
        ("Judgement(1.0, 1.0, 'duplicate')", True),
        ("verdicts.Judgement(1.0, 1.0, 'duplicate')", True),
        ("scale.thresholds.verdict(0.9, '0.95')", True),
        ("replace(judgement, verdict='review')", True),
        ("Finding(verdict=judgement.verdict)", False),
        ("replace(settings, release=release)", False),
    ],
)
def test_a_verdict_made_elsewhere_would_be_seen(code: str, makes_verdict: bool) -> None:
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call)
    assert _makes_verdict(call) == makes_verdict


def _is_allowed(room: str, imported: str) -> bool:
    if imported in LEAVES:
        return True
    return any(_is_in(imported, target) for target in ARROWS[room])


def _is_in(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def _room(name: str) -> str | None:
    """The most particular room that the module lies in."""
    if name == "app":
        return name
    rooms = [room for room in ARROWS if room != "app" and _is_in(name, room)]
    return max(rooms, key=len, default=None)


@cache
def _modules() -> list[tuple[str, ast.Module]]:
    """The name and the code of every module of our own."""
    modules = []
    for folder in ("app", "training"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            modules.append((name, ast.parse(path.read_text("utf-8"))))
    return modules


def _own_imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and _is_own(node.module):
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                stands = (ROOT / Path(*module.split("."))).with_suffix(".py").exists()
                yield module if stands else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _is_own(alias.name))


def _is_own(module: str) -> bool:
    return module.split(".")[0] in ("app", "training")


def _makes_verdict(call: ast.Call) -> bool:
    """Whether it makes a judgement, changes a part of one, or asks thresholds for a verdict."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    if called == "replace":
        return any(keyword.arg in Judgement.__dataclass_fields__ for keyword in call.keywords)
    return called == "Judgement" or (called == "verdict" and isinstance(call.func, ast.Attribute))
