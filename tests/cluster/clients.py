"""Clients that write by one server and ask all, one that only asks, and a book of what they were told.

A write may wait for a server that was killed, until its row expires. Who only asks waits for nobody.
"""

import random
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.cluster.cluster import ANSWER_SECONDS, Server

CLIENTS = 3
PAUSE_SECONDS = 0.02  # after what failed


@dataclass
class Book:
    """What all clients were told. Safe from many threads."""

    acknowledged: dict[str, str] = field(default_factory=dict)  # texts by id
    asked: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)  # answers that missed what was acknowledged
    by: set[tuple[int, str]] = field(default_factory=set)  # who answered by which release
    longest_gap_seconds: float = 0.0  # between two answers to whichever client
    longest_write_seconds: float = 0.0  # of those that were acknowledged
    _last: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note_write(self, id_: str, text: str, seconds: float) -> None:
        """It was acknowledged."""
        with self._lock:
            self.acknowledged[id_] = text
            self.longest_write_seconds = max(self.longest_write_seconds, seconds)

    def any_write(self, lots: random.Random) -> tuple[str, str] | None:
        """The id and the text of what was acknowledged at some time."""
        with self._lock:
            return lots.choice(list(self.acknowledged.items())) if self.acknowledged else None

    def note_refusal(self) -> None:
        """Somebody was not answered, or was told to come again."""
        with self._lock:
            self.refused += 1

    def note_answer(self, server: Server, release: str, missed: str | None) -> None:
        """A question was answered."""
        with self._lock:
            self.asked += 1
            self.by.add((server.port, release))
            self._note_gap()
            if missed:
                self.wrong.append(f"{missed} by {server.url}, {release}")

    def end(self) -> None:
        """Count the time since the last answer, too."""
        with self._lock:
            self._note_gap()

    def _note_gap(self) -> None:
        now = time.monotonic()
        self.longest_gap_seconds = max(self.longest_gap_seconds, now - self._last)
        self._last = now


class Clients:
    """Clients at work from `begin` to `end`."""

    def __init__(self, servers: list[Server], seed: int) -> None:
        self.book = Book()
        self._servers = servers
        self._seed = seed
        self._is_over = threading.Event()
        self._threads = ThreadPoolExecutor(CLIENTS + 1)
        self._working: list[Future[None]] = []

    def begin(self) -> None:
        """Set out."""
        self._working = [self._threads.submit(self._work, number) for number in range(CLIENTS)]
        self._working.append(self._threads.submit(self._only_ask))

    def end(self) -> Book:
        """Stop, and raise what a client failed of."""
        self._is_over.set()
        self._threads.shutdown()
        self.book.end()
        for working in self._working:
            working.result()
        return self.book

    def _work(self, number: int) -> None:
        lots = random.Random(self._seed * CLIENTS + number)
        with httpx.Client(timeout=ANSWER_SECONDS) as http:
            count = 0
            while not self._is_over.is_set():
                count += 1
                id_ = f"{number}-{count}"
                text = f"how do i share {''.join(lots.choices('abcdefghij', k=12))}?"
                server = lots.choice(self._servers)
                body = {"questions": [{"id": id_, "text": text}]}
                began = time.monotonic()
                if not _post(http, server, "/questions", body):
                    self._refused()
                    continue
                self.book.note_write(id_, text, time.monotonic() - began)
                for asked in lots.sample(self._servers, len(self._servers)):
                    self._ask(http, asked, id_, text)

    def _only_ask(self) -> None:
        lots = random.Random(self._seed)
        with httpx.Client(timeout=ANSWER_SECONDS) as http:
            while not self._is_over.wait(PAUSE_SECONDS):
                if known := self.book.any_write(lots):
                    self._ask(http, lots.choice(self._servers), *known)

    def _ask(self, http: httpx.Client, server: Server, id_: str, text: str) -> None:
        answer = ask(http, server, text)
        if answer is None:
            self._refused()
            return
        found = [candidate["id"] for candidate in answer["results"][0]["candidates"]]
        self.book.note_answer(server, answer["release"], None if id_ in found else id_)

    def _refused(self) -> None:
        self.book.note_refusal()
        self._is_over.wait(PAUSE_SECONDS)


def ask(http: httpx.Client, server: Server, text: str) -> dict[str, Any] | None:
    """The answer to a question of the same letters, in another case: the index alone finds it."""
    body = {"questions": [text.upper()], "verify": "never"}
    return _post(http, server, "/duplicates", body)


def _post(
    http: httpx.Client, server: Server, path: str, body: dict[str, Any]
) -> dict[str, Any] | None:
    """The answer; None where nobody answered, or said to come again."""
    try:
        answer = http.post(f"{server.url}{path}", json=body)
    except httpx.TransportError:
        return None
    if answer.status_code in (429, 503):
        return None
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found
