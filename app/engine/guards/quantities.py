"""A reading in; the quantities that it names out: a value, a unit, and both in the base of the unit's dimension.

Digits with separators, words for numbers, ordinals, Roman numerals, fractions, clock times. Comma or point: the last
one that parts other than three digits parts decimals.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from app.engine.guards.number_words import FRACTIONS, NUMBERS, SCALES, roman
from app.engine.guards.reading import READ_CHARACTERS, Reading, Word, read
from app.engine.guards.units_of_measure import UNITS, Unit
from app.engine.reasons import Span

ARTICLES = ("a", "an")
BEFORE_PERIODS = (*ARTICLES, "per", "every", "each")  # "once a day"
ORDINAL_ENDINGS = ("st", "nd", "rd", "th")
WEAK = ("one", "single", "both", "once", "first", "second")  # where nothing else is behind them
MINUS_SIGNS = ("-", "−")
GROUP_GAPS = (" ", "\u00a0", "\u202f")  # between groups of three digits
MORNING = "am"
EVENING = "pm"
O_CLOCK = ("o'clock", "oclock")
CLOCK_WORDS = (MORNING, EVENING, *O_CLOCK)
CURRENCY = ("$", "€", "£", "¥")
SHORT_SCALES = {"k": 1000, "m": 1_000_000, "bn": 1_000_000_000, "b": 1_000_000_000}  # of money
GROUPED = re.compile(r"\d{1,3}(?:,\d{3}){1,4}")  # 1,000
GROUPED_BY_POINT = re.compile(r"\d{1,3}(?:\.\d{3}){2,4}")  # 1.000.000
CLOCK = "clock"
JOINING = ("", " ", " and ")  # between the parts of one quantity
WITH_POINTS = re.compile(r"[ap]\. ?m\b", re.IGNORECASE)
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
        if (_has_weak_unit(self) and not other.unit) or (_has_weak_unit(other) and not self.unit):
            return False  # "a day" is none of the other's "once"
        return math.isclose(self.value, other.value)


class Number(NamedTuple):
    """A number that begins at some word of a reading."""

    value: float
    end: int  # the place after it
    is_weak: bool = False


@lru_cache(maxsize=256)
def quantities(text: str) -> tuple[Quantity, ...]:
    """All quantities of a text, in their order."""
    reading = read(text)
    if not reading.has_number:
        return ()
    found: list[Quantity] = []
    place = 0
    while place < len(reading.words):
        number = _number(reading, place)
        if number is None:
            place += 1
            continue
        quantity, place = _with_unit(reading, place, number)
        found.append(quantity)
    return tuple(_joined(text, found))


def _number(reading: Reading, place: int) -> Number | None:
    """The number that begins at a place."""
    word = reading.words[place]
    if word.lower[0].isdigit():
        return _digits(reading, place)
    if word.lower in NUMBERS:
        return _in_words(reading.words, place)
    if word.lower in FRACTIONS:
        return Number(FRACTIONS[word.lower], place + 1)
    if word.lower in ARTICLES and place + 1 < len(reading.words):
        return _behind_article(reading, place + 1)
    value = roman(reading.text[word.start : word.end])
    if not value:
        return None
    return Number(value, place + 1)


def _behind_article(reading: Reading, place: int) -> Number | None:
    """A half, a hundred, a day: the number of an article by the word behind it."""
    following = reading.words[place].lower
    if following in FRACTIONS or following in SCALES:
        return _number(reading, place) or Number(float(SCALES[following]), place + 1)
    if _unit(reading, place, glued=False):
        return Number(1.0, place, is_weak=True)
    return None


def _digits(reading: Reading, place: int) -> Number:
    words = reading.words
    digits, end = _grouped(reading, place)
    value = value_of(digits)
    if _is_negative(reading.text, words[place].start):
        value = -value
    if end < len(words) and words[end].lower in ORDINAL_ENDINGS and _is_glued(words, end):
        end += 1
    if end < len(words):
        scale = SCALES.get(words[end].lower)
        if scale is None and _is_money(reading.text, words[place].start, words[end].end):
            scale = SHORT_SCALES.get(words[end].lower) if _is_glued(words, end) else None
        if scale is not None:
            value *= scale
            end += 1
    return Number(value, end)


def _grouped(reading: Reading, place: int) -> tuple[str, int]:
    """Digits with the groups of three behind them, as in 1 000 000, and the place after them."""
    words = reading.words
    digits = words[place].lower
    end = place + 1
    while end < len(words) and len(digits) <= 12:
        group = words[end]
        gap = reading.text[words[end - 1].end : group.start]
        is_group = len(group.lower) == 3 and group.lower.isdigit()
        if not is_group or gap not in GROUP_GAPS:
            break
        digits += group.lower
        end += 1
    return digits, end


def _is_money(text: str, start: int, end: int) -> bool:
    """Whether the sign of a currency stands before a number or behind it."""
    before = text[max(0, start - 2) : start].strip()[-1:]
    behind = text[end : end + 2].strip()[:1]
    return before in CURRENCY or behind in CURRENCY


def _is_negative(text: str, start: int) -> bool:
    """Whether a minus stands before a number, and no hyphen between it and a word."""
    if start == 0 or text[start - 1] not in MINUS_SIGNS:
        return False
    return start == 1 or not text[start - 2].isalnum()


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


def _in_words(words: Sequence[Word], start: int) -> Number:
    """A number in words: "twenty-five", "two hundred", "third"."""
    place = start
    total = last = 0.0
    while place < len(words) and words[place].lower in NUMBERS:
        value = NUMBERS[words[place].lower]
        is_unit_of_tens = last >= 20 and value < 10
        if place > start and not is_unit_of_tens:
            break
        total += value
        last = value
        place += 1
    is_rate = words[start].lower == "once" and _stands_there(words, place, BEFORE_PERIODS)
    is_weak = words[start].lower in WEAK and place == start + 1 and not is_rate
    while place < len(words) and words[place].lower in SCALES:
        total *= SCALES[words[place].lower]
        place += 1
        is_weak = False
    return Number(total, place, is_weak)


def _stands_there(words: Sequence[Word], place: int, some: Sequence[str]) -> bool:
    return place < len(words) and words[place].lower in some


def _with_unit(reading: Reading, start: int, number: Number) -> tuple[Quantity, int]:
    """The quantity of a number, with the unit or the half of the day behind it or the sign before it; and the place
    after it."""
    words = reading.words
    value, end, is_weak = number
    first = words[start]
    said, after_clock = _clock_word(reading, end)
    if ":" in first.lower or said:
        return _clock(reading, start, number, said, after_clock), after_clock
    span = first.start - (value < 0), words[end - 1].end
    place = _of_fraction(words, end) if value < 1 else end
    is_glued = place == end and first.lower[0].isdigit()
    found = _unit(reading, place, glued=is_glued)
    if found:
        unit, unit_span, after = found
        base = value * unit.factor
        quantity = Quantity(value, unit.name, unit.dimension, base, span, unit_span, is_weak)
        return quantity, after
    sign = reading.text[first.start - 1] if first.start else ""
    if sign and sign in UNITS and not sign.isalnum():
        unit = UNITS[sign]
        sign_span = first.start - 1, first.start
        base = value * unit.factor
        return Quantity(value, unit.name, unit.dimension, base, span, sign_span), end
    return Quantity(value, None, None, value, span, None, is_weak), end


def _of_fraction(words: Sequence[Word], end: int) -> int:
    """The place of the thing that a fraction divides: half a litre, a quarter of a year."""
    place = end
    while place < len(words) and place < end + 2 and words[place].lower in ("a", "an", "of"):
        place += 1
    return place


def _unit(reading: Reading, place: int, *, glued: bool) -> tuple[Unit, Span, int] | None:
    """The unit at a place, its span, and the place after it; short ones only behind digits (`glued`)."""
    words = reading.words
    if place and glued:
        sign = _sign(reading.text, words[place - 1].end)
        if sign:
            start, end = sign
            after = place + (end - start == 2)
            return UNITS[reading.text[start:end]], sign, after
    for length in (3, 2, 1):
        some = words[place : place + length]
        if len(some) < length:
            continue
        name = " ".join([part.lower for part in some])
        start = some[0].start
        end = some[-1].end
        unit = UNITS.get(reading.text[start:end]) or UNITS.get(name)
        if unit and (glued or len(name) >= 3):
            return unit, (start, end), place + length
    return None


def _sign(text: str, end: int) -> Span | None:
    """The place of a unit's sign right behind a number that ends there, or behind one space."""
    start = end
    if text[end : end + 1] == " ":
        start += 1
    for length in (2, 1):
        sign = text[start : start + length]
        if sign in UNITS and not sign[0].isalnum():
            return start, start + len(sign)
    return None


def _clock_word(reading: Reading, place: int) -> tuple[str, int]:
    """What a number is the hour of, as "pm" or "p.m.", and the place after it; "" where it is none."""
    words = reading.words
    if place >= len(words):
        return "", place
    said = words[place].lower
    if said in CLOCK_WORDS:
        return said, place + 1
    if WITH_POINTS.match(reading.text, words[place].start, READ_CHARACTERS):
        return f"{said}m", place + 2
    return "", place


def _clock(reading: Reading, start: int, number: Number, said: str, end: int) -> Quantity:
    """The clock time of an hour, with what follows it up to the place `end`."""
    words = reading.words
    minutes = number.value
    if ":" not in words[start].lower:
        minutes *= 60
    if said == EVENING and minutes < HALF_DAY:
        minutes += HALF_DAY
    if said == MORNING and HALF_DAY <= minutes < HALF_DAY + 60:
        minutes -= HALF_DAY  # 12 am is midnight
    unit = None if said in O_CLOCK else CLOCK
    span = words[start].start, words[end - 1].end
    return Quantity(number.value, unit, CLOCK, minutes, span, None)


def _is_same_time(one: Quantity, other: Quantity) -> bool:
    """A clock time and another one, or the number of its hour; the half of the day may be left out of one."""
    minutes = _minutes(one)
    other_minutes = _minutes(other)
    if one.unit == other.unit == CLOCK:
        return minutes == other_minutes
    return minutes % HALF_DAY == other_minutes % HALF_DAY


def _has_weak_unit(quantity: Quantity) -> bool:
    return quantity.is_weak and quantity.unit is not None


def _minutes(quantity: Quantity) -> float:
    if quantity.dimension == CLOCK:
        return quantity.base
    return quantity.value * 60


def _joined(text: str, found: Sequence[Quantity]) -> list[Quantity]:
    """One hour 30, five foot six: two quantities that stand together as one."""
    joined: list[Quantity] = []
    for quantity in found:
        part = _part_of(text, joined[-1], quantity) if joined else None
        if part is None:
            joined.append(quantity)
            continue
        whole = joined[-1]
        number = whole.number[0], (quantity.unit_span or quantity.number)[1]
        base = whole.base + part
        value = base * whole.value / whole.base if whole.base else whole.value
        joined[-1] = replace(whole, value=value, base=base, number=number)
    return joined


def _part_of(text: str, last: Quantity, quantity: Quantity) -> float | None:
    """The amount that a smaller quantity right behind one of hours or feet adds to it."""
    _, end = last.unit_span or last.number
    if last.unit not in ("hour", "foot") or text[end : quantity.number[0]] not in JOINING:
        return None
    if quantity.dimension == last.dimension:
        return quantity.base if quantity.base < UNITS[last.unit].factor else None
    if quantity.unit is not None:
        return None
    if last.unit == "hour":
        return quantity.value * 60
    return quantity.value * UNITS["inch"].factor


def _is_glued(words: Sequence[Word], place: int) -> bool:
    return words[place].start == words[place - 1].end
