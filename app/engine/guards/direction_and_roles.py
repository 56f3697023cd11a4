"""Fires where the same words stand in other roles: from A to B and from B to A, the dog that bites and the postman.

A word's role is the preposition before it, or its place among the words without one. The passive ("bitten by the dog")
turns the places round. Relations that hold both ways, and lists, are no difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from app.engine.guards.alignment import Alignment
from app.engine.guards.difference import Difference, spans
from app.engine.guards.opposites import OPPOSITES
from app.engine.guards.reading import Reading, Word
from app.engine.guards.vocabulary import FUNCTION_WORDS, keys
from app.engine.guards.word_lists import words

LEAST_AGREEMENT = 0.6  # for "from A to B"
LEAST_FOR_PLACES = 0.8
MOST_WORDS = 40  # of a text: roles are told in a sentence, not in a story
MOST_SHARED = 16

PREPOSITIONS = words("""
    from to into onto in on at for with by of about under over against between before after than
    as through per
""")
FIRST_PERSON = {"me": "i", "myself": "i", "us": "we", "him": "he", "them": "they", "whom": "who"}
PERSONS = words("i you we he she they who")
SKIPPED = words(
    "and or nor which what a an the my your our his her its their this that these those own any all some no 's"
)
JOINING = words("and or nor vs versus both")
SYMMETRIC = keys("""
    difference differ different between compare comparison similar same equal marry meet distance
    far friend relate relationship together versus vs near next share combine mix equivalent
""")
BEING = words("be been being is are was were")
GETTING = words("get gets got getting")
# Participles, by their endings and one by one.
ENDINGS = ("ed", "wn", "en", "ought", "aught")
PARTICIPLES = words("""
    cut put set sent made paid held told kept done found built lost hit shot hurt struck sold won read run beat shut
    spent led fed met left lent hung laid bound
""")
DIRECTED = (frozenset(("from", "to")), frozenset(("from", "into")), frozenset(("from", "onto")))


@dataclass(frozen=True, slots=True)
class Role:
    """A word with its preposition, if it has one, and its place."""

    word: Word
    preposition: str
    place: int


def difference(pair: Alignment) -> Difference | None:
    """Whether two words have exchanged their roles."""
    if pair.agreement < LEAST_AGREEMENT or pair.first.keys == pair.second.keys:
        return None
    if not (pair.is_reordered or pair.gaps):
        return None
    if max(len(pair.first.keys), len(pair.second.keys)) > MOST_WORDS:
        return None
    if not SYMMETRIC.isdisjoint(pair.first.keys + pair.second.keys):
        return None
    roles1 = _roles(pair.first)
    roles2 = _roles(pair.second)
    shared = [key for key in roles1 if key in roles2][:MOST_SHARED]
    exchanged = _exchanged(pair, roles1, roles2, shared)
    if exchanged or pair.agreement < LEAST_FOR_PLACES:
        return exchanged
    return _turned(pair, roles1, roles2, shared)


def _roles(reading: Reading) -> Mapping[str, Role]:
    """The role of each content word, and of each person, that stands in the text once."""
    roles: dict[str, Role] = {}
    twice: set[str] = set()
    preposition = ""
    for place, word in enumerate(reading.words):
        key = FIRST_PERSON.get(word.key, word.key)
        if word.key in PREPOSITIONS:
            preposition = word.key
        elif key in PERSONS or (key not in FUNCTION_WORDS and not key[0].isdigit()):
            if key in roles:
                twice.add(key)
            roles[key] = Role(word, preposition, place)
            if key in PERSONS:
                preposition = ""
        elif word.key not in SKIPPED:
            preposition = ""
    return {key: role for key, role in roles.items() if key not in twice}


def _exchanged(
    pair: Alignment, roles1: Mapping[str, Role], roles2: Mapping[str, Role], shared: Sequence[str]
) -> Difference | None:
    """Two words of which each has the other's preposition: "from A to B", "from B to A"."""
    moved = [key for key in shared if roles1[key].preposition != roles2[key].preposition]
    for one, other in combinations(moved, 2):
        first = roles1[one].preposition, roles1[other].preposition
        second = roles2[other].preposition, roles2[one].preposition
        if first != second or "by" in first:
            continue
        is_directed = frozenset(first) in DIRECTED
        if not is_directed and pair.agreement < LEAST_FOR_PLACES:
            continue
        if not is_directed and _is_turned_by_opposites(pair):
            continue
        return _reason(roles1, roles2, one, other, pair)
    return None


def _turned(
    pair: Alignment, roles1: Mapping[str, Role], roles2: Mapping[str, Role], shared: Sequence[str]
) -> Difference | None:
    """Two words on the two sides of a third that have changed sides: "A bites B", "B bites A"."""
    passive1 = _agent(pair.first)
    passive2 = _agent(pair.second)
    if passive1 is passive2 is None and _is_passive(pair.first) != _is_passive(pair.second):
        return None
    is_turned = (passive1 is None) != (passive2 is None)
    active, of_active, of_passive = pair.second, roles2, roles1
    if passive2:
        active, of_active, of_passive = pair.first, roles1, roles2
    bare = [key for key in shared if _is_bare(roles1[key], passive1)]
    bare = [key for key in bare if _is_bare(roles2[key], passive2)]
    if _is_turned_by_opposites(pair) or (not is_turned and _is_list(pair)):
        return None
    for one, other in combinations(bare, 2):
        before1 = roles1[one].place < roles1[other].place
        before2 = roles2[one].place < roles2[other].place
        if (before1 == before2) != is_turned or (is_turned and passive1 is passive2):
            continue
        if is_turned and not _is_patient(of_passive, passive1 or passive2, one, other):
            continue
        if is_turned and not _is_parted(active, of_active, one, other):
            continue  # "the book was written by Anna", "the book that Anna wrote"
        if is_turned or _is_across(roles1, roles2, bare, one, other):
            return _reason(roles1, roles2, one, other, pair)
    return None


def _is_bare(role: Role, agent: str | None) -> bool:
    return not role.preposition or (role.preposition == "by" and role.word.key == agent)


def _is_across(
    roles1: Mapping[str, Role],
    roles2: Mapping[str, Role],
    bare: Sequence[str],
    one: str,
    other: str,
) -> bool:
    """Whether a third word stands between the two in both texts."""
    for middle in bare:
        if middle not in (one, other):
            is_in_first = _is_between(roles1, middle, one, other)
            if is_in_first and _is_between(roles2, middle, one, other):
                return True
    return False


def _is_between(roles: Mapping[str, Role], middle: str, one: str, other: str) -> bool:
    low, high = sorted((roles[one].place, roles[other].place))
    return low <= roles[middle].place <= high


def _is_patient(roles: Mapping[str, Role], agent: str | None, one: str, other: str) -> bool:
    """Whether one of two words is the agent of a passive, and the other one stands before it."""
    if agent not in (one, other):
        return False
    patient = other if agent == one else one
    return roles[patient].place < roles[agent].place


def _is_parted(reading: Reading, roles: Mapping[str, Role], one: str, other: str) -> bool:
    """Whether a verb may stand between two words: any content word."""
    low, high = sorted((roles[one].place, roles[other].place))
    return not reading.content.isdisjoint(reading.keys[low + 1 : high])


def _agent(reading: Reading) -> str | None:
    """The agent of a passive: the first content word behind a participle and "by"; "pay by card" has none."""
    if "by" not in reading.keys:
        return None
    place = reading.keys.index("by")
    before = [word.lower for word in reading.words[:place]]
    begin = next((i for i, lower in enumerate(before) if lower in BEING | GETTING), place - 2)
    if not any(map(_is_participle, before[max(begin, 0) :])):
        return None
    for key in reading.keys[place + 1 :]:
        if key not in FUNCTION_WORDS or key in PERSONS or key in FIRST_PERSON:
            return FIRST_PERSON.get(key, key)
    return None


def _is_passive(reading: Reading) -> bool:
    """Whether a form of "be" stands right before a participle, or one word before it."""
    for place, word in enumerate(reading.words):
        if word.lower in BEING:
            following = reading.words[place + 1 : place + 3]
            if any(_is_participle(other.lower) for other in following):
                return True
    return False


def _is_participle(lower: str) -> bool:
    return lower in PARTICIPLES or lower.endswith(ENDINGS)


def _is_turned_by_opposites(pair: Alignment) -> bool:
    """Whether an opposite turns the roles back: "heavier than", "lighter than"."""
    keys2 = {word.key for word in pair.only2}
    return any(not keys2.isdisjoint(OPPOSITES.get(word.key, ())) for word in pair.only1)


def _is_list(pair: Alignment) -> bool:
    """Whether both texts join words, whose order may differ."""
    return not JOINING.isdisjoint(pair.first.keys) and not JOINING.isdisjoint(pair.second.keys)


def _reason(
    roles1: Mapping[str, Role], roles2: Mapping[str, Role], one: str, other: str, pair: Alignment
) -> Difference:
    words1 = sorted((roles1[one].word, roles1[other].word), key=lambda word: word.start)
    words2 = sorted((roles2[one].word, roles2[other].word), key=lambda word: word.start)
    said1 = " and ".join(pair.first.shown((word,)) for word in words1)
    said2 = " and ".join(pair.second.shown((word,)) for word in words2)
    return Difference("direction", said1, said2, spans(words1), spans(words2))
