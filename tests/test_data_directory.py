"""The data directory has one holder; keys are made and revoked beside it, and nothing else is touched there."""

import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path

import pytest

from app.data_directory import DATABASE, locked, shared
from app.engine.store import Store
from app.errors import DataDirectoryInUse, DataDirectoryUnusable
from app.keys import make_key
from app.scopes import KeyScope
from tests.engine.test_migrations import before, insert_question

ROOT = Path(__file__).parent.parent
BEFORE_KEYS = import_module("app.engine.store.migrations.versions.0003_keys").down_revision


def age(folder: Path) -> None:
    """Let the database say that it is of the version that came before keys."""
    with closing(sqlite3.connect(folder / DATABASE)) as connection, connection:
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
    with before(tmp_path / DATABASE, BEFORE_KEYS) as connection:
        insert_question(connection, 1, "one", id="a")
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


# Who may read it


def modes(folder: Path) -> dict[str, str]:
    """Of each file in a folder."""
    return {file.name: oct(file.stat().st_mode & 0o777) for file in folder.iterdir()}


def test_nobody_else_may_read_a_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "some" / "data"
    with locked(folder) as store:
        store.questions.upsert("default", [("a", "one")])
        assert oct(folder.stat().st_mode & 0o777) == "0o700"
        files = modes(folder)
        assert {name: files[name] for name in files if name.startswith(DATABASE)} == {
            DATABASE: "0o600",
            f"{DATABASE}-wal": "0o600",
            f"{DATABASE}-shm": "0o600",
        }


def test_the_database_of_an_earlier_version_is_closed_to_others_and_its_folder_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with locked(tmp_path):
        pass
    assert caplog.records == []
    tmp_path.chmod(0o755)
    (tmp_path / DATABASE).chmod(0o644)
    with locked(tmp_path) as store:
        store.questions.upsert("default", [("a", "one")])
        assert modes(tmp_path)[DATABASE] == modes(tmp_path)[f"{DATABASE}-wal"] == "0o600"
    assert oct(tmp_path.stat().st_mode & 0o777) == "0o755"  # somebody else's to change
    assert f"others on this machine may read the data directory {tmp_path}" in caplog.text


# Copies of the database


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    """A data directory that a server has open, with a question in the write-ahead log."""
    with locked(tmp_path / "served") as store:
        store.questions.upsert("default", [("a", "one")])
        yield tmp_path / "served"


def copied(folder: Path, tmp_path: Path, *names: str) -> Path:
    """These files of a data directory, and no others, in a new one."""
    copy = tmp_path / "copy"
    copy.mkdir(mode=0o700)
    for name in names:
        shutil.copy(folder / name, copy)
    return copy


def test_a_copy_of_the_database_file_alone_is_told_of(
    served: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with locked(copied(served, tmp_path, DATABASE)) as store:
        assert list(store.questions.every("default")) == []
    assert "was copied while a server had it open" in caplog.text
    assert "`.backup`" in caplog.text


def test_the_documented_copy_of_a_served_database_is_whole(served: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    (command,) = re.findall(r"`(python -c [^`]*VACUUM INTO [^`]*)`", page)
    (tmp_path / "data").symlink_to(served)
    environment = {"PATH": str(Path(sys.executable).parent)}
    subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, env=environment, check=True)
    copy = tmp_path / "copy"
    copy.mkdir(mode=0o700)
    (tmp_path / "copy.db").rename(copy / DATABASE)
    with locked(copy) as store:
        assert [question.text for question in store.questions.every("default")] == ["one"]


def test_a_copy_that_an_earlier_version_left_without_any_table_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It marked nothing in the header; all of a young database stands in its log."""
    folder = tmp_path / "served"
    folder.mkdir(mode=0o700)
    with closing(sqlite3.connect(folder / DATABASE)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE collections (name)")
        copy = copied(folder, tmp_path, DATABASE)
    with locked(copy):
        pass
    assert "was copied while a server had it open" in caplog.text


def test_a_copy_with_the_log_and_one_of_a_closed_database_are_whole(
    served: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with locked(copied(served, tmp_path, DATABASE, f"{DATABASE}-wal")) as store:
        assert [question.text for question in store.questions.every("default")] == ["one"]
    with locked(copied(tmp_path / "copy", tmp_path / "copy", DATABASE)) as store:
        assert [question.text for question in store.questions.every("default")] == ["one"]
    assert caplog.records == []


def test_a_server_that_was_killed_finds_its_log_and_says_nothing(
    served: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [file.name for file in served.iterdir() if file.is_file()]
    with locked(copied(served, tmp_path, *names)) as store:
        assert [question.text for question in store.questions.every("default")] == ["one"]
    assert caplog.records == []
