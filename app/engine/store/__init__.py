"""The truth, in SQL: collections, questions and their revisions, labels, keys and activations. Only here is SQL."""

from app.engine.store.activations import Activation
from app.engine.store.collections import DEFAULT_COLLECTION, Collection
from app.engine.store.keys import Key
from app.engine.store.labels import Ending, Given, Label, Labelled, NewLabel, Once
from app.engine.store.questions import Changes, Contents, Question, Written
from app.engine.store.store import Store

__all__ = [
    "DEFAULT_COLLECTION",
    "Activation",
    "Changes",
    "Collection",
    "Contents",
    "Ending",
    "Given",
    "Key",
    "Label",
    "Labelled",
    "NewLabel",
    "Once",
    "Question",
    "Store",
    "Written",
]
