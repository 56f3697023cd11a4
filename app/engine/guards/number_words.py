"""Words for numbers, and Roman numerals."""

from collections.abc import Mapping

UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
TEENS = "seventeen eighteen nineteen"
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth"
    " fifteenth sixteenth seventeenth eighteenth nineteenth"
)
ORDINAL_TENS = "twentieth thirtieth fortieth fiftieth sixtieth seventieth eightieth ninetieth"

SCALES: Mapping[str, int] = {
    "hundred": 100,
    "thousand": 1000,
    "million": 1_000_000,
    "millions": 1_000_000,
    "billion": 1_000_000_000,
    "dozen": 12,
}
FRACTIONS: Mapping[str, float] = {"half": 0.5, "quarter": 0.25}
ROMAN: Mapping[str, int] = {"I": 1, "V": 5, "X": 10}


def _numbers() -> Mapping[str, float]:
    numbers: dict[str, float] = {}
    numbers |= {word: value for value, word in enumerate(f"{UNITS} {TEENS}".split())}
    numbers |= {word: value for value, word in enumerate(ORDINALS.split(), 1)}
    numbers |= {word: 10 * value for value, word in enumerate(TENS.split(), 2)}
    numbers |= {word: 10 * value for value, word in enumerate(ORDINAL_TENS.split(), 2)}
    numbers |= {"once": 1, "twice": 2, "thrice": 3, "both": 2, "single": 1, "double": 2}
    return numbers


NUMBERS = _numbers()


def roman(word: str) -> float | None:
    """The value of a Roman numeral of two letters or more, below 40: "XIV" is 14."""
    if not 2 <= len(word) <= 6 or not ROMAN.keys() >= set(word):
        return None
    values = [ROMAN[letter] for letter in word]
    total = 0
    for value, following in zip(values, [*values[1:], 0], strict=True):
        total += -value if value < following else value
    return float(total)
