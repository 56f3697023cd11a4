"""A recorded JSON value and another one in, their differences out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

TOLERANCE = 1e-4  # of numbers: threads and machines round differently
DECIMAL = re.compile(r"\d+\.\d{3,}(?:e-?\d+)?")  # in a text


@dataclass(frozen=True)
class Difference:
    """Where two values differ, and how."""

    place: str
    recorded: str
    now: str

    def __str__(self) -> str:
        return f"{self.place}\n    recorded: {self.recorded}\n    now:      {self.now}"


def differences(place: str, recorded: Any, now: Any) -> Iterator[Difference]:
    """Every place where the two differ; floats may differ by TOLERANCE, in proportion where they are large."""
    if isinstance(recorded, dict) and isinstance(now, dict):
        yield from _of_objects(place, recorded, now)
    elif isinstance(recorded, list) and isinstance(now, list):
        for number in range(max(len(recorded), len(now))):
            one, other = recorded[number : number + 1], now[number : number + 1]
            inside = f"{place}.{number}"
            if one and other:
                yield from differences(inside, one[0], other[0])
            else:
                yield Difference(inside, _shown(*one), _shown(*other))
    elif not _is_same(recorded, now):
        yield Difference(place, _shown(recorded), _shown(now))


def _of_objects(place: str, recorded: dict[str, Any], now: dict[str, Any]) -> Iterator[Difference]:
    for name in {**recorded, **now}:
        inside = f"{place}.{name}"
        if name in recorded and name in now:
            yield from differences(inside, recorded[name], now[name])
        elif name in recorded:
            yield Difference(inside, _shown(recorded[name]), "nothing")
        else:
            yield Difference(inside, "nothing", _shown(now[name]))


def _is_same(recorded: Any, now: Any) -> bool:
    if type(recorded) is not type(now):
        return False
    if isinstance(recorded, float):
        return _is_near(recorded, now, TOLERANCE)
    if isinstance(recorded, str):
        return recorded == now or _is_same_text(recorded, now)
    return bool(recorded == now)


def _is_same_text(recorded: str, now: str) -> bool:
    """Whether two texts differ in the rounding of long decimals alone: by little more than their last digit."""
    if DECIMAL.sub("", recorded) != DECIMAL.sub("", now):
        return False
    pairs = zip(DECIMAL.findall(recorded), DECIMAL.findall(now), strict=True)
    return all(
        _is_near(float(one), float(other), max(TOLERANCE, _last_digit(one))) for one, other in pairs
    )


def _is_near(recorded: float, now: float, tolerance: float) -> bool:
    return abs(recorded - now) <= tolerance * max(1.0, abs(recorded))


def _last_digit(decimal: str) -> float:
    """A little more than one in the last of its digits."""
    digits = len(decimal.partition("e")[0].partition(".")[2])
    return 1.1 * 10.0**-digits


def _shown(*value: Any) -> str:
    return repr(value[0])[:300] if value else "nothing"
