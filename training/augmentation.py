"""Labelled pairs in, more of them out: pairs made from others by rule, in which a small word decides. Models that learn
from pairs as people label them take questions that share most words for duplicates, whatever the other words are
("PAWS", Zhang, Baldridge and He, 2019). Each rule changes one thing, and knows the label that follows.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from training.pairs import LabelledPair

WORD = re.compile(r"[^\W\d_]{4,}")
NUMBER = re.compile(r"(?<![\w.])\d{1,6}(?![\w.]*\d)")
RARE_SHARE = 0.001  # of the questions that a name, a product or a topic may stand in
SUBJECT = r"(?:i|you|we|they|he|she|it|people|someone|one|there)"
AUXILIARY = re.compile(
    rf"\b(?:do|does|did|can|could|should|would|will|is|are|was|were|am) {SUBJECT}\b",
    re.IGNORECASE,
)
NEGATION = re.compile(r"\b(?:not|never|no|without)\b|n't\b", re.IGNORECASE)
DIRECTION = re.compile(
    r"\bfrom (\w+(?: \w+)?) to (\w+(?: \w+)?)\b|\b(\w+) (?:instead of|rather than|better than|into) (\w+)\b"
)
# Words on both sides of these may change places, and the question stays the same.
SYMMETRIC = re.compile(r"\b(?:and|or|vs|versus|between)\b|[,/&]", re.IGNORECASE)
_OPPOSITES = """
    enable disable, increase decrease, before after, buy sell, import export, start stop, open close, add remove,
    best worst, gain lose, first last, minimum maximum, with without, login logout, install uninstall,
    upgrade downgrade, accept reject, more less, higher lower, hot cold, male female, old young, rich poor,
    upload download, private public, left right
"""


def _both_ways(pairs: str) -> dict[str, str]:
    """Each word of the pairs, with the other word of its pair."""
    words: dict[str, str] = {}
    for pair in pairs.split(","):
        one, other = pair.split()
        words[one] = other
        words[other] = one
    return words


OPPOSITES: Mapping[str, str] = _both_ways(_OPPOSITES)
OPPOSITE = re.compile(rf"\b(?:{'|'.join(OPPOSITES)})\b")

Rule = Callable[["Augmentation", LabelledPair], LabelledPair | None]


@dataclass(frozen=True)
class Augmentation:
    """The sources of the rules: chance, and the rare words of the questions."""

    chances: random.Random
    rare: Sequence[str]
    is_rare: frozenset[str]

    def renamed(self, pair: LabelledPair) -> LabelledPair | None:
        """The same other word on both sides, for a rare one that stands on both: the label stays."""
        word = self._shared(WORD, pair)
        if word is None:
            return None
        other = self._another(word)
        first = _put(word, other, pair.question1)
        second = _put(word, other, pair.question2)
        return LabelledPair(first, second, pair.is_duplicate)

    def other_entity(self, pair: LabelledPair) -> LabelledPair | None:
        """Another rare word on one side of a duplicate: no duplicate any more."""
        word = self._shared(WORD, pair) if pair.is_duplicate else None
        if word is None:
            return None
        return _different(pair, _put(word, self._another(word), pair.question1))

    def other_number(self, pair: LabelledPair) -> LabelledPair | None:
        """Another number on one side of a duplicate."""
        number = self._shared(NUMBER, pair) if pair.is_duplicate else None
        if number is None:
            return None
        near = [int(number) + step for step in STEPS]
        positive = [value for value in near if value > 0]
        other = str(self.chances.choice(positive))
        return _different(pair, _put(number, other, pair.question1))

    def negated(self, pair: LabelledPair) -> LabelledPair | None:
        """A negation on one side of a duplicate in which there was none."""
        is_negated = NEGATION.search(pair.question1) or NEGATION.search(pair.question2)
        if not pair.is_duplicate or is_negated:
            return None
        text, count = AUXILIARY.subn(r"\g<0> not", pair.question1, count=1)
        return _different(pair, text) if count else None

    def opposite(self, pair: LabelledPair) -> LabelledPair | None:
        """A word's opposite on one side of a duplicate."""
        word = OPPOSITE.search(pair.question1)
        if not pair.is_duplicate or not word:
            return None
        before = pair.question1[: word.start()]
        after = pair.question1[word.end() :]
        return _different(pair, before + OPPOSITES[word[0]] + after)

    def turned(self, pair: LabelledPair) -> LabelledPair | None:
        """The two ends of a direction or a comparison exchanged, on one side of a duplicate."""
        direction = DIRECTION.search(pair.question1)
        if not pair.is_duplicate or not direction:
            return None
        one, other = (group for group in (1, 2, 3, 4) if direction[group])
        if direction[one].lower() == direction[other].lower():
            return None
        turned = _exchanged(pair.question1, direction.span(one), direction.span(other))
        return _different(pair, turned)

    def swapped(self, pair: LabelledPair) -> LabelledPair | None:
        """A question, and itself with two of its rare words exchanged: the same words, and something else."""
        text = pair.question1
        places = [word for word in WORD.finditer(text) if word[0].lower() in self.is_rare]
        if len(places) < 2 or SYMMETRIC.search(text):
            return None
        drawn = self.chances.sample(places, 2)
        first, second = sorted(word.span() for word in drawn)
        made = _exchanged(text, first, second)
        if made == text:
            return None
        return LabelledPair(made, text, is_duplicate=False)

    def same_words(self, pair: LabelledPair) -> LabelledPair | None:
        """A pair of the same words in another order, once more: rare among labelled pairs, and the hardest."""
        first = sorted(re.findall(r"\w+", pair.question1.lower()))
        second = sorted(re.findall(r"\w+", pair.question2.lower()))
        return pair if first == second else None

    def careless(self, pair: LabelledPair) -> LabelledPair | None:
        """One side typed in haste: no capitals, no question mark, two letters exchanged."""
        text = re.sub(r"[?.!,]", "", pair.question1).lower()
        if len(text) < 8:
            return None
        place = self.chances.randrange(1, len(text) - 2)
        typed = _exchanged(text, (place, place + 1), (place + 1, place + 2))
        return replace(pair, question1=typed) if typed != pair.question2 else None

    def _shared(self, pattern: re.Pattern[str], pair: LabelledPair) -> str | None:
        """A match of the pattern that both sides have; of words, a rare one."""
        first = set(pattern.findall(pair.question1))
        shared = sorted(first.intersection(pattern.findall(pair.question2)))
        if pattern is WORD:
            shared = [word for word in shared if word.lower() in self.is_rare]
        return self.chances.choice(shared) if shared else None

    def _another(self, word: str) -> str:
        other = self.chances.choice(self.rare)
        return other.capitalize() if word[0].isupper() else other


TRIES = 50  # pairs that are looked at for one that a rule can change
STEPS = (-2, -1, 1, 2, 10)  # from a number to another one
RULES: Sequence[Rule] = (
    Augmentation.renamed,
    Augmentation.other_entity,
    Augmentation.other_number,
    Augmentation.negated,
    Augmentation.opposite,
    Augmentation.turned,
    Augmentation.swapped,
    Augmentation.careless,
    *[Augmentation.same_words] * 4,
)


def augmented(pairs: Sequence[LabelledPair], share: float, seed: int) -> list[LabelledPair]:
    """New pairs, at most `share` times as many as there are, each made by a rule from a pair; the seed draws both."""
    chances = random.Random(seed)
    rare = _rare_words(pairs)
    rules = Augmentation(chances, rare, frozenset(rare))
    made: list[LabelledPair] = []
    for _ in range(round(share * len(pairs))):
        rule = chances.choice(RULES)
        pair = _first_changed(rule, rules, chances.choices(pairs, k=TRIES))
        if pair:
            made.append(pair)
    return made


def _first_changed(
    rule: Rule, rules: Augmentation, pairs: Sequence[LabelledPair]
) -> LabelledPair | None:
    """The first of the pairs that the rule can change, changed; half of them are turned round first."""
    for pair in pairs:
        if rules.chances.random() >= 0.5:
            pair = LabelledPair(pair.question2, pair.question1, pair.is_duplicate)
        made = rule(rules, pair)
        if made:
            return made
    return None


def _rare_words(pairs: Sequence[LabelledPair]) -> list[str]:
    counts: Counter[str] = Counter()
    for pair in pairs:
        for text in pair.texts:
            counts.update(set(WORD.findall(text.lower())))
    most = RARE_SHARE * 2 * len(pairs)
    return sorted(word for word, count in counts.items() if count <= most)


def _different(pair: LabelledPair, changed: str) -> LabelledPair:
    return LabelledPair(changed, pair.question2, is_duplicate=False)


def _put(old: str, new: str, text: str) -> str:
    """The text with the new word for the old one, wherever it stands by itself."""
    return re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", new, text)


def _exchanged(text: str, first: tuple[int, int], second: tuple[int, int]) -> str:
    """The text with two of its spans (start, end) exchanged."""
    start1, end1 = first
    start2, end2 = second
    before = text[:start1]
    between = text[end1:start2]
    behind = text[end2:]
    return before + text[start2:end2] + between + text[start1:end1] + behind
