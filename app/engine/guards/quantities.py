"""A reading in; the quantities that it names out: a value, a unit, and both in the base of the unit's dimension.

Digits with separators, words for numbers, ordinals, Roman numerals, fractions, clock times. Comma or point: the last
one that parts other than three digits parts decimals.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from app.engine.guards.number_words import FRACTIONS, NUMBERS, SCALES, roman
from app.engine.guards.reading import Reading, Word, read
from app.engine.guards.units_of_measure import UNITS, Unit
from app.engine.reasons import Span

ARTICLES = ("a", "an")
ORDINAL_ENDINGS = ("st", "nd", "rd", "th")
MORNING, EVENING = ("am",), ("pm",)
GROUPED = re.compile(r"\d{1,3}(?:,\d{3}){1,4}")  # 1,000
GROUPED_BY_POINT = re.compile(r"\d{1,3}(?:\.\d{3}){2,4}")  # 1.000.000
CLOCK = "clock"
HALF_DAY = 12 * 60
ROUNDED = 0.005  # in proportion: what is converted is rounded


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number, with the unit that follows it, if any. It is weak where it may count nothing ("a day", "both")."""

    value: float
    unit: str | None
    dimension: str | None
    base: float  # the value in the base of the dimension
    number: Span
    unit_span: Span | None
    is_weak: bool = False

    def is_same(self, other: "Quantity") -> bool:
        """Whether both say the same: the same amount in units of one kind, or the same number."""
        if CLOCK in (self.dimension, other.dimension):
            return _is_same_time(self, other)
        if self.unit and other.unit and self.unit != other.unit:
            is_convertible = self.dimension == other.dimension
            return is_convertible and math.isclose(self.base, other.base, rel_tol=ROUNDED)
        return self.value == other.value


@lru_cache(maxsize=256)
def quantities(text: str) -> tuple[Quantity, ...]:
    """All quantities of a text, in their order."""
    reading = read(text)
    if not reading.has_number:
        return ()
    words = reading.words
    found: list[Quantity] = []
    place = 0
    while place < len(words):
        number = _number(reading, place)
        if number is None:
            place += 1
            continue
        value, end, is_weak = number
        quantity, end = _with_unit(reading, place, end, value, is_weak)
        if quantity:
            found.append(quantity)
        place = end
    return tuple(_joined(found))


def _number(reading: Reading, place: int) -> tuple[float, int, bool] | None:
    """Value, the place after it, and whether it is weak, of the number that begins at a place."""
    word = reading.words[place]
    if word.lower[0].isdigit():
        return _digits(reading, place)
    if word.lower in NUMBERS:
        return _in_words(reading.words, place)
    if word.lower in FRACTIONS:
        return FRACTIONS[word.lower], place + 1, False
    if word.lower in ARTICLES and place + 1 < len(reading.words):
        following = reading.words[place + 1].lower
        if following in FRACTIONS or following in SCALES:
            return _number(reading, place + 1) or _scale(place + 1, following)
        return (1.0, place + 1, True) if _unit(reading, place + 1, glued=False) else None
    value = roman(reading.text[word.start : word.end])
    return (value, place + 1, False) if value else None


def _scale(place: int, word: str) -> tuple[float, int, bool]:
    return float(SCALES[word]), place + 1, False


def _digits(reading: Reading, place: int) -> tuple[float, int, bool]:
    words, text = reading.words, reading.text
    word = words[place]
    digits, end = word.lower, place + 1
    while end < len(words) and len(digits) <= 12:  # 1 000 000
        part = words[end]
        is_group = len(part.lower) == 3 and part.lower.isdigit()
        if not is_group or text[words[end - 1].end : part.start] not in (" ", "\u00a0", "\u202f"):
            break
        digits, end = digits + part.lower, end + 1
    value = value_of(digits)
    before = text[word.start - 1 : word.start] if word.start else ""
    further = text[word.start - 2 : word.start - 1] if word.start > 1 else " "
    if before in ("-", "−") and not further.isalnum():
        value = -value
    if end < len(words) and words[end].lower in ORDINAL_ENDINGS and _is_glued(words, end):
        end += 1
    if end < len(words) and words[end].lower in SCALES:
        value, end = value * SCALES[words[end].lower], end + 1
    return value, end, False


def value_of(digits: str) -> float:
    """The value of digits with points, commas or colons; of a clock time, its minutes."""
    if ":" in digits:
        hours, _, minutes = digits.partition(":")
        return _float(hours) * 60 + _float(minutes.partition(":")[0])
    if GROUPED.fullmatch(digits) or GROUPED_BY_POINT.fullmatch(digits):
        return _float(digits.replace(",", "").replace(".", ""))
    cut = max(digits.rfind("."), digits.rfind(","))
    if cut < 0:
        return _float(digits)
    whole = digits[:cut].replace(".", "").replace(",", "")
    return _float(f"{whole}.{digits[cut + 1 :]}")


def _float(digits: str) -> float:
    try:
        return float(digits)
    except ValueError:
        return 0.0


def _in_words(words: Sequence[Word], place: int) -> tuple[float, int, bool]:
    """A number in words: "twenty-five", "two hundred", "third"."""
    total, last = 0.0, 0.0
    start, is_weak = (
        place,
        words[place].lower in ("one", "single", "both", "once", "first", "second"),
    )
    while place < len(words) and words[place].lower in NUMBERS:
        value = NUMBERS[words[place].lower]
        if place > start and not (last >= 20 and value < 10):
            break
        total, last, place = total + value, value, place + 1
    while place < len(words) and words[place].lower in SCALES:
        total, place = total * SCALES[words[place].lower], place + 1
        is_weak = False
    return total, place, is_weak and place == start + 1


def _with_unit(
    reading: Reading, start: int, end: int, value: float, is_weak: bool
) -> tuple[Quantity | None, int]:
    """The quantity of a number, with the unit or the half of the day behind it or the sign before it."""
    words = reading.words
    first, last = words[start], words[end - 1]
    number = first.start - (value < 0), last.end
    if ":" in first.lower or _says_clock(words, end):
        return _clock(reading, start, end, value), end + (1 if _says_clock(words, end) else 0)
    place = end
    if value < 1:  # half a litre, a quarter of a year
        while place < len(words) and place < end + 2 and words[place].lower in ("a", "an", "of"):
            place += 1
    found = _unit(reading, place, glued=place == end and first.lower[0].isdigit())
    if found:
        unit, unit_span, after = found
        base = value * unit.factor
        return (
            Quantity(value, unit.name, unit.dimension, base, number, unit_span, is_weak),
            after,
        )
    sign = reading.text[first.start - 1 : first.start] if first.start else ""
    if sign in UNITS and not sign.isalnum() and sign:
        unit = UNITS[sign]
        span = first.start - 1, first.start
        return Quantity(value, unit.name, unit.dimension, value * unit.factor, number, span), end
    return Quantity(value, None, None, value, number, None, is_weak), end


def _unit(reading: Reading, place: int, *, glued: bool) -> tuple[Unit, Span, int] | None:
    """The unit at a place, its span, and the place after it; short ones only behind digits (`glued`)."""
    words, text = reading.words, reading.text
    if place and glued:
        end = words[place - 1].end
        start = end + (text[end : end + 1] == " ")
        for sign in (text[start : start + 2], text[start : start + 1]):
            if sign[:1] and not sign[0].isalnum() and sign in UNITS:
                after = place + (len(sign) == 2)
                return UNITS[sign], (start, start + len(sign)), after
    if place >= len(words):
        return None
    word = words[place]
    for length in (3, 2, 1):
        some = words[place : place + length]
        name = " ".join(part.lower for part in some)
        written = text[some[0].start : some[-1].end]
        unit = UNITS.get(written) or UNITS.get(name)
        if unit and len(some) == length and (glued or len(name) >= 3):
            return unit, (word.start, some[-1].end), place + length
    return None


def _says_clock(words: Sequence[Word], place: int) -> bool:
    return place < len(words) and words[place].lower in ("pm", "am", "o'clock", "oclock")


def _clock(reading: Reading, start: int, end: int, value: float) -> Quantity:
    words = reading.words
    minutes = value if ":" in words[start].lower else value * 60
    said = words[end].lower if _says_clock(words, end) else ""
    if said in EVENING and minutes < HALF_DAY:
        minutes += HALF_DAY
    unit = None if said in ("o'clock", "oclock") else CLOCK
    return Quantity(value, unit, CLOCK, minutes, (words[start].start, words[end - 1].end), None)


def _is_same_time(one: Quantity, other: Quantity) -> bool:
    """A clock time and another one, or the number of its hour; the half of the day may be left out of one."""
    minutes = [q.base if q.dimension == CLOCK else q.value * 60 for q in (one, other)]
    if one.unit == other.unit == CLOCK:
        return minutes[0] == minutes[1]
    return minutes[0] % HALF_DAY == minutes[1] % HALF_DAY


def _joined(found: Sequence[Quantity]) -> list[Quantity]:
    """One hour 30, five foot six: two quantities that stand together as one."""
    joined: list[Quantity] = []
    for quantity in found:
        last = joined[-1] if joined else None
        part = _part_of(last, quantity) if last else None
        if last and part is not None:
            number = last.number[0], quantity.number[1]
            joined[-1] = replace(last, value=last.value, base=last.base + part, number=number)
        else:
            joined.append(quantity)
    return joined


def _part_of(last: Quantity, quantity: Quantity) -> float | None:
    """What a quantity right behind a larger one adds to it."""
    end = last.unit_span[1] if last.unit_span else last.number[1]
    if quantity.number[0] - end > 1 or last.unit not in ("hour", "foot"):
        return None
    if quantity.dimension == last.dimension:
        return quantity.base
    if quantity.unit is not None:
        return None
    return quantity.value * (60 if last.unit == "hour" else UNITS["inch"].factor)


def _is_glued(words: Sequence[Word], place: int) -> bool:
    return words[place].start == words[place - 1].end
