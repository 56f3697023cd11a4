"""The data directory has one holder; keys are made and revoked beside it, and nothing else is touched there."""

import sqlite3
from contextlib import closing
from importlib import import_module
from pathlib import Path

import pytest

from app.data_directory import DATABASE, locked, shared
from app.engine.store import Store
from app.errors import DataDirectoryInUse, DataDirectoryUnusable
from app.keys import make_key
from app.scopes import KeyScope

BEFORE_KEYS = import_module("app.engine.store.migrations.versions.0003_keys").down_revision


def age(folder: Path) -> None:
    """Let the database be of the version that came before keys."""
    with closing(sqlite3.connect(folder / DATABASE)) as connection, connection:
        for table in ("keys", "training_runs", "activations", "deliveries"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("UPDATE alembic_version SET version_num = ?", (BEFORE_KEYS,))


def test_only_one_holds_it(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(DataDirectoryInUse, match="--url"), locked(tmp_path):
        pass
    with locked(tmp_path) as store:
        assert store.collections.get("default").revision == 0


def test_it_is_shared_beside_its_holder_and_the_holder_sees_what_is_done(tmp_path: Path) -> None:
    with locked(tmp_path) as holder:
        with shared(tmp_path) as store:
            kept, _ = make_key(store, [KeyScope.READ], "made beside")
        assert holder.keys.all() == [kept]
        holder.questions.upsert("default", [("a", "one")])
    with locked(tmp_path) as again:
        assert (again.keys.all(), again.questions.get("default", "a").text) == ([kept], "one")


def test_one_that_is_not_there_is_made(tmp_path: Path) -> None:
    with shared(tmp_path / "new" / "data") as store:
        kept, _ = make_key(store, [KeyScope.READ])
    with locked(tmp_path / "new" / "data") as holder:
        assert holder.keys.all() == [kept]
        assert holder.collections.get("default").questions == 0


def test_one_of_an_older_version_is_brought_up_to_date(tmp_path: Path) -> None:
    with locked(tmp_path) as store:
        store.questions.upsert("default", [("a", "one")])
    age(tmp_path)
    with shared(tmp_path) as store:
        assert (store.keys.all(), store.questions.get("default", "a").text) == ([], "one")


def test_one_of_an_older_version_is_left_alone_while_somebody_holds_it(tmp_path: Path) -> None:
    with locked(tmp_path):
        age(tmp_path)
        with pytest.raises(DataDirectoryInUse, match="of another version"), shared(tmp_path):
            pass
        with closing(Store(tmp_path / DATABASE, prepare=False)) as store:
            assert store.database.is_current() is False


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    content = b"this is no database " * 300
    (tmp_path / DATABASE).write_bytes(content)
    with pytest.raises(DataDirectoryUnusable, match="can't use the database"), shared(tmp_path):
        pass
    assert (tmp_path / DATABASE).read_bytes() == content
