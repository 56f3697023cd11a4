"""Fires where one question denies the statement of the other: by a negation, or by an opposite.

A negation and an opposite together cancel ("not open", "closed"). A negation at the beginning of a question denies
nothing ("Isn't it too late?"). Irony, and a negation that is meant and not said, are not seen.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from app.engine.guards.alignment import Alignment
from app.engine.guards.difference import Difference, spans
from app.engine.guards.opposites import ALIKE_WITH, CONVERSE, OPPOSITES, PARTICLES, PREFIXES
from app.engine.guards.reading import Reading, Word
from app.engine.guards.vocabulary import keys
from app.engine.guards.word_lists import words

LEAST_AGREEMENT = 0.4  # for an opposite
LEAST_FOR_NEGATION = 0.6
MOST_WORDS = 12  # that differ in a text: beyond, it is another question anyway

NEGATORS = words("""
    not no never without nobody nothing none nowhere neither hardly scarcely barely unable unless lack
""")
# Verbs that deny with "to" behind them, and with "from doing".
DENYING_TO = words("refuse refuses refused fail fails failed")
DENYING_FROM = words("stop stops prevent prevents keep keeps")
DENYING = NEGATORS | DENYING_TO | DENYING_FROM
# Words that say without a negation what another text says with one: "missing", "not shown".
IMPLYING = DENYING | words("""
    avoid missing lost lose stuck free broken absent gone empty disappear disappears disappeared unavailable failing
    blocked locked invalid rejected error
""")
AUXILIARIES = words("""
    am is are was were do does did have has had will would shall should can could may might must need ought
""")
SUBJECTS = words("i you we he she it they there one this that")
NUMBERED = words("""
    invoice order ticket case flight train bus line platform gate seat room apartment flat house unit bay item part
    article form page chapter exercise question figure model serial batch lot account customer reference version
""")
FREE = words("only matter")  # after a negation that denies nothing
ENDS = ".?!;\n"
# How many words the verb stands before each of two particles: "turn off", "turn the dark mode on".
VERB_PLACES = ((1, 1), (1, 2), (2, 1), (1, 3), (3, 1), (1, 4), (4, 1))
PARTED = keys("turn switch plug power log sign put take opt zoom move")  # from their particles


def difference(pair: Alignment) -> Difference | None:
    """Whether one of the questions denies the statement of the other."""
    if pair.agreement < LEAST_AGREEMENT or max(len(pair.only1), len(pair.only2)) > MOST_WORDS:
        return None
    negations1 = list(_negations(pair.first))
    negations2 = list(_negations(pair.second))
    opposites = _opposites(pair)
    turns = len(negations1) + len(negations2) + len(opposites) + _lessened(pair, opposites)
    if turns % 2 == 0:
        return None
    if opposites:
        return _opposite(pair, *opposites[0])
    if pair.agreement < LEAST_FOR_NEGATION:
        return None
    return _only_one(pair, negations1, negations2)


def _negations(reading: Reading) -> Iterator[Word]:
    """The words that deny, without those that a question may begin with for politeness."""
    lowers = [word.lower for word in reading.words]
    if DENYING.isdisjoint(lowers):
        return
    for place, word in enumerate(reading.words):
        if word.lower not in DENYING:
            continue
        before = lowers[place - 1] if place else ""
        following = lowers[place + 1] if place + 1 < len(lowers) else ""
        if before == "or" or following in FREE:
            continue
        if word.lower in DENYING_TO and following != "to":
            continue
        if word.lower in DENYING_FROM and not _keeps_from_doing(lowers[place:]):
            continue
        if word.lower in ("not", "no") and _begins(reading, place):
            continue
        if word.lower == "no" and _is_for_number(reading, place):
            continue
        yield word


def _is_for_number(reading: Reading, place: int) -> bool:
    """Whether "no" is short for "number": "invoice no. 12", "flight no 12"."""
    behind = reading.words[place + 1 : place + 2]
    if not behind or not behind[0].lower[0].isdigit():
        return False
    if "." in reading.text[reading.words[place].end : behind[0].start]:
        return True
    following = reading.text[behind[0].end : behind[0].end + 1]
    is_bare = not (following.isalnum() or following == "-")
    return is_bare and place > 0 and reading.words[place - 1].lower in NUMBERED


def _lessened(pair: Alignment, opposites: Sequence[tuple[Word, Word]]) -> int:
    """How many opposites a "less" turns back, that is no opposite itself: "cheaper", "less expensive"."""
    found = {word for both in opposites for word in both}
    turned = 0
    for one, other in opposites:
        for reading, word in ((pair.first, one), (pair.second, other)):
            place = reading.words.index(word)
            before = reading.words[place - 1] if place else word
            turned += before.lower in ("less", "least") and before not in found
    return turned


def _keeps_from_doing(lowers: Sequence[str]) -> bool:
    """Whether something is kept from doing something: "stop bread from rising"."""
    return any(before == "from" and word.endswith("ing") for before, word in pairwise(lowers))


def _begins(reading: Reading, place: int) -> bool:
    """Whether a negation belongs to the opening of a yes-or-no question: "isn't it", "is there no"."""
    start = place - 1
    if start >= 0 and reading.keys[start] in SUBJECTS:
        start -= 1
    if start < 0 or reading.keys[start] not in AUXILIARIES:
        return False
    if start == 0:
        return True
    gap = reading.text[reading.words[start - 1].end : reading.words[start].start]
    return any(character in ENDS for character in gap)


def _opposites(pair: Alignment) -> list[tuple[Word, Word]]:
    """Words of which one text has one and the other text its opposite, each once."""
    by_key = {word.key: word for word in pair.only2 if word.lower not in NEGATORS}
    by_lower = {word.lower: word for word in by_key.values()}
    found = []
    for one in pair.only1:
        if one.lower in NEGATORS or _is_converse(pair, one):
            continue
        other = _listed(one, by_key) or _prefixed(one, by_lower)
        if other and by_key.get(other.key) and _may_oppose(pair, one, other):
            del by_key[other.key]
            found.append((one, other))
    return found


def _listed(one: Word, by_key: Mapping[str, Word]) -> Word | None:
    """The opposite of a word among others, by the list."""
    for key in OPPOSITES.get(one.key, ()):
        if key in by_key:
            return by_key[key]
    return None


def _prefixed(one: Word, by_lower: Mapping[str, Word]) -> Word | None:
    """The opposite of a word among others, by a prefix that denies: paid and unpaid."""
    for lower, other in by_lower.items():
        short, long = sorted((one.lower, lower), key=len)
        if len(short) >= 3 and long.endswith(short) and long.removesuffix(short) in PREFIXES:
            return other
    return None


def _may_oppose(pair: Alignment, one: Word, other: Word) -> bool:
    """Whether particles have the same verb: "turn on", "turn it off"; all other words may."""
    return one.key not in PARTICLES or _verbs(pair, one, other) is not None


def _verbs(pair: Alignment, one: Word, other: Word) -> tuple[int, int] | None:
    """The places of the verb that two particles have: right before one of them, and not far before the other."""
    place1 = pair.first.words.index(one)
    place2 = pair.second.words.index(other)
    for back1, back2 in VERB_PLACES:
        verb1 = pair.first.keys[place1 - back1] if place1 >= back1 else None
        verb2 = pair.second.keys[place2 - back2] if place2 >= back2 else None
        if verb1 and verb1 == verb2 and (back1 == back2 or verb1 in PARTED):
            return None if verb1 in ALIKE_WITH else (place1 - back1, place2 - back2)
    return None


def _is_converse(pair: Alignment, word: Word) -> bool:
    """Whether another order of the words may undo the opposite: "older than", "sell to"."""
    if not pair.is_reordered:
        return False
    return word.key in CONVERSE or "than" in pair.first.keys or "of" in pair.first.keys


def _opposite(pair: Alignment, one: Word, other: Word) -> Difference:
    """Two opposites; particles with their verb, and what stands between ("turn it on")."""
    place1 = pair.first.words.index(one)
    place2 = pair.second.words.index(other)
    start1, start2 = place1, place2
    if one.key in PARTICLES:
        start1, start2 = _verbs(pair, one, other) or (place1, place2)
    first = pair.first.words[start1 : place1 + 1]
    second = pair.second.words[start2 : place2 + 1]
    return Difference.of_words("opposite", pair, first, second)


def _implies(reading: Reading, word: Word) -> bool:
    """Whether a word says without a negation what another text may say with one; "out of" does."""
    if word.lower == "out":
        return "of" in reading.keys[reading.words.index(word) + 1 :][:1]
    return word.lower in IMPLYING


def _only_one(
    pair: Alignment, negations1: Sequence[Word], negations2: Sequence[Word]
) -> Difference | None:
    """The negation that only one of the texts has, and the words of the other in its place, if there are any."""
    own1 = [word for word in negations1 if word in pair.only1] or negations1[len(negations2) :]
    own2 = [word for word in negations2 if word in pair.only2] or negations2[len(negations1) :]
    first = own1[:1]
    second = own2[:1]
    if first and second:
        return None
    if not first and not second:
        return None
    reading, only = (pair.second, pair.only2) if first else (pair.first, pair.only1)
    if any(_implies(reading, word) for word in only):
        return None
    said1, said2 = ("".join(word.lower for word in own) for own in (first, second))
    return Difference("negation", said1, said2, spans(first), spans(second))
