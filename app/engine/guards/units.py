"""Fires where the same number stands with another unit, currency or rate.

Amounts that are equal in another unit are no difference ("1 km", "1000 m"). A unit that is only meant is not seen.
"""

from collections.abc import Iterator
from itertools import pairwise, product

from app.engine.guards.alignment import Alignment
from app.engine.guards.difference import Difference
from app.engine.guards.numbers import apart
from app.engine.guards.quantities import Quantity, quantities
from app.engine.guards.reading import Reading
from app.engine.guards.units_of_measure import UNITS
from app.engine.reasons import Span

LEAST_AGREEMENT = 0.3


def difference(pair: Alignment) -> Difference | None:
    """Whether the questions name one number with two units, or rates by different units."""
    if pair.agreement < LEAST_AGREEMENT:
        return None
    if not pair.first.has_number or not pair.second.has_number:
        return None
    own1, own2 = apart(quantities(pair.first.text), quantities(pair.second.text))
    for one, other in product(own1, own2):
        if one.value == other.value and one.unit != other.unit and one.unit and other.unit:
            return Difference.of_parts("unit", pair, _whole(one), _whole(other))
    rates1 = dict(_rates(pair.first))
    rates2 = dict(_rates(pair.second))
    only1 = [span for name, span in rates1.items() if name not in rates2]
    only2 = [span for name, span in rates2.items() if name not in rates1]
    if only1 and only2:
        return Difference.of_parts("unit", pair, only1[0], only2[0])
    return None


def _rates(reading: Reading) -> Iterator[tuple[str, Span]]:
    """Units behind "per", and times behind "a": "20 euros a day"."""
    words = reading.words
    for before, word in pairwise(words):
        unit = UNITS.get(word.lower)
        is_rate = before.lower == "per" and not word.lower.isdigit()
        if before.lower in ("a", "an") and unit and unit.dimension == "time":
            is_rate = True
        if is_rate:
            yield unit.name if unit else word.key, word.span


def _whole(quantity: Quantity) -> Span:
    """The place of a number with its unit."""
    places = [*quantity.number, *(quantity.unit_span or ())]
    return min(places), max(places)
