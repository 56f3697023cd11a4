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
        "app.releases.catalogue",
        "app.training_runs.on_end",
        "app.keys",
        "app.webhook.endpoint",
        "app.releases.releases",
        "app.training_runs.queue",
        "app.training_runs.worker",
        "app.webhook.delivery",
    },
    "app.cli.main": {
        "app.cli.client",
        "app.http.fields",
        "app.engine.rows",
        "app.engine.text",
        "app.cli.keys",
        "app.cli.releases",
        "app.cli.training_runs",
    },
    "app.cli.client": set(),
    "app.cli.keys": set(),
    "app.cli.releases": {"app.cli.client"},
    "app.cli.training_runs": {"app.cli.client", "app.http.fields"},
    "app.http": {
        "app.http",
        "app.detector",
        "app.keys",
        "app.releases.releases",
        "app.training_runs.queue",
        "app.webhook.delivery",
    },
    "app.data_directory": {"app.engine"},
    "app.mining": {
        "app.data_directory",
        "app.engine",
        "app.releases.catalogue",
        "app.releases.releases",
    },
    "app.keys": {"app.engine"},
    "app.webhook.endpoint": set(),
    "app.webhook.delivery": {"app.engine", "app.webhook.endpoint"},
    "app.training_runs.child_process": set(),
    "app.training_runs.queue": {"app.engine.data", "app.engine.store"},
    "app.training_runs.worker": {"app.training_runs.child_process", "app.engine.store"},
    "app.detector": {"app.engine"},
    "app.releases.comparison": {"app.detector", "app.engine"},
    "app.releases.releases": {
        "app.releases.catalogue",
        "app.releases.comparison",
        "app.detector",
        "app.engine",
    },
    "app.training_runs.on_end": {
        "app.engine.store",
        "app.releases.releases",
        "app.webhook.delivery",
    },
    "app.engine.data": set(),
    "app.engine.files": set(),
    "app.engine.text": set(),
    "app.engine.rows": set(),
    "app.engine.batching": set(),
    "app.engine.models.embedding_cache": {"app.engine.models.tokens"},
    "app.engine.steps": set(),
    "app.engine.models.tokens": set(),
    "app.engine.models.tokenizer": {"app.engine.models.tokens"},
    "app.engine.models.safe_loading": set(),
    "app.engine.models.weight_delta": set(),
    "app.engine.models.forward": set(),
    "app.engine.models.buckets": set(),
    "app.engine.models.cpu": set(),
    "app.engine.models.openvino": {"app.engine.models.cpu", "app.engine.models.buckets"},
    "app.engine.models.cuda_graphs": {"app.engine.models.forward", "app.engine.models.buckets"},
    "app.engine.models.encoder": {
        "app.engine.models.forward",
        "app.engine.models.safe_loading",
        "app.engine.models.tokenizer",
        "app.engine.models.tokens",
        "app.engine.models.weight_delta",
    },
    "app.engine.models.pair_classifier": {
        "app.engine.models.forward",
        "app.engine.models.safe_loading",
        "app.engine.models.tokenizer",
        "app.engine.models.tokens",
        "app.engine.models.weight_delta",
    },
    "app.engine.models.model_cache": {"app.engine.models.openvino", "app.engine.release"},
    "app.engine.models.backends": {
        "app.engine.data",
        "app.engine.models.encoder",
        "app.engine.models.forward",
        "app.engine.models.cpu",
        "app.engine.models.model_cache",
        "app.engine.models.openvino",
        "app.engine.models.pair_classifier",
        "app.engine.models.cuda_graphs",
        "app.engine.release",
        "app.engine.scorer",
        "app.engine.rows",
        "app.engine.models.tokens",
    },
    "app.engine.models.opening": {
        "app.engine.models.backends",
        "app.engine.models.encoder",
        "app.engine.models.model_cache",
        "app.engine.models.pair_classifier",
        "app.engine.release",
    },
    "app.engine.scorer": set(),
    "app.engine.index.faiss_index": set(),
    "app.engine.index.all_pairs": {"app.engine.scorer"},
    "app.engine.release": {"app.engine.scorer"},
    "app.releases.catalogue": {"app.engine.release"},
    "app.engine.store": {"app.engine.store", "app.engine.text"},
    "app.engine.rulings": {"app.engine.scorer", "app.engine.store", "app.engine.text"},
    "app.engine.store.migrations": set(),
    "app.engine.index.snapshot": {"app.engine.index.faiss_index", "app.engine.store"},
    "app.engine.live_release": {
        "app.engine.models.backends",
        "app.engine.batching",
        "app.engine.models.encoder",
        "app.engine.index.faiss_index",
        "app.engine.models.opening",
        "app.engine.models.pair_classifier",
        "app.engine.models.embedding_cache",
        "app.engine.release",
        "app.engine.scorer",
        "app.engine.index.snapshot",
        "app.engine.steps",
        "app.engine.store",
        "app.engine.text",
        "app.engine.models.tokens",
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
    rooms = {
        _room(name) for name, tree in _modules() if len(tree.body) > 1
    }  # a package's own file says what it holds
    assert rooms - ARROWS.keys() == set()
    assert ARROWS.keys() - rooms == set()


def _allowed(name: str, imported: str) -> bool:
    targets = ARROWS.get(_room(name), set()) | LEAVES
    return any(
        imported == target or (target != "app" and imported.startswith(f"{target}."))
        for target in targets
    )


def _room(name: str) -> str:
    """The most particular entry of ARROWS that the module lies in, or the module itself."""
    parts = name.split(".")
    rooms = (".".join(parts[:depth]) for depth in range(len(parts), 1, -1))
    return next(
        (room for room in rooms if room in ARROWS), "training" if parts[0] == "training" else name
    )


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for folder in ("app", "training"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            yield name, ast.parse(path.read_text("utf-8"))


def _own_imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.split(".")[0] in ("app", "training")
        ):
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield (
                    module
                    if (ROOT / Path(*module.split("."))).with_suffix(".py").exists()
                    else node.module
                )
        elif isinstance(node, ast.Import):
            yield from (
                alias.name
                for alias in node.names
                if alias.name.split(".")[0] in ("app", "training")
            )
