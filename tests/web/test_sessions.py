"""Sessions: begun by a key, ended by time, by number or by hand; the same in every server."""

from pathlib import Path

import pytest

from app.engine.store import Store
from app.errors import StorageFull
from app.keys import HashedKey
from app.web.sessions import (
    IDLE_SECONDS,
    LONGEST_SECONDS,
    MAX_OF_ONE_KEY,
    NOTED_SECONDS,
    Sessions,
)
from tests.clock import Clock

KEY_ID = "0123456789abcdef"
KEY = f"sameask_{KEY_ID}_{'5' * 64}"


@pytest.fixture
def clock() -> Clock:
    return Clock(1_700_000_000.0)


@pytest.fixture
def sessions(store: Store, clock: Clock) -> Sessions:
    return Sessions(store, clock)


def test_a_session_is_found_by_its_token_alone(sessions: Sessions) -> None:
    token = sessions.begin(KEY)
    session = sessions.get(token)
    assert session is not None
    assert session.key == HashedKey.of(KEY)
    assert session.key.id == KEY_ID
    assert len(session.csrf) == len(token) == 43
    assert session.csrf != token
    assert sessions.get(token) == session
    assert sessions.get("another") is None
    assert sessions.get(None) is None


def test_every_server_knows_it_and_may_end_it(
    sessions: Sessions, store: Store, clock: Clock
) -> None:
    token = sessions.begin(KEY)
    other = Sessions(store, clock)
    assert other.get(token) == sessions.get(token) is not None
    other.end(token)
    assert sessions.get(token) is None


def test_neither_the_token_nor_the_key_is_stored(path: Path, store: Store) -> None:
    sessions = Sessions(store)
    token = sessions.begin(KEY)
    session = sessions.get(token)
    assert session is not None
    store.close()
    stored = b"".join(file.read_bytes() for file in path.parent.glob("sameask.db*"))
    assert KEY_ID.encode() in stored
    assert session.key.digest in stored
    for secret in (token, session.csrf, KEY, "5" * 64):
        assert secret.encode() not in stored


def test_an_unused_session_ends(sessions: Sessions, clock: Clock) -> None:
    token = sessions.begin(KEY)
    clock.now += IDLE_SECONDS
    assert sessions.get(token)
    clock.now += IDLE_SECONDS
    assert sessions.get(token)
    clock.now += IDLE_SECONDS + 1
    assert sessions.get(token) is None


def test_a_session_ends_however_much_it_is_used(sessions: Sessions, clock: Clock) -> None:
    token = sessions.begin(KEY)
    began = clock.now
    while clock.now + IDLE_SECONDS <= began + LONGEST_SECONDS:
        clock.now += IDLE_SECONDS
        assert sessions.get(token)
    clock.now = began + LONGEST_SECONDS + 1
    assert sessions.get(token) is None


def test_a_use_is_noted_once_a_minute(
    sessions: Sessions, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[int] = []
    use = store.sessions.use

    def note(digest: bytes, used: int) -> None:
        noted.append(used)
        use(digest, used)

    monkeypatch.setattr(store.sessions, "use", note)
    token = sessions.begin(KEY)
    began = int(clock.now)
    for _ in range(2 * NOTED_SECONDS):
        clock.now += 1
        sessions.get(token)
    assert noted == [began + NOTED_SECONDS, began + 2 * NOTED_SECONDS]


def test_a_full_disk_signs_nobody_out(
    sessions: Sessions, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = sessions.begin(KEY)

    def full(*_: object) -> None:
        raise StorageFull("the disk is full")

    monkeypatch.setattr(store.sessions, "use", full)
    clock.now += NOTED_SECONDS
    assert sessions.get(token)


def test_past_the_limit_the_one_unused_for_longest_ends(
    sessions: Sessions, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.sessions.MAX_SESSIONS", 20)
    first = sessions.begin("first")
    clock.now += 1
    second = sessions.begin("second")
    clock.now += NOTED_SECONDS
    sessions.get(first)
    for number in range(19):
        sessions.begin(f"another {number}")
    assert sessions.get(second) is None
    assert sessions.get(first)


def test_who_signs_in_again_and_again_ends_sessions_of_the_own_key_alone(
    sessions: Sessions, clock: Clock
) -> None:
    other, first = sessions.begin("other"), sessions.begin("own")
    clock.now += 1
    second = sessions.begin("own")
    clock.now += NOTED_SECONDS
    sessions.get(first)
    for _ in range(MAX_OF_ONE_KEY - 1):
        sessions.begin("own")
    assert sessions.get(other)
    assert sessions.get(first)
    assert sessions.get(second) is None


def test_ended_sessions_are_deleted_when_another_begins(sessions: Sessions, clock: Clock) -> None:
    ended = sessions.begin(KEY)
    clock.now += IDLE_SECONDS + 1
    kept = sessions.begin(KEY)
    clock.now -= IDLE_SECONDS + 1  # by the clock alone it would go on
    assert sessions.get(ended) is None
    assert sessions.get(kept)


def test_an_ended_session_stays_ended(sessions: Sessions) -> None:
    token = sessions.begin(KEY)
    sessions.end(token)
    sessions.end(token)
    sessions.end(None)
    assert sessions.get(token) is None
