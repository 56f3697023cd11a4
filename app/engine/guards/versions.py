"""Fires where the questions name two versions of something.

A version is a number behind a product's name or a word such as "release", or one of three parts. Prices, dates, rooms
and sections are none. Where only one question names a version, nothing fires.
"""

from collections.abc import Iterator

from app.engine.guards.alignment import Alignment
from app.engine.guards.difference import Difference
from app.engine.guards.reading import Reading
from app.engine.guards.vocabulary import FUNCTION_WORDS, keys
from app.engine.guards.word_lists import words
from app.engine.reasons import Span

LEAST_AGREEMENT = 0.3

PRODUCTS = words("""
    python java javascript node nodejs php ruby rust go kotlin swift scala perl typescript html
    css http tls ssl usb ios ipados macos android windows win ubuntu debian fedora centos linux
    kernel postgres postgresql mysql mariadb sqlite mongodb redis django flask rails laravel
    spring react angular vue numpy pandas pytorch tensorflow sklearn wordpress drupal excel word
    office outlook chrome firefox safari edge git docker kubernetes openssl nginx apache bluetooth
    wifi fi pcie hdmi gpt gplv gpl iphone ipad galaxy pixel playstation ps xbox minecraft v r
    version versions release releases firmware driver update edition build beta alpha rc api sdk
    patch
""")
# Capitalised words that numbers follow without being versions.
NO_PRODUCTS = words("""
    article chapter room section page platform gate zone level grade step part bus line figure
    table number no nr question january february march april may june july august september
    october november december jan feb mar apr jun jul aug sep oct nov dec monday tuesday wednesday
    thursday friday saturday sunday street road route bundle seat row form class error code ticket
    order flight port type model key area district phase stage appendix exercise task problem
    vitamin covid boeing airbus paragraph rule law act category band volume
""")
UPDATING = keys("""
    version update upgrade release changelog beta stable firmware driver edition patch migrate build skip downgrade
""")
GAPS = ("", " ", "-", "/", "++", " v", "#", ".")


def difference(pair: Alignment) -> Difference | None:
    """Whether each of the questions names a version that the other doesn't."""
    if pair.agreement < LEAST_AGREEMENT:
        return None
    if not pair.first.has_number or not pair.second.has_number:
        return None
    versions1 = dict(_versions(pair.first))
    versions2 = dict(_versions(pair.second))
    own1 = [span for version, span in versions1.items() if version not in versions2]
    own2 = [span for version, span in versions2.items() if version not in versions1]
    if not own1 or not own2:
        return None
    return Difference.of_parts("version", pair, own1[0], own2[0])


def _versions(reading: Reading) -> Iterator[tuple[str, Span]]:
    """The versions that a text names, without zeros at their end, and their places."""
    for place, word in enumerate(reading.words):
        is_number = word.lower[0].isdigit() and not {":", ","} & set(word.lower)
        if is_number and _is_version(reading, place):
            name = word.lower
            while name.endswith(".0"):
                name = name[:-2]
            yield name, word.span


def _is_version(reading: Reading, place: int) -> bool:
    word = reading.words[place]
    points = word.lower.count(".")
    if points >= 2:
        return not _is_date_or_address(word.lower)
    if _follows(reading, place, ("edition", "or")):
        return reading.keys[place + 1 :][:2] != ("or", "not") and _is_newer(reading, place)
    if not place:
        return points == 1 and _is_updating(reading)
    before = reading.words[place - 1]
    gap = reading.text[before.end : word.start]
    if gap in GAPS and before.lower in PRODUCTS:
        return True
    if gap in GAPS and _is_name(reading, place - 1):
        return True
    is_target = before.lower in ("to", "from", "since", "in", "skip", "of", "is", "until")
    if not is_target or not _is_updating(reading):
        return False
    return points == 1 or before.lower in ("to", "from", "since")


def _follows(reading: Reading, place: int, expected: tuple[str, ...]) -> bool:
    following = [word.lower for word in reading.words[place + 1 : place + 3]]
    return bool(following) and (following[0] == "or" or expected[0] in following)


def _is_newer(reading: Reading, place: int) -> bool:
    following = [word.lower for word in reading.words[place + 1 : place + 3]]
    return "edition" in following or following[-1] in ("newer", "later", "above", "higher")


def _is_name(reading: Reading, place: int) -> bool:
    """Whether a word is written as a name and may have versions."""
    word = reading.words[place]
    if not reading.text[word.start].isupper() or len(word.lower) < 2:
        return word.lower == "c"
    return word.lower not in NO_PRODUCTS and word.lower not in FUNCTION_WORDS


def _is_updating(reading: Reading) -> bool:
    return not UPDATING.isdisjoint(reading.keys) or "since" in reading.keys


def _is_date_or_address(digits: str) -> bool:
    numbers = [int(part) for part in digits.split(".")]
    if len(numbers) == 4:
        return max(numbers) <= 255
    return len(numbers) == 3 and numbers[0] <= 31 and numbers[1] <= 12 and numbers[2] >= 1900
