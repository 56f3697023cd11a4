"""The arrows of the house, read from the imports themselves."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
LEAVES = {"app", "app.errors", "app.scopes", "app.settings"}  # anybody may import these

# Each room, and the rooms it may import from. What is not listed here is not allowed.
ARROWS: dict[str, set[str]] = {
    "app": set(),
    "app.errors": set(),
    "app.scopes": set(),
    "app.settings": set(),
    "app.main": {
        "app.http",
        "app.data_directory",
        "app.detector",
        "app.engine",
        "app.events",
        "app.keys",
        "app.receiver",
        "app.releases",
        "app.training_runs",
        "app.training_worker",
        "app.webhook",
    },
    "app.cli": {
        "app.client",
        "app.http.fields",
        "app.engine.table",
        "app.engine.text",
        "app.key_commands",
        "app.release_commands",
        "app.run_commands",
    },
    "app.client": set(),
    "app.key_commands": set(),
    "app.release_commands": {"app.client"},
    "app.run_commands": {"app.client", "app.http.fields"},
    "app.http": {
        "app.http",
        "app.detector",
        "app.keys",
        "app.releases",
        "app.training_runs",
        "app.webhook",
    },
    "app.data_directory": {"app.engine"},
    "app.mining": {"app.data_directory", "app.engine", "app.releases"},
    "app.keys": {"app.engine"},
    "app.receiver": set(),
    "app.webhook": {"app.engine", "app.receiver"},
    "app.child_process": set(),
    "app.training_runs": {"app.engine.data", "app.engine.store"},
    "app.training_worker": {"app.child_process", "app.engine.store"},
    "app.detector": {"app.engine"},
    "app.comparison": {"app.detector", "app.engine"},
    "app.releases": {"app.comparison", "app.detector", "app.engine"},
    "app.events": {"app.engine.store", "app.releases", "app.webhook"},
    "app.engine.data": set(),
    "app.engine.text": set(),
    "app.engine.table": set(),
    "app.engine.batching": set(),
    "app.engine.recent": {"app.engine.tokens"},
    "app.engine.steps": set(),
    "app.engine.tokens": set(),
    "app.engine.tokenizing": {"app.engine.tokens"},
    "app.engine.loading": set(),
    "app.engine.weights": set(),
    "app.engine.forward": set(),
    "app.engine.shapes": set(),
    "app.engine.machine": set(),
    "app.engine.openvino_forward": {"app.engine.machine", "app.engine.shapes"},
    "app.engine.recorded_forward": {"app.engine.forward", "app.engine.shapes"},
    "app.engine.encoder": {
        "app.engine.forward",
        "app.engine.loading",
        "app.engine.tokenizing",
        "app.engine.tokens",
        "app.engine.weights",
    },
    "app.engine.pair_classifier": {
        "app.engine.forward",
        "app.engine.loading",
        "app.engine.tokenizing",
        "app.engine.tokens",
        "app.engine.weights",
    },
    "app.engine.model_cache": {"app.engine.openvino_forward", "app.engine.release"},
    "app.engine.backends": {
        "app.engine.data",
        "app.engine.encoder",
        "app.engine.forward",
        "app.engine.machine",
        "app.engine.model_cache",
        "app.engine.openvino_forward",
        "app.engine.pair_classifier",
        "app.engine.recorded_forward",
        "app.engine.release",
        "app.engine.scorer",
        "app.engine.table",
        "app.engine.tokens",
    },
    "app.engine.scorer": set(),
    "app.engine.index": set(),
    "app.engine.neighbours": {"app.engine.scorer"},
    "app.engine.release": {"app.engine.scorer"},
    "app.engine.catalogue": {"app.engine.release"},
    "app.engine.store": {"app.engine.store", "app.engine.text"},
    "app.engine.labels": {"app.engine.scorer", "app.engine.store", "app.engine.text"},
    "app.engine.store.migrations": set(),
    "app.engine.snapshot": {"app.engine.index", "app.engine.store"},
    "app.engine.live_release": {
        "app.engine.backends",
        "app.engine.batching",
        "app.engine.encoder",
        "app.engine.index",
        "app.engine.model_cache",
        "app.engine.pair_classifier",
        "app.engine.recent",
        "app.engine.release",
        "app.engine.scorer",
        "app.engine.snapshot",
        "app.engine.steps",
        "app.engine.store",
        "app.engine.text",
        "app.engine.tokens",
    },
    "training": {"training", "app.engine"},
}


def test_imports_follow_the_arrows() -> None:
    wrong = [
        f"{name} imports {imported}"
        for name, tree in _modules()
        for imported in _own_imports(tree)
        if not _allowed(name, imported)
    ]
    assert wrong == []


def test_no_own_import_stands_inside_a_function() -> None:
    hidden = [
        f"{name} imports {imported} in {function.name}"
        for name, tree in _modules()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for imported in _own_imports(function)
    ]
    assert hidden == []


def test_every_room_has_its_arrows() -> None:
    rooms = {_room(name) for name, _ in _modules()}
    assert rooms - ARROWS.keys() == {"app.engine", "app.http"} - ARROWS.keys()
    assert ARROWS.keys() - rooms == set()


def _allowed(name: str, imported: str) -> bool:
    targets = ARROWS.get(_room(name), set()) | LEAVES
    return any(imported == target or (target != "app" and imported.startswith(f"{target}.")) for target in targets)


def _room(name: str) -> str:
    """The most particular entry of ARROWS that the module lies in, or the module itself."""
    parts = name.split(".")
    rooms = (".".join(parts[:depth]) for depth in range(len(parts), 1, -1))
    return next((room for room in rooms if room in ARROWS), "training" if parts[0] == "training" else name)


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for folder in ("app", "training"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            yield name, ast.parse(path.read_text("utf-8"))


def _own_imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("app", "training"):
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield module if (ROOT / Path(*module.split("."))).with_suffix(".py").exists() else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in ("app", "training"))
