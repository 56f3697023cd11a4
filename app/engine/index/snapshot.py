"""An index on disk, in pieces that never change: a base, and what was applied since.

    <folder>/<collection key>/<start>-<end>/
        manifest.json     release, collection, revisions, fingerprint of the texts, digests of the files
        entries.npz       ids and vectors; of a base that is a graph, ids and which of them live
        graph.faiss       of a base that is a graph

A piece with start 0 is a base; the others follow it without a gap. A piece appears by rename, whole and
synced. What is damaged, of another release, or at odds with the store is set aside, not used. A release without pieces
begins with copies of those of the live release, where both have the same bi-encoder.
"""

import hashlib
import json
import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from app.engine.files import new_folder, sha256
from app.engine.index.faiss_index import Body, Index
from app.engine.index.in_use import begin_use, end_use, is_long_unused, keep_noted, note_use
from app.engine.store import Contents
from app.engine.text_form import TEXT_FORM

FORMAT = 1
MIN_TAIL = 4096  # entries that may follow a base before a new base is written
MAX_TAIL_SHARE = 1 / 16  # of the base, if that is more

SET_ASIDE = ".set-aside"  # ends the name of a folder that was moved out of the way

ContentsOf = Callable[[int, NDArray[np.int64]], Contents | None]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Piece:
    """One folder of a snapshot: what changed between two revisions."""

    path: Path
    start: int
    end: int


@dataclass
class _Saved:
    """What a collection's pieces hold by now: ids up to a revision, and how much of it stands in the base."""

    end: int
    ids: NDArray[np.int64]
    base: int
    tail: int


class Unusable(OSError):
    """Why a snapshot can't be used."""


class Snapshots:
    """The snapshots of one release, by collection key."""

    def __init__(self, folder: Path, release_digest: str, same_vectors: str | None = None) -> None:
        """`folder` holds every release's snapshots; this release's stand in a folder named by its digest.

        `same_vectors` is the digest of a release whose bi-encoder makes the same vectors.
        """
        self._root = folder
        self._folder = folder / release_digest[:16]
        self._release_digest = release_digest
        self._same_vectors = same_vectors
        self._saved: dict[int, _Saved] = {}
        self._lock = threading.Lock()

    def load(
        self,
        collection_key: int,
        dimension: int,
        latest: int,
        contents: ContentsOf,
    ) -> Index | None:
        """The collection's index as it was saved, or None.

        `latest` is the store's revision, `contents` says what an index that holds these ids must hold at a revision,
        or that the collection is gone. A snapshot that is damaged, foreign, newer than the store or at odds with it is
        set aside with a warning.
        """
        folder = self._folder / str(collection_key)
        try:
            pieces = _chain(folder) or self._copied(collection_key)
            if not pieces:
                return None
            if pieces[-1].end > latest:
                raise Unusable(
                    f"it is at revision {pieces[-1].end}, newer than the store's {latest}"
                )
            index, base, tail = self._open(collection_key, dimension, pieces)
            ids = index.ids()
            if (expected := contents(index.revision, ids)) is None:
                return None
            if _manifest(pieces[-1])["fingerprint"] != _fingerprint(ids, expected):
                raise Unusable("it was made of other texts than the store holds")
        except (Unusable, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            log.warning("the snapshot %s is set aside: %s", folder, error)
            _set_aside(folder)
            return None
        self._saved[collection_key] = _Saved(index.revision, ids, base, tail)
        return index

    def save(self, collection_key: int, index: Index, contents: ContentsOf) -> int:
        """Write what changed since the last save as a new piece; returns the revision that is now on disk.

        Of a collection that was deleted meanwhile nothing is written.
        """
        with self._lock, index.reading() as (revision, body):
            saved = self._saved.get(collection_key) or _Saved(0, np.empty(0, dtype=np.int64), 0, 0)
            if revision == saved.end:
                return saved.end
            ids = body.ids[body.live]
            expected = contents(revision, ids)
            if expected is None:
                return saved.end
            fingerprint = _fingerprint(ids, expected)
            removed = np.setdiff1d(saved.ids, ids, assume_unique=True)
            added = int(np.count_nonzero(ids > saved.end))
            base = saved.base
            tail = saved.tail + len(removed) + added
            if not saved.end or tail > max(MIN_TAIL, base * MAX_TAIL_SHARE):
                self._publish(collection_key, 0, revision, body, removed, fingerprint)
                self._remove_older(collection_key, revision)
                base = len(ids)
                tail = 0
            else:
                self._publish(collection_key, saved.end, revision, body, removed, fingerprint)
            self._saved[collection_key] = _Saved(revision, ids, base, tail)
        note_use(self._folder)
        return revision

    def saved_revision(self, collection_key: int) -> int:
        """The revision on disk; 0 for none."""
        saved = self._saved.get(collection_key)
        return saved.end if saved else 0

    def floor(self, collection_key: int) -> int:
        """The least revision that any release's snapshot of the collection stands at; 0 without one."""
        folders = self._root.glob(f"*/{collection_key}")
        return min(map(_end, folders), default=0)

    def begin_use(self) -> None:
        """Keep other releases from removing what this one has, until `end_use`."""
        begin_use(self, self._folder)

    def keep_in_use(self) -> None:
        """To be called again and again meanwhile, for the case of a kill."""
        keep_noted(self._folder)

    def end_use(self) -> None:
        """Let others remove it once it was not used for long."""
        end_use(self, self._folder)

    def remove_unused(self, collection_key: int) -> bool:
        """Remove other releases' snapshots that lie behind this one's and were long not used; whether there were any.

        They would hold `floor` for ever.
        """
        end = _end(self._folder / str(collection_key))
        behind = [f for f in self._root.glob(f"*/{collection_key}") if _end(f) < end]
        unused = [folder for folder in behind if is_long_unused(folder.parent)]
        for folder in unused:
            log.info("the snapshot %s was long not used: it is removed", folder)
            shutil.rmtree(folder, ignore_errors=True)
        return bool(unused)

    def reserve(self, collection_key: int) -> None:
        """Hold `floor` at what this release has on disk, or at 0 if that is nothing. Raises OSError."""
        (self._folder / str(collection_key)).mkdir(parents=True, exist_ok=True)

    def collection_keys(self, *, of_all: bool = True) -> set[int]:
        """The collections of which any release has a snapshot, one that was set aside too; or this one alone."""
        folders = self._root.glob("*/*") if of_all else self._folder.glob("*")
        names = {folder.name.removesuffix(SET_ASIDE if of_all else "") for folder in folders}
        return {int(name) for name in names if name.isdigit()}

    def remove_all(self) -> None:
        """Remove every snapshot of this release."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def remove(self, collection_key: int) -> None:
        """Remove every release's snapshot of a deleted collection, and what was set aside of it."""
        with self._lock:
            self._saved.pop(collection_key, None)
            for ending in ("", SET_ASIDE):
                for folder in self._root.glob(f"*/{collection_key}{ending}"):
                    shutil.rmtree(folder, ignore_errors=True)

    def _copied(self, collection_key: int) -> list[Piece]:
        """The pieces of the release with the same vectors, copied for this one.

        That release may be at work, and remove a piece meanwhile: then those before it are taken, and the rest is
        embedded. So it is where a piece is damaged.
        """
        if self._same_vectors is None:
            return []
        folder = self._folder / str(collection_key)
        of_other = self._root / self._same_vectors[:16] / str(collection_key)
        try:
            for piece in _chain(of_other):
                manifest = {**_manifest(piece), "release": self._release_digest}
                with new_folder(folder / piece.path.name, aside=folder / ".writing") as aside:
                    for name in manifest["files"]:
                        shutil.copyfile(piece.path / name, aside / name)
                    (aside / "manifest.json").write_text(json.dumps(manifest), "utf-8")
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("what %s holds is not taken in full: %s", of_other, error)
        return _chain(folder)

    def _open(
        self, collection_key: int, dimension: int, pieces: Sequence[Piece]
    ) -> tuple[Index, int, int]:
        """The index that the pieces make, and how many entries its base and the others brought or removed."""
        for piece in pieces:
            manifest = _manifest(piece)
            expected = (self._release_digest, collection_key, dimension)
            if (manifest["release"], manifest["collection"], manifest["dimension"]) != expected:
                raise Unusable(f"{piece.path} belongs to another release or collection")
            for name, digest in manifest["files"].items():
                if sha256(piece.path / name) != digest:
                    raise Unusable(f"{piece.path / name} does not match its digest")
        base, *others = pieces
        index = Index(dimension, body=_read_base(base, dimension), revision=base.end)
        size = len(index)
        tail = 0
        for piece in others:
            with np.load(piece.path / "entries.npz") as entries:
                ids, removed = entries["ids"], entries["removed"]
                index.apply(piece.end, ids, entries["vectors"].astype(np.float32), removed)
            tail += len(ids) + len(removed)
        return index, size, tail

    def _publish(
        self,
        collection_key: int,
        start: int,
        end: int,
        body: Body,
        removed: NDArray[np.int64],
        fingerprint: str,
    ) -> None:
        """Write a piece aside, sync it, and show it by one rename. Raises OSError; nothing is left then."""
        folder = self._folder / str(collection_key)
        piece = folder / f"{start}-{end}"
        manifest = {
            "format": FORMAT,
            "release": self._release_digest,
            "collection": collection_key,
            "dimension": body.vectors.d,
            "start": start,
            "end": end,
            "fingerprint": fingerprint,
        }
        try:
            with new_folder(piece, aside=folder / ".writing") as aside:
                _write(aside, manifest, body, removed)
        except (OSError, RuntimeError) as error:  # FAISS says RuntimeError when the disk is full
            raise OSError(f"can't write {piece}: {error}") from error

    def _remove_older(self, collection_key: int, end: int) -> None:
        """Remove the pieces that a base up to `end` replaces."""
        for piece in _pieces(self._folder / str(collection_key)):
            if piece.end < end or (piece.end == end and piece.start):
                shutil.rmtree(piece.path, ignore_errors=True)


def remove_snapshots(folder: Path, digest: str) -> None:
    """Remove all that the release of this digest has in the folder of snapshots, whatever made its vectors."""
    for dtype in ("int8", "float32"):
        Snapshots(folder, vectors_of(digest, dtype)).remove_all()


def vectors_of(digest: str, dtype: str) -> str:
    """What an index's vectors are bound to: the release, the form of the texts that it reads, and int8 where that made
    them, as it makes them a little different (a cosine of 0.998, where halves have 0.99999)."""
    bound_to = f"{digest}-form-{TEXT_FORM}"
    return f"int8-{bound_to}" if dtype == "int8" else bound_to


def _write(aside: Path, manifest: dict[str, Any], body: Body, removed: NDArray[np.int64]) -> None:
    """Write the files of a piece."""
    if manifest["start"] == 0 and body.is_graph:
        np.savez(aside / "entries.npz", ids=body.ids, live=body.live)
        faiss.write_index(body.vectors, str(aside / "graph.faiss"))
    else:
        ids, vectors = body.living_after(manifest["start"], len(body))
        precision = np.float16 if body.is_graph else np.float32  # as the body holds them
        np.savez(aside / "entries.npz", ids=ids, vectors=vectors.astype(precision), removed=removed)
    digests = {file.name: sha256(file) for file in sorted(aside.iterdir())}
    (aside / "manifest.json").write_text(json.dumps({**manifest, "files": digests}), "utf-8")


def _pieces(folder: Path) -> list[Piece]:
    """Every piece in a collection's folder, in order of revision."""
    pieces = []
    for path in folder.iterdir() if folder.is_dir() else ():
        start, dash, end = path.name.partition("-")
        if dash and start.isdigit() and end.isdigit():
            pieces.append(Piece(path, int(start), int(end)))
    return sorted(pieces, key=lambda piece: (piece.start, piece.end))


def _end(folder: Path) -> int:
    """The revision at which the last piece in a collection's folder ends; 0 without one."""
    return max((piece.end for piece in _pieces(folder)), default=0)


def _chain(folder: Path) -> list[Piece]:
    """The newest base and the pieces that follow it without a gap."""
    pieces = _pieces(folder)
    bases = [piece for piece in pieces if piece.start == 0]
    if pieces and not bases:
        raise Unusable("it has no base")
    chain = bases[-1:]
    by_start = {piece.start: piece for piece in pieces if piece.start}
    while chain and chain[-1].end in by_start:
        chain.append(by_start[chain[-1].end])
    return chain


def _manifest(piece: Piece) -> dict[str, Any]:
    manifest = json.loads((piece.path / "manifest.json").read_text("utf-8"))
    if not isinstance(manifest, dict) or manifest["format"] != FORMAT:
        raise Unusable(f"{piece.path} has a format that this version does not read")
    if (manifest["start"], manifest["end"]) != (piece.start, piece.end):
        raise Unusable(f"{piece.path} is not what its name says")
    return manifest


def _read_base(piece: Piece, dimension: int) -> Body:
    with np.load(piece.path / "entries.npz") as entries:
        if (piece.path / "graph.faiss").exists():
            body = Body(
                faiss.read_index(str(piece.path / "graph.faiss")), entries["ids"], entries["live"]
            )
        else:
            body = Body.empty(dimension, graph=False)
            body.append(entries["ids"], entries["vectors"].astype(np.float32), live=True)
    if body.vectors.ntotal != len(body):
        raise Unusable(f"{piece.path} holds {body.vectors.ntotal} vectors for {len(body)} ids")
    return body


def _fingerprint(ids: NDArray[np.int64], contents: Contents) -> str:
    """Of the texts under these ids. Raises Unusable where an index that holds them is at odds with the store."""
    places = np.searchsorted(contents.ids, ids)
    if np.any(places == len(contents.ids)) or not np.array_equal(contents.ids[places], ids):
        raise Unusable("it holds questions that the store does not hold")
    lacking = contents.required.copy()
    lacking[places] = False
    if lacking.any():
        raise Unusable("it does not hold the questions that the store holds")
    texts = contents.digests[places].tobytes()
    return hashlib.sha256(ids.tobytes() + texts).hexdigest()


def _set_aside(folder: Path) -> None:
    """Move a snapshot out of the way, in place of what was set aside before."""
    aside = folder.with_name(folder.name + SET_ASIDE)
    shutil.rmtree(aside, ignore_errors=True)
    with suppress(FileNotFoundError):  # its collection was deleted meanwhile
        folder.rename(aside)
