"""One byte of the data directory changes: that is refused, reported or harmless, and nothing wrong is ever served.

The bytes are flipped one at a time in a small data directory that holds all there is: a graph and an exact index,
bases and pieces behind them, replaced versions that are purged and some that are not, deletes, a text that can't
be embedded, a deleted collection, numbers as ids, a text of several pages.
"""

import random
import re
import shutil
import string
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from app.engine.index import faiss_index as index_module
from app.engine.index.in_memory import faiss_index_of
from app.engine.live_release import LiveRelease, ServingOptions
from app.engine.models.encoder import Encoder
from app.engine.models.tokens import Tokens
from app.engine.release import Release
from app.engine.store import (
    DEFAULT_COLLECTION,
    Collection,
    Label,
    NewLabel,
    Question,
    Store,
)
from app.engine.store.schema import latest_schema
from app.engine.text import Words, normalize
from app.engine.text_form import readable
from app.errors import DataDamaged, DataDirectoryUnusable, Unembeddable

P = ParamSpec("P")
T = TypeVar("T")

DATABASE, SNAPSHOTS = "sameask.db", "snapshots"
OTHER = "faq"
PARTS = 20  # each 35 bytes of the database and 15 of the snapshots
FLIPS_IN_DATABASE, FLIPS_IN_SNAPSHOTS = 700, 300
UNEMBEDDABLE = "☠"
REASON = "a text that the test made unembeddable"
NEW = {"new": "asked after the damage"}
ALL = 1000  # more than there is

IDS = ["17", "007", "1e3", "-0", "0x10", "ünï", "a/b", "null", "🦊", *(f"q{i}" for i in range(34))]
OTHER_IDS = [str(i) for i in range(17)]

Files = Mapping[Path, bytes]
Found = dict[str, tuple[str, float]]  # by id: text and similarity


@dataclass(frozen=True)
class Shelf:
    """A collection as it was written: its row, its questions by id, by revision the ids and texts ever written, and
    its labels by id, those that have ended too."""

    collection: Collection
    questions: Mapping[str, Question]
    versions: Mapping[int, tuple[str, str]]
    labels: Mapping[int, Label]

    def is_replaced(self, revision: int) -> bool:
        """Whether a later version of the question was written, or the question deleted."""
        question = self.questions.get(self.versions[revision][0])
        return question is None or question.revision != revision

    @property
    def active(self) -> list[Label]:
        """The labels that have not ended."""
        return [label for label in self.labels.values() if label.ended is None]


class RememberingEncoder(Encoder):
    """An encoder that runs once for each text, and has no vector for some."""

    def __init__(self, encoder: Encoder) -> None:
        vars(self).update(vars(encoder))
        self._vectors: dict[str, NDArray[np.float32]] = {}

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) unit vectors."""
        forms = [readable(text) for text in texts]
        self.encode_tokens(self.tokenize([form for form in forms if form not in self._vectors]))
        return self._known(forms)

    def encode_tokens(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        """As the encoder does, save for texts with UNEMBEDDABLE in them."""
        if any(UNEMBEDDABLE in tokens.text for tokens in batch):
            raise Unembeddable(REASON)
        for tokens in batch:
            if tokens.text not in self._vectors:
                (self._vectors[tokens.text],) = super().encode_tokens([tokens])
        return self._known([tokens.text for tokens in batch])

    def _known(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([self._vectors[text] for text in texts], np.float32).reshape(
            -1, self.dimension
        )


@dataclass(frozen=True)
class World:
    """A data directory, file by file, and what it holds."""

    release: Release
    encoder: RememberingEncoder
    files: Files
    shelves: Mapping[str, Shelf]

    def versions(self, collection_key: int) -> Mapping[int, tuple[str, str]]:
        """By revision of a collection, the id and the text that were written."""
        return next(
            (s.versions for s in self.shelves.values() if s.collection.key == collection_key), {}
        )


@contextmanager
def open_engine(
    folder: Path, release: Release, encoder: Encoder
) -> Iterator[tuple[Store, LiveRelease]]:
    """Store and live release over a data directory, not caught up."""
    store = Store(folder / DATABASE)
    try:
        options = ServingOptions(folder / SNAPSHOTS, "0.90", max_waiting_texts=ALL)
        live = LiveRelease(release, encoder, None, store, options)
        try:
            yield store, live
        finally:
            live.models.batcher.close()
    finally:
        store.close()


class Recorder:
    """Writes into a store, and keeps what it wrote."""

    def __init__(self, store: Store, live: LiveRelease) -> None:
        self._store, self._live = store, live
        self._keys = {DEFAULT_COLLECTION: store.collections.get(DEFAULT_COLLECTION).key}
        self._texts: dict[str, dict[str, str]] = {DEFAULT_COLLECTION: {}}
        self._versions: dict[str, dict[int, tuple[str, str]]] = {DEFAULT_COLLECTION: {}}

    def create(self, name: str) -> None:
        collection, _ = self._store.collections.create(name, ALL)
        self._keys[name] = collection.key
        self._texts[name], self._versions[name] = {}, {}

    def write(self, name: str, texts: Mapping[str, str]) -> None:
        first = self._store.collections.get(name).revision + 1
        assert (
            self._store.questions.upsert(name, list(texts.items())).revision
            == first + len(texts) - 1
        )
        self._texts[name] |= texts
        self._versions[name] |= dict(enumerate(texts.items(), first))

    def delete(self, name: str, *ids: str) -> None:
        for id_ in ids:
            self._store.questions.delete(name, id_)
            del self._texts[name][id_]

    def drop(self, name: str) -> None:
        self._live.forget(self._store.collections.delete(name).key)
        del self._texts[name], self._versions[name]

    def label(self, name: str, by: str, *pairs: tuple[int, int], note: str | None = None) -> None:
        said = [
            NewLabel((one + other) % 2 == 0, by, note, questions=(text_of(one), text_of(other)))
            for one, other in pairs
        ]
        assert len(self._store.labels.write(name, said).labels) == len(pairs)

    def undo(self, name: str, label_id: int) -> None:
        self._store.labels.undo(name, label_id, "carl")

    def index(self) -> None:
        for name in self._texts:
            self._live.catch_up(self._keys[name])
            faiss_index_of(self._live.index(self._keys[name])).rebuild()

    def end(self) -> dict[str, Shelf]:
        """What was written, by collection; it is what the store says."""
        shelves = {}
        for name, texts in self._texts.items():
            questions = {q.id: q for q in self._store.questions.page(name, None, ALL)}
            assert {q.id: q.text for q in questions.values()} == texts
            labels = {
                label.id: label for label in self._store.labels.page(name, 0, ALL, history=True)
            }
            shelves[name] = Shelf(
                self._store.collections.get(name), questions, self._versions[name], labels
            )
        return shelves


def text_of(number: int) -> str:
    """Texts of many lengths: letters, numbers, and some that are equal after normalisation."""
    letters = random.Random(number)
    if number % 11 == 3:
        return str(number)
    if number % 11 == 5:
        return ("How much?", "HOW MUCH?", "ｈｏｗ much?", "how  much?")[number // 11 % 4]
    return "".join(
        letters.choices([*string.ascii_lowercase, " ", "ä", "日", "🦊"], k=letters.randint(5, 60))
    )


def write_everything(recorder: Recorder, live: LiveRelease) -> None:
    """What the data directory holds, written and saved in such steps that each kind of row and file is there."""
    for name in (OTHER, "gone"):
        recorder.create(name)
    recorder.write("gone", {"a": "a text of a collection that is deleted"})
    recorder.label("gone", "anna", (0, 1))
    recorder.label(OTHER, "anna", *((100 + n, 101 + n) for n in range(9)))
    recorder.label(
        DEFAULT_COLLECTION, "anna", *((n, n + 7) for n in range(0, 30, 2)), note="a note on a pair"
    )
    recorder.label(DEFAULT_COLLECTION, "bob", *((n, n + 7) for n in range(0, 6, 2)), (1, 2), (4, 2))
    recorder.undo(DEFAULT_COLLECTION, 3)
    recorder.write(DEFAULT_COLLECTION, {id_: text_of(n) for n, id_ in enumerate(IDS)})
    recorder.write(
        DEFAULT_COLLECTION,
        {
            "q0": "long " * 2000,
            "q1": f"unembeddable {UNEMBEDDABLE}",
            "q9": f"nor this {UNEMBEDDABLE}",
        },
    )
    recorder.write(OTHER, {id_: text_of(100 + n) for n, id_ in enumerate(OTHER_IDS)})
    recorder.delete(DEFAULT_COLLECTION, "q2", "q3")
    recorder.index()
    live.indexes.save()  # bases; what was replaced is purged
    recorder.drop("gone")
    recorder.write(
        DEFAULT_COLLECTION, {"q4": "behind the base", "17": "in another piece", "q30": text_of(300)}
    )
    recorder.write(OTHER, {"3": "behind the base", "30": text_of(330)})
    recorder.delete(DEFAULT_COLLECTION, "q5", "007")
    recorder.index()
    live.indexes.save()  # pieces behind the bases
    recorder.write(
        DEFAULT_COLLECTION,
        {"q6": "not in a snapshot", "q7": "nor this", "q9": "but now it is", "q31": text_of(331)},
    )
    recorder.write(
        OTHER, {"4": "not in a snapshot", "31": text_of(332), "5": f"not either {UNEMBEDDABLE}"}
    )
    recorder.delete(DEFAULT_COLLECTION, "q8")
    recorder.delete(OTHER, "6")
    recorder.index()  # and nothing is purged of what was replaced since the last save


@pytest.fixture(scope="module")
def world(
    tiny_release: Release, tiny_encoder: Encoder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A data directory that was closed in order, in memory."""
    folder = tmp_path_factory.mktemp("data")
    encoder = RememberingEncoder(tiny_encoder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "EXACT_LIMIT", 30)  # the default collection's index is a graph
        with open_engine(folder, tiny_release, encoder) as (store, live):
            recorder = Recorder(store, live)
            write_everything(recorder, live)
            shelves = recorder.end()
        files = {
            path.relative_to(folder): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        yield World(tiny_release, encoder, files, shelves)


@dataclass(frozen=True)
class Flip:
    """A byte of a file, and the bits of it that change."""

    file: Path
    offset: int
    bits: int

    def made_in(self, files: Files, folder: Path) -> None:
        """Write the files into a folder, this byte changed."""
        for path, content in files.items():
            changed = bytearray(content)
            if path == self.file:
                changed[self.offset] ^= self.bits
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(changed)


@dataclass
class Outcome:
    """What came of a flip: what was refused, what was missing, and what was wrong; how many rows were reported."""

    refused: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    damaged: int = 0

    @property
    def kind(self) -> str:
        """`wrong`, or which of the ways to be right."""
        if self.wrong or (self.missing and not self.damaged):
            return "wrong"
        return "refused" if self.refused else "reported" if self.damaged else "harmless"


class Examination:
    """Asks a damaged data directory everything, and compares the answers with the truth."""

    def __init__(self, world: World, store: Store, live: LiveRelease) -> None:
        self.outcome = Outcome()
        self._world, self._store, self._live = world, store, live

    def read_all(self) -> None:
        """Everything that can be read is true, refused, or missing."""
        shelves = self._world.shelves
        listed = self._attempt("collections", self._store.collections.all)
        if listed is not None:
            self._expect(
                "collections", listed, [shelves[name].collection for name in sorted(shelves)]
            )
        for name, shelf in shelves.items():
            self._expect(
                name, self._attempt(name, self._store.collections.get, name), shelf.collection
            )
            self._read_questions(name, shelf)
            self._read_labels(name, shelf)
            key = shelf.collection.key
            if self._attempt(f"catch_up in {name}", self._live.catch_up, key) is not None:
                texts = {q.id: q.text for q in shelf.questions.values() if not q.quarantined}
                self._expect_all(f"search in {name}", self._search(key, texts), texts)
        self.outcome.damaged = self._store.database.damaged

    def write_all(self) -> None:
        """Every question can be written again, which mends it, and a new one beside them; or that is refused."""
        for name, shelf in self._world.shelves.items():
            texts = {q.id: q.text for q in shelf.questions.values()} | NEW
            if (
                self._attempt(
                    f"write in {name}", self._store.questions.upsert, name, list(texts.items())
                )
                is None
            ):
                continue
            self._label_again(name, shelf)
            key = shelf.collection.key
            self._search(
                key, texts
            )  # committed and not indexed: earlier versions may be found, but true ones alone
            if (
                self._attempt(f"catch_up in {name} after a write", self._live.catch_up, key)
                is not None
            ):
                listed = {q.id: q.text for q in self._store.questions.page(name, None, ALL)}
                self._expect(f"list of {name} after a write", listed, texts)
                texts = {id_: text for id_, text in texts.items() if UNEMBEDDABLE not in text}
                self._expect(f"search in {name} after a write", self._search(key, texts), texts)

    def delete_some(self) -> None:
        """Questions with a past are deleted, or that is refused, and are not found any more."""
        for name, shelf in self._world.shelves.items():
            replaced = {
                id_ for revision, (id_, _) in shelf.versions.items() if shelf.is_replaced(revision)
            }
            ids = [
                id_ for id_ in sorted(replaced & shelf.questions.keys()) if self._delete(name, id_)
            ]
            key = shelf.collection.key
            if (
                self._attempt(f"catch_up in {name} after deletes", self._live.catch_up, key)
                is not None
            ):
                texts = {q.id: q.text for q in shelf.questions.values()} | NEW
                found = self._search(key, texts)
                self._expect(
                    f"deleted, and found in {name}", [id_ for id_ in ids if id_ in found], []
                )

    def create_one(self) -> None:
        """A new collection is empty, and has a key of its own."""
        made = self._attempt("create", self._store.collections.create, "fresh", ALL)
        if made is not None:
            self._expect(
                "fresh collection", (made[1], made[0].revision, made[0].questions), (True, 0, 0)
            )
            keys = [collection.key for collection in self._store.collections.all()]
            self._expect("keys", len(set(keys)), len(self._world.shelves) + 1)
            self._live.catch_up(made[0].key)
            self._expect("search in it", self._search(made[0].key, NEW), {})

    def _delete(self, name: str, id_: str) -> bool:
        return self._attempt(f"delete {id_}", self._store.questions.delete, name, id_) is not None

    def _read_questions(self, name: str, shelf: Shelf) -> None:
        questions = list(shelf.questions.values())
        listed = self._attempt(f"list of {name}", self._store.questions.page, name, None, ALL)
        if listed is not None:
            self._expect(f"order of {name}", [q.id for q in listed], sorted(q.id for q in listed))
            self._expect_all(f"list of {name}", {q.id: q for q in listed}, shelf.questions)
        revisions = self._attempt(
            f"ids of {name}",
            self._store.questions.revisions,
            shelf.collection.key,
            list(shelf.questions),
        )
        if revisions is not None:
            self._expect_all(f"ids of {name}", revisions, {q.id: q.revision for q in questions})
        for question in questions:
            if (
                question.id not in (revisions or {}) or question.revision % 8 == 0
            ):  # each one costs a millisecond
                self._expect(
                    question.id,
                    self._attempt(question.id, self._store.questions.get, name, question.id),
                    question,
                )
        texts = [q.text for q in questions]
        matches = self._attempt(
            f"matches in {name}", self._store.questions.exact_matches, shelf.collection.key, texts
        )
        if matches is not None:
            for text in texts:
                equal = {q.id: q for q in questions if normalize(q.text) == normalize(text)}
                self._expect_all(
                    f"matches of {text[:20]!r}", {q.id: q for q in matches.get(text, [])}, equal
                )

    def _read_labels(self, name: str, shelf: Shelf) -> None:
        listed = self._attempt(
            f"labels of {name}", self._store.labels.page, name, 0, ALL, history=True
        )
        if listed is not None:
            self._expect_all(
                f"labels of {name}", {label.id: label for label in listed}, shelf.labels
            )
        texts = sorted({text for label in shelf.labels.values() for text in label.questions})
        found = self._attempt(
            f"labels on texts of {name}",
            self._store.labels.on,
            shelf.collection.key,
            [Words.of(text) for text in texts],
        )
        if found is not None:
            for text in texts:
                equal = {
                    label.id: label for label in shelf.active if Words.of(text).loose in label.loose
                }
                self._expect_all(
                    f"labels on {text[:20]!r}",
                    {label.id: label for label in found.get(text, [])},
                    equal,
                )

    def _label_again(self, name: str, shelf: Shelf) -> None:
        """Whatever was damaged, everybody can say again what they said, and that is what holds then."""
        said = [
            NewLabel(label.is_duplicate, label.by, label.note, questions=label.questions)
            for label in shelf.active
        ]
        if self._attempt(f"label in {name}", self._store.labels.write, name, said) is not None:
            words = {
                (label.pair, label.by, label.is_duplicate)
                for label in self._store.labels.page(name, 0, ALL)
            }
            expected = {(label.pair, label.by, label.is_duplicate) for label in shelf.active}
            self._expect(f"labels of {name} after labelling", words, expected)

    def _search(self, collection_key: int, texts: Mapping[str, str]) -> dict[str, str]:
        """What searches for all these texts find, by id; wrong similarities and texts never written are noted."""
        queries = self._world.encoder.vectors(
            [text for text in texts.values() if UNEMBEDDABLE not in text]
        )
        _, all_hits = self._live.index(collection_key).search(queries, ALL)
        found = sorted({revision for hits in all_hits for revision, _ in hits})
        stored = self._store.questions.read(collection_key, found)
        versions = self._world.versions(collection_key)
        for revision, question in stored.items():
            written = versions.get(revision) or (question.id, texts.get(question.id))
            self._expect(f"revision {revision}", (question.id, question.text), written)
        for query, hits in zip(queries, all_hits, strict=True):
            pairs = [(s, stored[r].text) for r, s in hits if r in stored]
            expected = self._world.encoder.vectors([text for _, text in pairs]) @ query
            if not np.allclose([s for s, _ in pairs], expected, atol=1e-3):
                self.outcome.wrong.append(f"similarities in {collection_key}")
        return {question.id: question.text for question in stored.values()}

    def _attempt(
        self, asked: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T | None:
        """The answer, or None if it is refused."""
        try:
            return function(*args, **kwargs)
        except DataDamaged:
            self.outcome.refused.append(asked)
            return None

    def _expect(self, asked: str, found: object, expected: object) -> None:
        if found != expected and not (found is None and asked in self.outcome.refused):
            self.outcome.wrong.append(f"{asked}: {found!r} instead of {expected!r}"[:300])

    def _expect_all(
        self, asked: str, found: Mapping[Any, object], expected: Mapping[Any, object]
    ) -> None:
        """What is found is true; what is true and not found is missing."""
        self._expect(asked, found, {key: value for key, value in expected.items() if key in found})
        self.outcome.missing += [f"{asked}: {key!r}" for key in expected if key not in found]


def outcome_of(flip: Flip, world: World, folder: Path) -> Outcome:
    """What comes of a flip."""
    shutil.rmtree(folder, ignore_errors=True)
    flip.made_in(world.files, folder)
    try:
        with open_engine(folder, world.release, world.encoder) as (store, live):
            examination = Examination(world, store, live)
            try:
                examination.read_all()
                examination.write_all()
                examination.delete_some()
                examination.create_one()
            except Exception as error:
                examination.outcome.wrong.append(f"{type(error).__name__}: {error}"[:300])
            return examination.outcome
    except (DataDirectoryUnusable, DataDamaged) as error:
        return Outcome(refused=[f"opening: {error}"])
    except Exception as error:
        return Outcome(wrong=[f"opening: {type(error).__name__}: {error}"[:300]])


def flips(world: World, files: Sequence[Path], count: int, seed: int) -> list[Flip]:
    """As many in each file; where a byte is zero, as most of the unused ones are, a fourth as often."""
    chances = np.random.default_rng(seed)
    found: list[Flip] = []
    for file in files:
        content = np.frombuffer(world.files[file], dtype=np.uint8)
        weights = np.where(content == 0, 1.0, 4.0)
        places = chances.choice(
            len(content), count // len(files), replace=False, p=weights / weights.sum()
        )
        found.extend(Flip(file, int(offset), int(chances.integers(1, 256))) for offset in places)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: nothing here asks what a disk does."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as name:
        yield Path(name) / "data"


def test_an_intact_data_directory_is_harmless(
    world: World, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert outcome_of(Flip(Path(DATABASE), 0, 0), world, folder) == Outcome()
    assert caplog.messages == []  # its snapshots are used


@pytest.mark.parametrize(
    "part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, PARTS))]
)
def test_a_flipped_byte_is_refused_reported_or_harmless(
    world: World, folder: Path, part: int
) -> None:
    database = [path for path in world.files if path.name == DATABASE]
    snapshots = [path for path in world.files if SNAPSHOTS in path.parts]
    chosen = [
        *flips(world, database, FLIPS_IN_DATABASE // PARTS, part),
        *flips(world, snapshots, FLIPS_IN_SNAPSHOTS // PARTS, part),
    ]
    outcomes = [(flip, outcome_of(flip, world, folder)) for flip in chosen]
    assert [(flip, outcome) for flip, outcome in outcomes if outcome.kind == "wrong"] == []
    assert {outcome.kind for _, outcome in outcomes} >= {"refused", "harmless"}
    assert any(outcome.damaged for _, outcome in outcomes)


WORDS = {
    "a text": "behind the base",
    "the text of an earlier version": text_of(IDS.index("q6")),
    "a text of several pages": "long long",
    "a note": REASON,
    "an id": "q33",
    "a note on a label": "a note on a pair",
    "the name of a collection": OTHER,
    "a table's definition": "superseded_by BIGINT",
    "an index's definition": "WHERE superseded_by IS NULL",
    "the version of the schema": latest_schema(),
}


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS.keys())
def test_flipped_bytes_in_the_words_of_the_database(world: World, folder: Path, words: str) -> None:
    """Wherever these words stand, each of a few bytes, into another letter and into what is no UTF-8."""
    content = world.files[Path(DATABASE)]
    places = [match.start() for match in re.finditer(re.escape(words.encode()), content)]
    assert places
    for place in places[:3]:
        for offset in (place, place + len(words.encode()) - 1):
            for bits in (1, 0x80):
                flip = Flip(Path(DATABASE), offset, bits)
                assert outcome_of(flip, world, folder).kind != "wrong", flip
