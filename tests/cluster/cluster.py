"""Three real servers over a primary of PostgreSQL and its synchronous standby, and what tests do to them."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import psycopg

from app.engine.release import Release
from app.engine.store import migrate_database
from tests.postgres import PASSWORD, Postgres
from tests.serving import free_port

SAMEASK = Path(sys.executable).with_name("sameask")
START_SECONDS = 300.0
ANSWER_SECONDS = 45.0  # longer than a write waits for other replicas


class Server:
    """One `sameask serve` over a data directory of its own."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        """It is started by `start`."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._environment = {
            "SAMEASK_DATA_DIR": str(folder / "data"),
            "SAMEASK_PORT": str(self.port),
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it printed, in all its lives."""
        return (self._folder / "server.log").read_text("utf-8")

    def start(self) -> None:
        """Begin to start."""
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [SAMEASK, "serve"], env=os.environ | self._environment, stdout=log, stderr=log
            )

    def wait_until_ready(self) -> None:
        """Return when it is ready."""
        assert self._process
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            has_ended = self._process.poll() is not None
            if has_ended or time.monotonic() > deadline:
                raise AssertionError(f"{self.url} does not get ready: {self.log}")
            time.sleep(0.05)

    def is_ready(self) -> bool:
        """Whether it says so."""
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/readyz", timeout=10).status_code == 200
        return False

    def kill(self) -> None:
        """`kill -9`."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def serves(self, release: str) -> bool:
        """Whether it answers by this release, and nothing of a swap is left."""
        with suppress(httpx.TransportError):
            answer = httpx.get(f"{self.url}/admin/releases/live", timeout=10)
            live = answer.json() if answer.status_code == 200 else {"release": None}
            return bool(live["release"] == release and live["swap"] is None)
        return False


class Databases:
    """A primary and a synchronous standby."""

    def __init__(self, folder: Path) -> None:
        """Make and start both, with an empty store."""
        self._folders = [folder / "a", folder / "b"]
        for each in self._folders:
            each.mkdir()
        self._primary = Postgres(self._folders[0])
        self._name = self._primary.new_database()
        migrate_database(self._primary.url(self._name))
        self._standby = self._follow(self._folders[1])

    @property
    def url(self) -> str:
        """The address of whichever is the primary."""
        folders = ",".join(str(folder) for folder in self._folders)
        query = f"host={folders}&target_session_attrs=read-write"
        return f"postgresql://sameask:{PASSWORD}@/{self._name}?{query}"

    def fail_over(self) -> None:
        """`kill -9` the primary, and let the standby be it: alone, until `mend`."""
        self._primary.kill()
        self._standby.promote()
        self._primary, self._standby = self._standby, self._primary

    def mend(self) -> None:
        """Make a standby where the killed primary was."""
        shutil.rmtree(self._standby.folder / "data")
        self._standby = self._follow(self._standby.folder)

    def close(self) -> None:
        """End both."""
        for server in (self._standby, self._primary):
            server.kill()

    def _follow(self, folder: Path) -> Postgres:
        standby = Postgres(folder, copied=self._primary)
        while not self._is_followed():
            time.sleep(0.01)
        self._primary.configure("synchronous_standby_names", "*")
        return standby

    def _is_followed(self) -> bool:
        with psycopg.connect(self._primary.url("postgres")) as connection:
            query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
            return connection.execute(query).fetchone() == (1,)


class Cluster:
    """Servers over the two databases."""

    def __init__(self, databases: Databases, servers: Sequence[Server]) -> None:
        self.databases = databases
        self.servers = servers

    def make_live(self, server: Server, release: str) -> None:
        """Ask one server to make a release live."""
        body = {"release": release}
        answer = httpx.put(f"{server.url}/admin/releases/live", json=body, timeout=ANSWER_SECONDS)
        assert answer.status_code == 202, answer.text

    def wait_until_all_serve(self, release: str) -> None:
        """Return when every server answers by this release."""
        deadline = time.monotonic() + START_SECONDS
        for server in self.servers:
            while not server.serves(release):
                assert time.monotonic() < deadline, server.log
                time.sleep(0.05)


@contextmanager
def clustered(release: Release, other: Release, count: int = 3) -> Iterator[Cluster]:
    """So many servers, ready, by `release`; each has a copy of the other one, too."""
    folder = Path(tempfile.mkdtemp(prefix="sameask-cluster-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        if os.geteuid() == 0:
            folder.chmod(0o755)  # the database runs as another user
        databases = Databases(folder)
        stack.callback(databases.close)
        environment = {
            "SAMEASK_DATABASE_URL": databases.url,
            "SAMEASK_RELEASE": str(release.path),
            "SAMEASK_DEVICE": "cpu",
            "SAMEASK_BACKEND": "torch",
            "OMP_NUM_THREADS": "1",
        }
        servers = []
        for number in range(count):
            home = folder / f"server-{number}"
            shutil.copytree(other.path, home / "data" / "releases" / other.name)
            server = Server(home, environment)
            stack.callback(server.kill)
            server.start()
            servers.append(server)
        for server in servers:
            server.wait_until_ready()
        yield Cluster(databases, servers)
