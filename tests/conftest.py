"""What tests share: a tiny real model, a release on it, and the app over both."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here may reach for the hub
os.environ.setdefault(
    "SAMEASK_BACKEND", "torch"
)  # what else may run the models has tests of its own
os.environ.setdefault(
    "SAMEASK_ALLOWED_HOSTS", "testserver"
)  # as the test client calls every service

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import hypothesis
import pytest
from starlette.testclient import TestClient
from transformers.utils.logging import disable_progress_bar

from app.engine.bases import WEIGHTS
from app.engine.files import sha256
from app.engine.models.encoder import Encoder
from app.engine.release import (
    TARGET_PRECISIONS,
    Release,
    calibration_document,
    thresholds_document,
)
from app.engine.scorer import Calibration, Scale, Threshold, Thresholds
from app.engine.store import Store, migrate_database
from app.main import create_app
from app.settings import Settings
from tests.backend import DEVICE, on_backend
from tests.postgres import Postgres, started
from tests.serving import Model, watched_model
from tests.tiny_model import build_tiny_model
from training.publish import document, publish

disable_progress_bar()

hypothesis.settings.register_profile("unhurried", deadline=None)  # no test looks at a clock
hypothesis.settings.load_profile("unhurried")

STORE = os.environ.get("TEST_STORE", "sqlite")  # or postgresql, for whatever is asked of a store
ON_BOTH = {  # modules whose tests run on both, whatever that says
    "tests.engine.test_store",
    "tests.engine.test_labels",
    "tests.engine.test_claims",
    "tests.web.test_sessions",
}
WIDE_DIMENSION = 48
RELEASES = Path(__file__).parent.parent / "releases"


def publish_release(
    out: Path,
    base: Path,
    dimension: int,
    *,
    duplicate_from: float | None = 0.9,
    classifier: Path | None = None,
    tuned_on: str | None = None,
) -> Release:
    """A release on a model folder, with a steep calibration around a similarity of 0.9; with a pair classifier, if
    there is one, whose logit alone is the probability's. `tuned_on` is a source of pairs."""
    thresholds = {
        target: Threshold(duplicate_from, 0.9 if duplicate_from else None, 0.5, 100)
        for target in TARGET_PRECISIONS
    }
    manifest = {
        "parent": None,
        "base_model": {"name": str(base), "files": {WEIGHTS: sha256(base / WEIGHTS)}},
        "dimension": dimension,
        "data": {"tune": {"from": tuned_on}} if tuned_on else {},
        "training": None,
        "seed": None,
    }
    scale = Scale(Calibration([100.0], -90.0), Thresholds(thresholds, 0.5))
    by_pair = (
        Scale(Calibration([0.0, 1.0], 0.0), Thresholds(thresholds, 0.5)) if classifier else None
    )
    weights = sorted(file for file in classifier.iterdir() if file.is_file()) if classifier else []
    files: dict[str, str | bytes | Path] = {
        **{f"classifier/{file.name}": file for file in weights},
        "calibration.json": document(calibration_document(scale, by_pair)),
        "thresholds.json": document(thresholds_document(scale, by_pair, -1.0)),
        "metrics.json": document({}),
        "README.md": f"# {out.name}\n",
    }
    return publish(out, manifest, files)


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """A command that serves adds a handler to the log, which would outlive the stream that its test captured."""
    logger = logging.getLogger("app")
    handlers, level = logger.handlers[:], logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a database may be made."""
    return tmp_path / "sameask.db"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let tests of the store run on both databases."""
    names = metafunc.fixturenames
    if metafunc.module.__name__ in ON_BOTH and "store" in names and "path" not in names:
        metafunc.parametrize("store", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store. It is a file at `path` for a test that asks for that, as it looks into the file."""
    place: Path | str = tmp_path / "sameask.db"
    if getattr(request, "param", STORE) == "postgresql" and "path" not in request.fixturenames:
        place = request.getfixturevalue("cluster_url")
    with closing(Store(place)) as store:
        yield store


@pytest.fixture
def key(store: Store) -> int:
    """The key of the default collection."""
    return store.collections.get("default").key


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL."""
    with started() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The address of an empty database there."""
    database = postgres.new_database()
    yield postgres.url(database)
    postgres.drop(database)


@pytest.fixture(scope="session")
def migrated(postgres: Postgres) -> str:
    """The name of a database with an empty store."""
    database = postgres.new_database()
    migrate_database(postgres.url(database))
    return database


@pytest.fixture
def cluster_url(postgres: Postgres, migrated: str) -> Iterator[str]:
    """The address of an empty store there."""
    database = postgres.new_database(migrated)
    yield postgres.url(database)
    postgres.drop(database)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny BERT with mean pooling."""
    return build_tiny_model(tmp_path_factory.mktemp("models") / "tiny-bert")


@pytest.fixture(scope="session")
def tiny_encoder(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """The tiny BERT, loaded; use it from one thread at a time."""
    return on_backend(Encoder.open(tiny_model, DEVICE), tmp_path_factory.mktemp("converted"))


@pytest.fixture(scope="session")
def tiny_release(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Release:
    """A release on the tiny BERT: `duplicate` from a similarity of about 0.92, `review` from 0.90."""
    return publish_release(tmp_path_factory.mktemp("releases") / "tiny", tiny_model, 32)


@pytest.fixture(scope="session")
def wide_release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A release of another dimension than the tiny one's."""
    model = build_tiny_model(
        tmp_path_factory.mktemp("wide") / "model", dimension=WIDE_DIMENSION, seed=1
    )
    return publish_release(tmp_path_factory.mktemp("wide-release") / "wide", model, WIDE_DIMENSION)


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path, tiny_release: Release) -> Settings:
    """Settings of a service over the tiny release and an empty data directory, or an empty database."""
    url = request.getfixturevalue("cluster_url") if STORE == "postgresql" else None
    return Settings(
        data_dir=tmp_path / "data", database_url=url, release=tiny_release.path, device="cpu"
    )


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of asynchronous tests."""
    return "asyncio"


@pytest.fixture
def model() -> Iterator[Model]:
    """What stands before the real models: it notes texts, and waits or fails when told to."""
    with watched_model() as model:
        yield model


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """The running service."""
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        yield client


def wait_until_ready(client: TestClient) -> None:
    """Return when /readyz says ready."""
    while client.get("/readyz").status_code != 200:
        pass
