"""The data directory: whoever serves it holds its lock; keys are made, and training runs worked on, beside that."""

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from app.engine.store import Store
from app.errors import DataDamaged, DataDirectoryInUse, DataDirectoryUnusable

DATABASE = "sameask.db"
POSTGRES = "postgres"  # the folder of a PostgreSQL of our own, in place of that file
OWNER_ONLY = 0o700

log = logging.getLogger(__name__)


@contextmanager
def locked(folder: Path, database_url: str | None = None) -> Iterator[Store]:
    """The store in it, for this process alone; or that of the database, and the folder for this process alone.

    Raises DataDirectoryInUse, DataDirectoryUnusable; of a database DatabaseUnusable, SchemaOutdated.
    """
    if database_url is None:
        _refuse_replicas(folder)
    with held(folder), closing(Store(database_url or folder / DATABASE)) as store:
        yield store


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The folder, which is made if there is none, for this process alone.

    Raises DataDirectoryInUse, DataDirectoryUnusable.
    """
    try:
        folder.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
        _warn_if_readable(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError("it is not writable")
        lock = FileLock(folder / "lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise DataDirectoryInUse(
            f"the data directory {folder} is in use by another process; if it is a server, use --url"
        ) from error
    except OSError as error:
        raise DataDirectoryUnusable(f"can't use the data directory {folder}: {error}") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def shared(folder: Path, database_url: str | None = None) -> Iterator[Store]:
    """The store in it, beside a process that may hold the lock: for what no index and no snapshot follows.

    The lock is taken for a moment only where the database has to be made or brought up to date first. That of a
    database takes none. Raises DataDirectoryInUse (by a process of another version), DataDirectoryUnusable; of a
    database DatabaseUnusable, SchemaOutdated.
    """
    if database_url:
        with closing(Store(database_url)) as store:
            yield store
        return
    _refuse_replicas(folder)
    if not _is_current(folder / DATABASE):
        _prepare(folder)
    with closing(Store(folder / DATABASE, prepare=False)) as store:
        yield store


def _refuse_replicas(folder: Path) -> None:
    """Raise DataDirectoryUnusable for the folder of `sameask serve --replicas`: its store is no file of ours."""
    if (folder / POSTGRES).exists():
        raise DataDirectoryUnusable(
            f"the data directory {folder} is one of `sameask serve --replicas`; while that runs,"
            " the address that it prints, in SAMEASK_DATABASE_URL, leads to the store"
        )


def _warn_if_readable(folder: Path) -> None:
    """Log a warning where the folder is ours and others may look into it. It was made by somebody else: it stays so."""
    status = folder.stat()
    if status.st_uid == os.geteuid() and status.st_mode & stat.S_IRWXO:
        log.warning("others on this machine may read the data directory %s: `chmod 700` it", folder)


def _is_current(database: Path) -> bool:
    if not database.is_file():
        return False
    try:
        with closing(Store(database, prepare=False)) as store:
            return store.database.is_current()
    except DataDamaged:
        return False


def _prepare(folder: Path) -> None:
    try:
        with locked(folder):
            pass
    except DataDirectoryInUse as error:
        raise DataDirectoryInUse(
            f"the data directory {folder} is in use by a process of another version; end that first"
        ) from error
