"""Fires where the questions name two persons, places, organisations, products or languages.

A name is known by its capital letter inside a sentence, or from a list. Abbreviations and other names of the same
are one; a name that only one question has is no difference.
"""

from collections.abc import Iterator, Sequence, Set

from app.engine.guards.alignment import Alignment
from app.engine.guards.difference import Difference, spans
from app.engine.guards.names import ALIASES, NAMES, NO_NAMES
from app.engine.guards.quantities import Quantity, quantities
from app.engine.guards.reading import Reading, Word
from app.engine.guards.vocabulary import FUNCTION_WORDS
from app.engine.reasons import Span

LEAST_AGREEMENT = 0.4
LEAST_MISSPELT = 6  # letters from which one wrong letter makes no other name
LEAST_PREFIX = 4  # letters from which a name may be short for a longer one
TITLES = ("Dr.", "Mr.", "Mrs.", "Ms.", "Prof.", "St.")
LOUD = 0.7  # share of capital letters from which they say nothing


def difference(pair: Alignment) -> Difference | None:
    """Whether each of the questions has a name that the other hasn't."""
    if pair.agreement < LEAST_AGREEMENT:
        return None
    units1, units2 = _units(pair)
    names1 = list(_names(pair.first, pair.content1, units1))
    names2 = list(_names(pair.second, pair.content2, units2))
    if pair.is_substitution and bool(names1) != bool(names2):
        names1 = names1 or list(_after(pair.first, pair.content1))
        names2 = names2 or list(_after(pair.second, pair.content2))
    if not names1 or not names2 or _are_one(pair, names1, names2):
        return None
    said1 = pair.first.shown(_together(names1))
    said2 = pair.second.shown(_together(names2))
    return Difference("entity", said1, said2, spans(names1), spans(names2))


def _names(reading: Reading, own: Sequence[Word], units: Sequence[Span]) -> Iterator[Word]:
    """Those of a text's own words that are names, and stand in none of the units."""
    if not own or _is_loud(reading.text):
        return
    for word in own:
        if word.lower in NO_NAMES or word.lower in FUNCTION_WORDS:
            continue
        if any(start <= word.start < end for start, end in units):
            continue
        is_capital = reading.text[word.start].isupper()
        if word.lower in NAMES or (is_capital and not _begins_sentence(reading, word)):
            yield word


def _units(pair: Alignment) -> tuple[Sequence[Span], Sequence[Span]]:
    """The places of units in both texts that measure the same: GB and TB are no names then."""
    if not pair.first.has_number or not pair.second.has_number:
        return (), ()
    measured1 = [one for one in quantities(pair.first.text) if one.unit_span]
    measured2 = [one for one in quantities(pair.second.text) if one.unit_span]
    both = {one.dimension for one in measured1} & {one.dimension for one in measured2}
    return _spans_of(measured1, both), _spans_of(measured2, both)


def _spans_of(measured: Sequence[Quantity], dimensions: Set[str | None]) -> list[Span]:
    """The places of the units that are of some dimensions."""
    return [one.unit_span for one in measured if one.unit_span and one.dimension in dimensions]


def _after(reading: Reading, own: Sequence[Word]) -> Iterator[Word]:
    """A word not known to be a name, in the place of a name."""
    for word in own:
        if word.lower not in NO_NAMES and not _begins_sentence(reading, word):
            yield word


def _begins_sentence(reading: Reading, word: Word) -> bool:
    """Whether nothing but space stands between a word and the end of the sentence before."""
    before = reading.text[: word.start].rstrip(" \t\n\"'“‘(¿¡*-–—#>")
    if before.endswith(TITLES):
        return False
    return not before or before[-1] in ".?!:…"


def _is_loud(text: str) -> bool:
    """Whether nearly all letters are capitals, or each word begins with one."""
    capitals = sum(character.isupper() for character in text)
    letters = sum(character.isalpha() for character in text)
    return capitals > LOUD * letters or text.istitle()


def _together(names: Sequence[Word]) -> Sequence[Word]:
    """The first name, with those right behind it."""
    end = 1
    while end < len(names) and names[end].start - names[end - 1].end <= 1:
        end += 1
    return names[:end]


def _are_one(pair: Alignment, names1: Sequence[Word], names2: Sequence[Word]) -> bool:
    """Whether the names of one text are those of the other in another form."""
    plain1 = {_plain(word.lower) for word in names1}
    plain2 = {_plain(word.lower) for word in names2}
    if plain1 & plain2:
        return True
    if any(_is_short_for(one, other) for one in plain1 for other in plain2):
        return True
    return _has_initials(pair.first, names1, names2) or _has_initials(pair.second, names2, names1)


def _plain(name: str) -> str:
    """A name without a plural's ending, by the first of its names."""
    return ALIASES.get(name) or ALIASES.get(name.removesuffix("s")) or name.removesuffix("s")


def _is_short_for(one: str, other: str) -> bool:
    """Whether one is the other in a short or misspelt form; two known names are two."""
    short, long = sorted((one, other), key=len)
    if one in NAMES and other in NAMES:
        return False
    if len(short) >= LEAST_PREFIX and long.startswith(short):
        return True
    return len(short) >= LEAST_MISSPELT and _is_misspelt(short, long)


def _is_misspelt(short: str, long: str) -> bool:
    """Whether the two differ in one place alone, by a letter or by two that are turned round."""
    if len(long) - len(short) > 1:
        return False
    begin = 0
    while begin < len(short) and short[begin] == long[begin]:
        begin += 1
    rest1 = short[begin:]
    rest2 = long[begin:]
    turned = rest1[1:2] + rest1[:1] + rest1[2:]
    return rest1 == rest2[1:] or rest1[1:] == rest2[1:] or turned == rest2


def _has_initials(reading: Reading, names: Sequence[Word], others: Sequence[Word]) -> bool:
    """Whether a name is the initials of the other text's names: "UN", "United Nations"."""
    initials = "".join(word.lower[0] for word in others)
    for word in names:
        letters = reading.text[word.start : word.end].rstrip("s'’.")
        if len(letters) >= 2 and letters.isupper() and len(initials) >= 2:
            short = letters.lower()
            if short.startswith(initials) or initials.startswith(short):
                return True
    return False
