"""`sameask serve --replicas`: several servers at one port, and the PostgreSQL that they share."""

from contextlib import ExitStack

from app.cli.client import note_new_data_directory
from app.cli.listening import authority, listen, share
from app.cli.terminal import print_note
from app.data_directory import DATABASE, held
from app.engine.store import migrate_database
from app.errors import CommandError
from app.replicas.parent import Kept, Replica, environments, keep, told_to_stop
from app.replicas.postgres import FEW_CONNECTIONS, EmbeddedPostgres
from app.settings import Settings

CONNECTIONS = 30  # of one server, at most


def serve_replicas(settings: Settings, count: int) -> None:
    """Serve in so many processes until told to stop. Raises CommandError, StartupError."""
    postgres = None if settings.store_url else _postgres(settings, count)
    with ExitStack() as stack:
        listen(settings).close()  # nobody else listens there, also not by sharing
        stack.enter_context(share(settings))
        note_new_data_directory(settings)
        stack.enter_context(held(settings.data_dir))
        stopped = told_to_stop()
        beside: list[Kept] = []
        url = settings.store_url or ""
        if postgres:
            stack.callback(postgres.stop)
            beside.append(Kept("PostgreSQL", postgres.start))
            beside[0].start()
            migrate_database(postgres.url)
            url = postgres.url
            print_note(f"the store is at {url}: other commands need that in SAMEASK_DATABASE_URL")
        replicas = []
        found = environments(
            count, settings.data_dir.absolute(), settings.releases_folder.absolute(), url
        )
        for number, environment in enumerate(found, 1):
            replicas.append(Replica(number, environment))
        keep(replicas, beside, stopped, on_open=lambda: _say_open(settings, count))


def _postgres(settings: Settings, count: int) -> EmbeddedPostgres:
    """That of the data directory, not started. Raises CommandError.

    So it does for a data directory that one process serves: its questions would not be there any more.
    """
    folder = settings.data_dir
    if (folder / DATABASE).exists():
        raise CommandError(
            f"the data directory {folder} has a store for one process ({DATABASE});"
            f" `sameask copy {folder} NEW --replicas` copies it to a new data directory for several"
        )
    return EmbeddedPostgres(folder, max(FEW_CONNECTIONS, CONNECTIONS * (count + 1)))


def _say_open(settings: Settings, count: int) -> None:
    address = f"http://{authority(settings.host, settings.port)}"
    print_note(f"Sameask answers at {address} in {count} processes (documentation: {address}/docs)")
