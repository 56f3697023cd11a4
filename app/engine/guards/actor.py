"""Fires where somebody else acts, owns or is meant: a guest and a member, my password and my son's.

Persons and animals are known from a list; words of one meaning are one. "I", "you" and "one" are the same to it.
"""

from collections.abc import Mapping, Sequence

from app.engine.guards.alignment import Alignment
from app.engine.guards.difference import Difference
from app.engine.guards.reading import Reading, Word
from app.engine.guards.vocabulary import key_of
from app.engine.guards.word_lists import words

LEAST_AGREEMENT = 0.55  # unless one word alone stands in place of another
LEAST_FOR_OWNER = 0.66
LEAST_REORDERED = 0.8

OWN = words("i me my mine myself we us our ours ourselves own oneself")
PERSONS = words("""
    child adult baby toddler teenager teen boy girl man woman male female mother father parent
    son daughter brother sister wife husband spouse partner fiance grandmother grandfather
    grandparent grandchild grandson granddaughter uncle aunt cousin nephew niece family relative
    friend girlfriend boyfriend roommate flatmate housemate neighbour neighbor stranger guest
    visitor host member moderator admin administrator user reader author writer editor publisher
    owner tenant subtenant landlord caretaker buyer seller agent broker customer client supplier
    vendor carrier courier driver cyclist pedestrian passenger pilot sailor rider motorist
    employee employer boss colleague staff trainee apprentice intern contractor freelancer
    manager director worker volunteer teacher pupil student professor lecturer principal nurse
    doctor patient dentist surgeon vet pharmacist therapist psychologist optician midwife carer
    lawyer judge witness defendant plaintiff juror policeman police officer soldier veteran
    firefighter prisoner citizen foreigner immigrant refugee resident tourist native speaker
    beginner expert amateur professional left-hander hander vegan vegetarian athlete runner
    player goalkeeper referee coach captain pensioner senior widow widower orphan minor heir
    king queen duke prince bishop president minister mayor chef waiter cook baker farmer
    gardener plumber electrician porter engineer developer programmer designer translator
    accountant auditor secretary shareholder investor lender borrower creditor debtor donor
    recipient sender addressee subscriber follower insurer insured government dog cat horse cow
    pig goat sheep chicken hen duck bird parrot rabbit hamster guinea fish snake owl moth bee
    wasp ant spider wolf fox bear lion tiger elephant whale dolphin shark mouse rat
""")
IRREGULAR = {"child": "children", "man": "men", "woman": "women", "wife": "wives", "wolf": "wolves"}
# The first may be any of the others: a daughter is a child.
KINDS_OF = """
    child son daughter baby boy girl toddler teenager teen minor pupil student
    parent mother father
    adult man woman
    spouse wife husband partner fiance
    grandparent grandmother grandfather
    family relative parent child
    worker staff colleague nurse driver
    trainee apprentice intern student
    user member subscriber customer client visitor reader
    owner landlord
    customer buyer client guest
    seller vendor
    foreigner immigrant refugee tourist
    teacher professor lecturer coach
    player athlete
    doctor dentist surgeon
"""


def _forms() -> Mapping[str, str]:
    """For each form of a person's word, the form that it is compared by."""
    forms = {}
    for person in PERSONS:
        for form in (person, f"{person}s", f"{person}es", IRREGULAR.get(person, person)):
            forms[form] = key_of(person)
    return forms


def _alike() -> frozenset[frozenset[str]]:
    alike: set[frozenset[str]] = set()
    for line in KINDS_OF.strip().splitlines():
        first, *others = (key_of(word) for word in line.split())
        alike.update(frozenset((first, other)) for other in others)
    return frozenset(alike)


FORMS = _forms()
ALIKE = _alike()


def difference(pair: Alignment) -> Difference | None:
    """Whether the questions speak of two persons or animals, or one of them of another owner."""
    persons1 = _persons(pair.content1)
    persons2 = _persons(pair.content2)
    if not persons1 and not persons2:
        return None
    if persons1 and persons2:
        return _two(pair, persons1, persons2)
    if pair.agreement < (LEAST_REORDERED if pair.is_reordered else LEAST_FOR_OWNER):
        return None
    own1 = _own(pair.first, pair.only1, persons1)
    own2 = _own(pair.second, pair.only2, persons2)
    if persons1 and not own1 and (own2 or _is_owner(pair.first, persons1[0])):
        return Difference.of_words("actor", pair, persons1[:1], own2[:1])
    if persons2 and not own2 and (own1 or _is_owner(pair.second, persons2[0])):
        return Difference.of_words("actor", pair, own1[:1], persons2[:1])
    return None


def _two(pair: Alignment, persons1: Sequence[Word], persons2: Sequence[Word]) -> Difference | None:
    """Two persons of whom neither may be the other."""
    if not pair.is_substitution and pair.agreement < LEAST_AGREEMENT:
        return None
    keys1 = {FORMS[word.lower] for word in persons1}
    keys2 = {FORMS[word.lower] for word in persons2}
    if keys1 & keys2 or any(frozenset((a, b)) in ALIKE for a in keys1 for b in keys2):
        return None
    return Difference.of_words("actor", pair, persons1[:1], persons2[:1])


def _persons(content: Sequence[Word]) -> list[Word]:
    return [word for word in content if word.lower in FORMS]


def _own(reading: Reading, only: Sequence[Word], persons: Sequence[Word]) -> list[Word]:
    """The words of the first person that only one text has; "my" of "my mother" is none."""
    owned = {reading.words.index(person) - 1 for person in persons}
    return [word for word in only if word.key in OWN and reading.words.index(word) not in owned]


def _is_owner(reading: Reading, person: Word) -> bool:
    """Whether something is said to be a person's: "my son's password"."""
    return reading.text[person.start : person.end].endswith(("'s", "’s"))
