"""The store: one database, and a room for each table over it."""

from contextlib import AbstractContextManager, closing
from pathlib import Path

from app.engine.store.activations import Activations
from app.engine.store.asked import Asked
from app.engine.store.claims import Claims
from app.engine.store.collections import Collections
from app.engine.store.database import Database
from app.engine.store.deliveries import Outbox
from app.engine.store.derived import DerivedRecords
from app.engine.store.keys import KeyRecords
from app.engine.store.labels import Labels
from app.engine.store.offers import Offers
from app.engine.store.postgres import Postgres
from app.engine.store.questions import Questions
from app.engine.store.replicas import Replicas
from app.engine.store.revisions import Revisions
from app.engine.store.schema import latest_schema
from app.engine.store.sessions import SessionRecords
from app.engine.store.sqlite import Sqlite
from app.engine.store.training_runs import TrainingRuns
from app.engine.store.vector_tables import VectorTables


class Store:
    """Every table of one database. Safe from many threads."""

    def __init__(self, place: Path | str, *, prepare: bool = True) -> None:
        """Open the database: a file of SQLite, which is made where there is none, or the address of one of PostgreSQL.

        It is checked, and the schema of a file is brought up to date. Raises StartupError. `prepare` is false beside
        another process that has done all that: then it is only opened.
        """
        self.database = Database(Sqlite(place) if isinstance(place, Path) else Postgres(place))
        self.collections = Collections(self.database)
        self.questions = Questions(self.database, self.collections)
        self.revisions = Revisions(self.database, self.collections)
        self.labels = Labels(self.database, self.collections, self.questions)
        self.offers = Offers(self.database, self.collections)
        self.claims = Claims(self.database, self.collections)
        self.derived = DerivedRecords(self.database, self.collections)
        self.asked = Asked(self.database, self.collections)
        self.keys = KeyRecords(self.database)
        self.sessions = SessionRecords(self.database)
        self.deliveries = Outbox(self.database)
        self.training_runs = TrainingRuns(self.database, self.collections)
        self.activations = Activations(self.database, self.deliveries)
        driver = self.database.driver
        self.vectors = VectorTables(driver) if isinstance(driver, Postgres) else None
        self.replicas = Replicas(driver) if isinstance(driver, Postgres) else None
        if prepare:
            self.database.prepare(self.collections.begin)

    @property
    def place(self) -> str:
        """Where it is, without a password."""
        return self.database.driver.place

    @property
    def is_shared(self) -> bool:
        """Whether several processes may answer over it."""
        return self.replicas is not None

    def close(self) -> None:
        """Close every connection."""
        self.database.close()

    def view(self) -> AbstractContextManager[object]:
        """Reads of this thread inside the context see one moment, and cost one transaction."""
        return self.database.reading()


def migrate_database(url: str) -> tuple[str, str]:
    """Bring the schema of a PostgreSQL database up to date, also of an empty one. Its place, and its schema now.

    Raises DatabaseUnusable.
    Of several processes that do so at once, one does it, and the others wait.
    """
    with closing(Postgres(url)) as driver:
        driver.migrate(Collections(Database(driver)).begin)
        return driver.place, latest_schema()
