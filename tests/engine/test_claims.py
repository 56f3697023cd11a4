"""Claims of the review queue in the store, on both databases."""

import pytest

from app.engine.store import Claim, Store

ONE, TWO, THREE = (bytes([number]) * 32 for number in (1, 2, 3))


@pytest.fixture
def now(store: Store) -> list[float]:
    """The time, which a test moves."""
    times = [1000.0]
    store.claims.clock = lambda: times[0]
    return times


@pytest.mark.usefixtures("now")
def test_who_claims_first_holds_the_pair(store: Store, key: int) -> None:
    anna = Claim(ONE, "anna", 1.0, 1060.0)
    assert store.claims.take(key, [ONE], "anna", 60.0) == [anna]
    taken = store.claims.take(key, [ONE, TWO], "ben", 60.0)
    assert [claim.pair for claim in taken] == [TWO]
    assert [(claim.pair, claim.by) for claim in store.claims.held(key)] == [
        (ONE, "anna"),
        (TWO, "ben"),
    ]


def test_a_claim_ends_and_is_held_for_longer_by_who_holds_it(
    store: Store, key: int, now: list[float]
) -> None:
    store.claims.take(key, [ONE, TWO], "anna", 60.0)
    now[0] += 59
    store.claims.take(key, [TWO], "anna", 60.0)
    now[0] += 1
    assert [claim.pair for claim in store.claims.held(key)] == [TWO]
    assert [claim.pair for claim in store.claims.take(key, [ONE, TWO], "ben", 60.0)] == [ONE]


def test_a_claim_from_before_the_clock_was_set_back_is_over(
    store: Store, key: int, now: list[float]
) -> None:
    store.claims.take(key, [ONE], "anna", 60.0)
    now[0] -= 1
    assert store.claims.take(key, [ONE], "ben", 60.0) == []
    now[0] -= 3600
    assert store.claims.held(key) == []
    ben = Claim(TWO, "ben", 1.0, now[0] + 60)
    assert store.claims.take(key, [TWO], "ben", 60.0) == [ben]
    now[0] += 3601
    assert store.claims.held(key) == []
    again = Claim(ONE, "ben", 1.0, now[0] + 60)
    assert store.claims.take(key, [ONE], "ben", 60.0) == [again]


@pytest.mark.usefixtures("now")
def test_claims_of_a_person_keep_their_order_save_for_one_that_comes_first(
    store: Store, key: int
) -> None:
    store.claims.take(key, [ONE, TWO], "anna", 60.0)
    store.claims.take(key, [TWO, ONE], "anna", 60.0)
    assert [claim.pair for claim in store.claims.held(key)] == [ONE, TWO]
    store.claims.take(key, [THREE], "anna", 60.0, first=True)
    store.claims.take(key, [TWO], "anna", 60.0, first=True)
    assert [claim.pair for claim in store.claims.held(key)] == [TWO, THREE, ONE]


def test_what_is_given_back_anybody_may_claim(store: Store, key: int) -> None:
    store.claims.take(key, [ONE, TWO], "anna", 60.0)
    store.claims.give_back(key, [ONE])
    assert [claim.pair for claim in store.claims.take(key, [ONE, TWO], "ben", 60.0)] == [ONE]


def test_claims_go_with_their_collection(store: Store) -> None:
    made, _ = store.collections.create("faq", 10)
    store.claims.take(made.key, [ONE], "anna", 60.0)
    store.collections.delete("faq")
    assert store.claims.held(made.key) == []
    assert store.claims.take(made.key, [ONE], "anna", 60.0) == []
