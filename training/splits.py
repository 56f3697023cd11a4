"""Labelled pairs, cut into sets that share no question and no chain of labels."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from app.engine.components import components as engine_components
from app.engine.text import folded_digest
from app.errors import CommandError
from training.pairs import LabelledPair, both_texts, has_both_classes

Sets = dict[str, list[LabelledPair]]
Groups = list[list[LabelledPair]]


def components(pairs: Sequence[LabelledPair]) -> NDArray[np.int64]:
    """The number (n,) of each pair's connected component: shared questions tie pairs, whatever the labels."""
    return engine_components(both_texts(pairs))


def split(
    pairs: Sequence[LabelledPair],
    shares: Mapping[str, float],
    seed: int,
) -> Sets:
    """Whole components to each named set, in an order that the seed chooses, until it has its share of the pairs.

    Those that are larger than the smallest share go into the first set. If they fill it, the others part what is left.
    The last set takes the rest. The order of the pairs makes no difference. Raises CommandError when a set but the
    first would have fewer than two classes.
    """
    sets: Sets = {name: [] for name in shares}
    room = _parted(len(pairs), shares)
    large, others = _by_size(pairs, min(room.values()), seed)
    first = next(iter(shares))
    for group in large:
        sets[first] += group
        room[first] -= len(group)
    if room[first] <= 0:
        rest = {name: share for name, share in shares.items() if name != first}
        room |= _parted(sum(map(len, others)), rest)
    room[list(shares)[-1]] = float("inf")
    for group in others:
        for name in shares:
            if len(group) <= room[name]:
                sets[name] += group
                room[name] -= len(group)
                break
    assert_disjoint(sets)
    chain = f"; one chain holds {len(large[0]):,} of the pairs" if large else ""
    return _with_both_classes(sets, chain)


def split_rows(
    pairs: Sequence[LabelledPair],
    shares: Mapping[str, float],
    seed: int,
) -> Sets:
    """Rows to sets at random, as some published figures have it: questions leak from one set to another."""
    order = np.random.default_rng(seed).permutation(len(pairs))
    parts = np.array(list(shares.values())) / sum(shares.values())
    ends = np.rint(np.cumsum(parts) * len(pairs)).astype(int)
    sets: Sets = {}
    for name, rows in zip(shares, np.split(order, ends[:-1]), strict=True):
        sets[name] = [pairs[row] for row in rows]
    return _with_both_classes(sets)


def apart(pairs: Sequence[LabelledPair], *others: Sequence[LabelledPair]) -> list[LabelledPair]:
    """The pairs that no chain of shared questions ties to any of the others, and that may be learnt beside them."""
    everything = list(pairs)
    for other in others:
        everything += other
    numbers = components(everything)
    own = numbers[: len(pairs)]
    held = numbers[len(pairs) :]
    free = ~np.isin(own, held)
    return [pair for pair, is_free in zip(pairs, free, strict=True) if is_free]


def assert_disjoint(sets: Mapping[str, Sequence[LabelledPair]]) -> None:
    """Raise CommandError where a question of one set stands in another, both folded."""
    owner: dict[bytes, str] = {}
    for name, pairs in sets.items():
        for text in _texts(pairs):
            other = owner.setdefault(folded_digest(text), name)
            if other != name:
                raise CommandError(
                    f"a question stands both in {other} and in {name}: sets must share none"
                )


def _parted(count: int, shares: Mapping[str, float]) -> dict[str, float]:
    """How many of so many pairs each set has room for, by its share."""
    total = sum(shares.values())
    room: dict[str, float] = {}
    for name, share in shares.items():
        room[name] = share * count / total
    return room


def _by_size(
    pairs: Sequence[LabelledPair],
    most: float,
    seed: int,
) -> tuple[Groups, Groups]:
    """The components of more pairs than `most`, the largest first, and the others in an order that the seed chooses."""
    large: Groups = []
    others: Groups = []
    for group in sorted(_groups(pairs), key=lambda group: _lot(group, seed)):
        if len(group) > most:
            large.append(group)
        else:
            others.append(group)
    large.sort(key=len, reverse=True)
    return large, others


def _groups(
    pairs: Sequence[LabelledPair],
) -> Iterable[list[LabelledPair]]:
    """The pairs of each component."""
    groups: dict[int, list[LabelledPair]] = {}
    for number, pair in zip(components(pairs).tolist(), pairs, strict=True):
        groups.setdefault(number, []).append(pair)
    return groups.values()


def _texts(pairs: Sequence[LabelledPair]) -> Iterable[str]:
    for pair in pairs:
        yield from pair.texts


def _lot(group: Sequence[LabelledPair], seed: int) -> bytes:
    """A component's place in the order: a hash of the seed and of its least question."""
    least = min(map(folded_digest, _texts(group)))
    return hashlib.blake2b(least, key=seed.to_bytes(8, "big"), digest_size=16).digest()


def _with_both_classes(sets: Sets, chain: str = "") -> Sets:
    for name in list(sets)[1:]:  # the first is learnt from, and may be all duplicates
        if not has_both_classes(sets[name]):
            count = len(sets[name])
            raise CommandError(
                f"too few pairs to split: the set {name} would have {count} pairs of one class{chain}"
            )
    return sets
