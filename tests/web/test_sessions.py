"""Sessions: begun by a key, ended by time, by number or by hand."""

import pytest

from app.web.sessions import IDLE_SECONDS, LONGEST_SECONDS, MAX_OF_ONE_KEY, Sessions


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_session_is_found_by_its_token_alone() -> None:
    sessions = Sessions()
    token = sessions.begin("a key")
    session = sessions.get(token)
    assert session is not None
    assert session.key == "a key"
    assert len(session.csrf) == len(token) == 43
    assert session.csrf != token
    assert sessions.get("another") is None
    assert sessions.get(None) is None


def test_an_unused_session_ends() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    token = sessions.begin("a key")
    clock.now = IDLE_SECONDS
    assert sessions.get(token)
    clock.now += IDLE_SECONDS
    assert sessions.get(token)
    clock.now += IDLE_SECONDS + 1
    assert sessions.get(token) is None


def test_a_session_ends_however_much_it_is_used() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    token = sessions.begin("a key")
    while clock.now + IDLE_SECONDS <= LONGEST_SECONDS:
        clock.now += IDLE_SECONDS
        assert sessions.get(token)
    clock.now = LONGEST_SECONDS + 1
    assert sessions.get(token) is None


def test_past_the_limit_the_one_unused_for_longest_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.web.sessions.MAX_SESSIONS", 100)
    sessions = Sessions()
    first, second = sessions.begin("first"), sessions.begin("second")
    sessions.get(first)
    for number in range(99):
        sessions.begin(f"another {number}")
    assert sessions.get(second) is None
    assert sessions.get(first)


def test_who_signs_in_again_and_again_ends_sessions_of_the_own_key_alone() -> None:
    sessions = Sessions()
    other, first, second = sessions.begin("other"), sessions.begin("own"), sessions.begin("own")
    sessions.get(first)
    for _ in range(MAX_OF_ONE_KEY - 1):
        sessions.begin("own")
    assert sessions.get(other)
    assert sessions.get(first)
    assert sessions.get(second) is None


def test_an_ended_session_stays_ended() -> None:
    sessions = Sessions()
    token = sessions.begin("a key")
    sessions.end(token)
    sessions.end(token)
    sessions.end(None)
    assert sessions.get(token) is None
