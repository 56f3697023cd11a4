"""Fires where the questions ask for something else about the same: why and how, when and where, whether and how much.

The kind is that of the last sentence with a question mark, or of the text. How and what are not told apart: "what is
the way to" asks how. Indirect questions ("could you tell me where") have the kind of the question inside.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.engine.guards.alignment import Alignment
from app.engine.guards.difference import Difference, spans
from app.engine.guards.reading import Reading, Word
from app.engine.guards.vocabulary import FUNCTION_WORDS, key_of
from app.engine.guards.word_lists import words

LEAST_AGREEMENT = 0.5
LEAST_FOR_LOOSE = 0.85  # for kinds that may ask the same in other words

QUESTION_WORDS = words("how why where when who whom whose which what")
AUXILIARIES = words("""
    am is are was were do does did have has had will would shall should can could may might must need
""")
ASKED_AFTER = AUXILIARIES | words("to not else exactly")
PREPOSITIONS = words("at in on by for of to from since until with under after before")
TELLING = words(
    "know tell idea explain wonder wondering say show see out sure ask asked understand"
)
# Persons behind the first word of an indirect question: "do you know where". With other words, it asks whether.
ASKED_POLITELY = words("i you we anyone anybody someone somebody there it any")
DEGREES = {
    "much": "how much",
    "many": "how much",
    "long": "how long",
    "often": "how often",
    "far": "how far",
    "old": "how old",
    "big": "how big",
    "large": "how big",
}
# The thing asked for, by a word behind "what" or "which", where it is one of the first words there.
NOUNS_OF = {
    "why": "reason cause make stop prevent why",
    "how much": "price cost fee capacity number",
    "how old": "age",
    "how far": "distance",
    "how long": "duration",
    "how big": "size",
    "when": "time year day date month deadline",
    "where": "place spot city country address",
    "who": "person",
    "how": "way step method",
}
NOUNS = {key_of(noun): kind for kind, nouns in NOUNS_OF.items() for noun in nouns.split()}
# Degrees that are asked for; "how" before another adjective asks how it is so.
ADJECTIVES = words("""
    early soon late high tall deep wide heavy hard difficult easy safe dangerous good bad fast quick quickly likely
    common important strong loud hot cold warm expensive cheap
""")
LOOSE_KINDS = words("what which whether")  # with which much can be asked
# Kinds that often ask the same.
ALIKE = {
    frozenset(pair)
    for pair in (
        ("what", "who"),
        ("what", "how"),
        ("what", "how much"),
        ("what", "how big"),
        ("what", "which"),
        ("which", "who"),
        ("which", "how"),
        ("which", "when"),
    )
}
# Kinds that may ask the same, unless nothing else differs.
LOOSE = {
    frozenset(pair)
    for pair in (
        ("how", "where"),
        ("how", "when"),
        ("how", "how much"),
        ("how", "how often"),
        ("how long", "when"),
        ("how long", "how early"),
        ("how often", "when"),
        ("why", "how"),
        ("how far", "where"),
        ("how far", "how much"),
        ("how early", "when"),
        ("how soon", "when"),
        ("how late", "when"),
        ("how long", "how much"),
        ("how often", "how much"),
        ("how big", "how much"),
    )
}


@dataclass(frozen=True, slots=True)
class Kind:
    """The kind of a question, and the words that tell it."""

    name: str
    words: Sequence[Word]


def difference(pair: Alignment) -> Difference | None:
    """Whether the questions are of two kinds."""
    if pair.agreement < LEAST_AGREEMENT:
        return None
    one = kind_of(pair.first)
    other = kind_of(pair.second)
    if one is None or other is None or one.name == other.name:
        return None
    kinds = frozenset((one.name, other.name))
    if kinds in ALIKE:
        return None
    is_loose = not LOOSE_KINDS.isdisjoint(kinds) or kinds in LOOSE
    if is_loose and pair.agreement < LEAST_FOR_LOOSE:
        return None
    return Difference("question", one.name, other.name, spans(one.words), spans(other.words))


def kind_of(reading: Reading) -> Kind | None:
    """The kind of a question; None for a statement."""
    words_ = _asking(reading)
    if not words_:
        return None
    begins_with_auxiliary = words_[0].key in AUXILIARIES
    if not begins_with_auxiliary or (len(words_) > 1 and words_[1].lower in ASKED_POLITELY):
        for place, word in enumerate(words_):
            if word.key in QUESTION_WORDS and _asks(words_, place):
                return _kind(words_, place)
    if begins_with_auxiliary:
        if {"way", "possible"} & {word.lower for word in words_[:4]}:
            return None
        return Kind("whether", words_[:1])
    return None


def _asking(reading: Reading) -> Sequence[Word]:
    """The words of the last sentence that ends with a question mark, or of the whole text."""
    text = reading.text
    if text.count("?") > 1:
        return ()
    end = text.rfind("?")
    if end < 0:
        return reading.words
    start = max(text.rfind(mark, 0, end) for mark in ".?!\n")
    inside = [word for word in reading.words if start < word.start < end]
    return inside or reading.words


def _asks(sentence: Sequence[Word], place: int) -> bool:
    """Whether a question word asks, and is no relative ("the app which", "when I pay, ...")."""
    word = sentence[place]
    before = [other.lower for other in sentence[max(0, place - 2) : place]]
    if not before and word.key in ("when", "where"):  # "When I pay, ..."
        return len(sentence) < 2 or sentence[place + 1].key in ASKED_AFTER
    if not before or word.key in ("how", "why", "what"):
        return True
    if before[-1] in TELLING or (len(before) > 1 and before[-2] in TELLING):
        return True
    return len(before) == 1 and before[0] in PREPOSITIONS


def _kind(sentence: Sequence[Word], place: int) -> Kind:
    word = sentence[place]
    following = sentence[place + 1 : place + 7]
    said = sentence[place : place + 1]
    if word.key == "how" and following:
        return _how(said, following)
    if word.key in ("what", "which"):
        if noun := _noun(following):
            return Kind(NOUNS[noun.key], (*said, noun))
        if following and following[-1].key == "for" and len(following) < 6:
            return Kind("what", said)
    if word.key in ("who", "whom", "whose"):
        return Kind("who", said)
    return Kind(word.key, said)


def _noun(following: Sequence[Word]) -> Word | None:
    """The noun behind "what" or "which" that names the thing asked for: "which year", "what is the best way"."""
    for word in following:
        if word.key in NOUNS:
            return word
        if word.key not in FUNCTION_WORDS and word.lower not in ("best", "right", "exact", "main"):
            return None
    return None


def _how(said: Sequence[Word], following: Sequence[Word]) -> Kind:
    first = following[0]
    if first.lower == "come" or [other.lower for other in following[:3]] == ["is", "it", "that"]:
        return Kind("why", (*said, first))
    if name := DEGREES.get(first.lower):
        return Kind(name, (*said, first))
    if first.lower in ADJECTIVES:
        return Kind(f"how {first.lower}", (*said, first))
    return Kind("how", said)
