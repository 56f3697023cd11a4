"""Labelled pairs, cut into sets that share no question and no chain of labels."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from app.engine.text import digest
from app.errors import CommandError
from training.pairs import LabelledPair


def components(pairs: Sequence[LabelledPair]) -> NDArray[np.int64]:
    """The number (n,) of each pair's component: pairs that any chain of shared questions ties, whatever their label.

    Questions are the same when they are equal after normalisation. Duplicates are so closed transitively.
    """
    rows: dict[bytes, int] = {}
    ends = [
        [rows.setdefault(digest(text), len(rows)) for text in (p.question1, p.question2)]
        for p in pairs
    ]
    first, second = np.array(ends, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(rows), len(rows)))
    _, of_question = connected_components(graph, directed=False)
    return np.asarray(of_question[first], dtype=np.int64)


def split(
    pairs: Sequence[LabelledPair], shares: Mapping[str, float], seed: int
) -> dict[str, list[LabelledPair]]:
    """Whole components to each named set, in an order that the seed chooses, until it has its share of the pairs.

    The last set takes what is left. The order of the pairs makes no difference. Raises CommandError when a
    set but the first would have fewer than two classes.
    """
    members: dict[int, list[LabelledPair]] = {}
    for number, pair in zip(components(pairs).tolist(), pairs, strict=True):
        members.setdefault(number, []).append(pair)
    names, sets = list(shares), {name: list[LabelledPair]() for name in shares}
    wanted = {name: share * len(pairs) / sum(shares.values()) for name, share in shares.items()}
    for group in sorted(members.values(), key=lambda group: _lot(group, seed)):
        name = next((n for n in names[:-1] if len(sets[n]) + len(group) <= wanted[n]), names[-1])
        sets[name] += group
    assert_disjoint(sets)
    return _with_both_classes(sets)


def split_rows(
    pairs: Sequence[LabelledPair], shares: Mapping[str, float], seed: int
) -> dict[str, list[LabelledPair]]:
    """Rows to sets at random, as some published figures have it: questions leak from one set to another."""
    order = np.random.default_rng(seed).permutation(len(pairs))
    ends = np.cumsum([share / sum(shares.values()) for share in shares.values()]) * len(pairs)
    parts = np.split(order, np.rint(ends[:-1]).astype(int))
    return _with_both_classes(
        {name: [pairs[i] for i in part] for name, part in zip(shares, parts, strict=True)}
    )


def apart(pairs: Sequence[LabelledPair], *others: Sequence[LabelledPair]) -> list[LabelledPair]:
    """Those pairs that no chain of shared questions ties to any of the others: what may be learnt beside them."""
    held = [pair for other in others for pair in other]
    numbers = components([*pairs, *held])
    tied = set(numbers[len(pairs) :].tolist())
    return [
        pair for pair, number in zip(pairs, numbers.tolist(), strict=False) if number not in tied
    ]


def assert_disjoint(sets: Mapping[str, Sequence[LabelledPair]]) -> None:
    """Raise CommandError where a question of one set stands in another, after normalisation."""
    owner: dict[bytes, str] = {}
    for name, pairs in sets.items():
        for pair in pairs:
            for text in (pair.question1, pair.question2):
                if (other := owner.setdefault(digest(text), name)) != name:
                    raise CommandError(
                        f"a question stands both in {other} and in {name}: sets must share none"
                    )


def _lot(group: Sequence[LabelledPair], seed: int) -> bytes:
    """What a component draws: a hash of the seed and of its least question."""
    least = min(digest(text) for pair in group for text in (pair.question1, pair.question2))
    return hashlib.blake2b(least, key=seed.to_bytes(8, "big"), digest_size=16).digest()


def _with_both_classes(sets: dict[str, list[LabelledPair]]) -> dict[str, list[LabelledPair]]:
    for name, pairs in list(sets.items())[
        1:
    ]:  # the first is learnt from, and may be all duplicates
        if len({pair.is_duplicate for pair in pairs}) < 2:
            raise CommandError(
                f"too few pairs to split: the set {name} would have {len(pairs)} pairs of one class"
            )
    return sets
