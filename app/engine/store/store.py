"""The store: one database, and a room for each table over it."""

from contextlib import AbstractContextManager
from pathlib import Path

from app.engine.store.activations import Activations
from app.engine.store.asked import Asked
from app.engine.store.collections import Collections
from app.engine.store.database import Database
from app.engine.store.deliveries import Outbox
from app.engine.store.derived import DerivedRecords
from app.engine.store.keys import KeyRecords
from app.engine.store.labels import Labels
from app.engine.store.offers import Offers
from app.engine.store.questions import Questions
from app.engine.store.revisions import Revisions
from app.engine.store.training_runs import TrainingRuns


class Store:
    """Every table of one database. Safe from many threads; one writes at a time."""

    def __init__(self, path: Path, *, prepare: bool = True) -> None:
        """Open or make the database, check it, and bring its schema up to date. Raises DataDirectoryUnusable.

        `prepare` is false beside another process that has done all that: then it is only opened.
        """
        self.database = Database(path)
        self.collections = Collections(self.database)
        self.questions = Questions(self.database, self.collections)
        self.revisions = Revisions(self.database, self.collections)
        self.labels = Labels(self.database, self.collections, self.questions)
        self.offers = Offers(self.database, self.collections)
        self.derived = DerivedRecords(self.database, self.collections)
        self.asked = Asked(self.database, self.collections)
        self.keys = KeyRecords(self.database)
        self.deliveries = Outbox(self.database)
        self.training_runs = TrainingRuns(self.database, self.collections)
        self.activations = Activations(self.database, self.deliveries)
        if prepare:
            self.database.prepare(self.collections.begin)

    def close(self) -> None:
        """Close every connection; the write-ahead log is folded into the database."""
        self.database.close()

    def view(self) -> AbstractContextManager[object]:
        """Reads of this thread inside the context see one moment, and cost one transaction."""
        return self.database.reading()
