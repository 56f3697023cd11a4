"""The truth, in SQL: collections, questions and their revisions, labels, keys, sessions, training runs, activations,
deliveries, offers for review and what is derived of their labels.

The only room with SQL in it.
"""

from app.engine.store.activations import Activation
from app.engine.store.claims import Claim
from app.engine.store.collections import DEFAULT_COLLECTION, Collection, Stored
from app.engine.store.copying import Copied, copy_store
from app.engine.store.deliveries import Deliveries, Delivery
from app.engine.store.derived import Derived
from app.engine.store.keys import Key
from app.engine.store.label_records import NAMELESS, Ending, Given, Label, Labelled, NewLabel
from app.engine.store.offers import Answered, NewOffer, Offer
from app.engine.store.question_records import Changes, Contents, Copies, Question, Written
from app.engine.store.run_rows import State, TrainingRun
from app.engine.store.sessions import SessionRecord
from app.engine.store.store import Store, migrate_database

__all__ = [
    "DEFAULT_COLLECTION",
    "NAMELESS",
    "Activation",
    "Answered",
    "Changes",
    "Claim",
    "Collection",
    "Contents",
    "Copied",
    "Copies",
    "Deliveries",
    "Delivery",
    "Derived",
    "Ending",
    "Given",
    "Key",
    "Label",
    "Labelled",
    "NewLabel",
    "NewOffer",
    "Offer",
    "Question",
    "SessionRecord",
    "State",
    "Store",
    "Stored",
    "TrainingRun",
    "Written",
    "copy_store",
    "migrate_database",
]
