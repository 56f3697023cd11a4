"""Sets share no question, keep components whole, and are the same for the same seed."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.text import normalize
from app.errors import CommandError
from tests.training.generated import generated_pairs
from training.pairs import LabelledPair, fingerprint
from training.splits import apart, assert_disjoint, components, split, split_rows

SHARES = {"train": 0.8, "tune": 0.1, "report": 0.1}
PAIRS = st.lists(
    st.builds(LabelledPair, *[st.sampled_from("abcdefghij")] * 2, st.booleans()),
    min_size=1,
    max_size=30,
)


@given(PAIRS)
def test_components_are_what_a_walk_along_the_pairs_reaches(pairs: list[LabelledPair]) -> None:
    reached = {text: {text} for pair in pairs for text in (pair.question1, pair.question2)}
    for _ in pairs:
        for pair in pairs:
            joined = reached[pair.question1] | reached[pair.question2]
            for text in joined:
                reached[text] = reached[text] | joined
    numbers = components(pairs).tolist()
    for one, number in zip(pairs, numbers, strict=True):
        for other, other_number in zip(pairs, numbers, strict=True):
            assert (number == other_number) == (other.question1 in reached[one.question1])


def test_equal_questions_tie_pairs_after_normalisation() -> None:
    pairs = [
        LabelledPair("One?", "Two?", True),
        LabelledPair("ONE?", "Three?", False),
        LabelledPair("x", "y", True),
    ]
    first, second, third = components(pairs)
    assert first == second != third


def test_a_split_keeps_shares_and_shares_no_question() -> None:
    pairs = generated_pairs(1000)
    sets = split(pairs, SHARES, seed=1)
    assert {name: len(part) for name, part in sets.items()} == {
        "train": 800,
        "tune": 100,
        "report": 100,
    }
    assert Counter(p for part in sets.values() for p in part) == Counter(pairs)
    seen: set[str] = set()
    for part in sets.values():
        texts = {normalize(text) for pair in part for text in (pair.question1, pair.question2)}
        assert not texts & seen
        seen |= texts


def test_what_is_tied_to_other_pairs_by_any_chain_is_set_apart() -> None:
    pairs = [
        LabelledPair("a", "b", True),
        LabelledPair("b", "c", False),
        LabelledPair("x", "y", True),
    ]
    assert apart(pairs, [LabelledPair("C", "d", True)]) == pairs[2:]
    assert (
        apart(pairs, [LabelledPair("p", "q", True)], [LabelledPair("Y", "q", False)]) == pairs[:2]
    )
    assert apart(pairs) == pairs


def test_the_order_of_the_pairs_makes_no_difference_and_the_seed_does() -> None:
    pairs = generated_pairs(300)
    one, other = split(pairs, SHARES, seed=1), split(pairs[::-1], SHARES, seed=1)
    assert {name: set(part) for name, part in one.items()} == {
        name: set(part) for name, part in other.items()
    }
    assert set(split(pairs, SHARES, seed=2)["tune"]) != set(one["tune"])


def test_a_shared_question_is_refused_whatever_its_case() -> None:
    sets = {"train": [LabelledPair("a", "b", True)], "tune": [LabelledPair("B", "c", False)]}
    with pytest.raises(CommandError, match="stands both in train and in tune"):
        assert_disjoint(sets)


@pytest.mark.parametrize("length", [300, 850])
def test_a_long_chain_is_learnt_from_whatever_the_seed(length: int) -> None:
    chain = [LabelledPair(f"link {i}", f"link {i + 1}", bool(i % 2)) for i in range(length)]
    pairs = [*chain, *generated_pairs(1000 - length)]
    for seed in range(20):
        sets = split(pairs, SHARES, seed)
        assert set(chain) <= set(sets["train"])
        assert sum(len(part) for part in sets.values()) == 1000
        assert min(len(sets[name]) for name in ("tune", "report")) >= 50


@pytest.mark.parametrize(
    ("lengths", "left"),
    [([120] * 8, 20), ([750, 150], 50), ([900], 50), ([300] * 3, 50), ([110], 100)],
)
def test_long_chains_are_learnt_from_and_the_others_part_what_they_leave(
    lengths: list[int], left: int
) -> None:
    chains = [
        [LabelledPair(f"{n} {i}", f"{n} {i + 1}", bool(i % 2)) for i in range(length)]
        for n, length in enumerate(lengths)
    ]
    in_chains = [pair for chain in chains for pair in chain]
    pairs = in_chains + generated_pairs(1000 - len(in_chains))
    for seed in range(20):
        sets = split(pairs, SHARES, seed)
        assert set(in_chains) <= set(sets["train"])
        assert [len(sets[name]) for name in ("tune", "report")] == [left, left]


def test_without_a_long_chain_the_lot_decides_as_ever() -> None:
    """The same seeds cut the same sets: figures on them can be compared with earlier ones."""
    sets = split(generated_pairs(1000), SHARES, seed=1)
    assert {name: fingerprint(part)[:8] for name, part in sets.items()} == {
        "train": "113e557c",
        "tune": "3502bf1b",
        "report": "3701b132",
    }


def test_one_component_can_not_be_cut() -> None:
    star = [LabelledPair("hub", f"spoke {i}", bool(i % 2)) for i in range(50)]
    with pytest.raises(CommandError, match=r"too few pairs to split.*one chain holds 50 of the"):
        split(star, SHARES, seed=1)
    assert {name: len(part) for name, part in split_rows(star, SHARES, seed=1).items()} == {
        "train": 40,
        "tune": 5,
        "report": 5,
    }
