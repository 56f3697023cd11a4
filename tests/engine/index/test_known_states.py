"""A doubted index is ready at the revision that its collection had by then: later writes wait for it by themselves."""

import pytest

from app.engine.index.known_states import KnownStates
from app.engine.store.vectors import IndexRow

KEY = 1


def look(known: KnownStates, revision: int, latest: int, doubts: int | None = None) -> bool:
    """Note what a look saw; whether the index is ready."""
    row = IndexRow(KEY, revision, latest, size=revision)
    known.note(row, known.doubts if doubts is None else doubts)
    return known.state(KEY).ready


@pytest.fixture
def known() -> KnownStates:
    known = KnownStates()
    assert look(known, 9, 9)
    known.doubt()
    assert not known.state(KEY).ready
    return known


def test_writes_after_the_doubt_do_not_keep_an_index_from_being_ready(known: KnownStates) -> None:
    assert not look(known, 9, 10)
    assert look(known, 10, 11)  # another one is always on its way
    assert look(known, 10, 12)


def test_writes_before_the_doubt_do(known: KnownStates) -> None:
    assert not look(known, 9, 12)
    assert not look(known, 11, 12)
    assert look(known, 12, 13)


def test_look_that_began_before_the_doubt_does_not_say_what_is_needed(known: KnownStates) -> None:
    assert not look(known, 9, 9, doubts=0)
    assert not look(known, 10, 11)
    assert look(known, 11, 11, doubts=0)  # it is there, whenever that was seen


def test_older_sight_moves_nothing_back(known: KnownStates) -> None:
    assert not look(known, 8, 9)
    assert known.state(KEY).revision == 9
    assert look(known, 9, 9)


def test_each_doubt_asks_anew(known: KnownStates) -> None:
    assert not look(known, 9, 10)
    known.doubt()
    assert not look(known, 10, 11)
    assert look(known, 11, 12)


def test_forgotten_index_begins_anew(known: KnownStates) -> None:
    known.forget(KEY)
    assert not look(known, 0, 3)
    assert look(known, 3, 3)
    assert known.totals.questions == 3
