"""Fires where one question names another number than the other: an amount, a rank, a year, a clock time.

Digits and words are one ("8", "eight"), so are amounts in units of one dimension ("90 minutes", "1.5 hours"). A number
that only one of them names does not count, nor does arithmetic ("two dozen").
"""

from collections.abc import Sequence

from app.engine.guards.alignment import Alignment
from app.engine.guards.difference import Difference
from app.engine.guards.quantities import ARTICLES, CLOCK, Quantity, quantities
from app.engine.guards.reading import Reading

LEAST_AGREEMENT = 0.4


def difference(pair: Alignment) -> Difference | None:
    """Whether each of the questions names a number that the other doesn't."""
    if pair.agreement < LEAST_AGREEMENT:
        return None
    if not pair.first.has_number or not pair.second.has_number:
        return None
    all1 = quantities(pair.first.text)
    all2 = quantities(pair.second.text)
    own1, own2 = apart(all1, all2)
    if not own1 or not own2:
        return None
    if len(all1) != len(all2) and _same_digits(pair.first, pair.second):
        return None
    own1 = [one for one in own1 if not _is_article(pair.first, one)]
    own2 = [other for other in own2 if not _is_article(pair.second, other)]
    candidates = [
        (one, other)
        for one in own1
        for other in own2
        if _are_two_numbers(one, other) and _may_count(pair, one, other)
    ]
    if not candidates:
        return None
    one, other = min(candidates, key=_is_of_two_dimensions)  # the first of one dimension, if any is
    return Difference.of_parts("number", pair, one.number, other.number)


def _are_two_numbers(one: Quantity, other: Quantity) -> bool:
    """Whether two quantities that differ do so by their number and not by their unit; 5 am and 5 pm do."""
    return one.value != other.value or one.unit == other.unit == CLOCK


def _is_of_two_dimensions(candidate: tuple[Quantity, Quantity]) -> bool:
    """Whether two quantities have different dimensions, as metres and no unit."""
    one, other = candidate
    return one.dimension != other.dimension


def _may_count(pair: Alignment, one: Quantity, other: Quantity) -> bool:
    """Whether both are amounts; "one" is, where it stands in place of the other's number and nothing else differs."""
    if one.is_weak and other.is_weak:
        return False
    return pair.is_substitution or not (one.is_weak or other.is_weak)


def _is_article(reading: Reading, quantity: Quantity) -> bool:
    return reading.part(quantity.number).lower() in ARTICLES


def apart(
    first: Sequence[Quantity], second: Sequence[Quantity]
) -> tuple[list[Quantity], list[Quantity]]:
    """The quantities of each that are none of the other's."""
    own1 = [one for one in first if not any(one.is_same(other) for other in second)]
    own2 = [other for other in second if not any(other.is_same(one) for one in first)]
    return own1, own2


def _same_digits(first: Reading, second: Reading) -> bool:
    """Whether both texts have the same digits in the same order, parted otherwise: "555 0142", "5550142"."""
    return _digits(first) == _digits(second) != ""


def _digits(reading: Reading) -> str:
    return "".join(word.lower for word in reading.words if word.lower[0].isdigit())
