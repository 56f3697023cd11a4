"""Labelled pairs in, more of them out: pairs made from others by rule, in which a small word decides.

Models that learn from pairs as people label them take questions that share most words for duplicates, whatever the
rest says ("PAWS", Zhang, Baldridge and He, 2019). Each rule changes one thing, and knows what that does to the label.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from training.pairs import LabelledPair

WORD = re.compile(r"[^\W\d_]{4,}")
NUMBER = re.compile(r"(?<![\w.])\d{1,6}(?![\w.]*\d)")
RARE_SHARE = (
    0.001  # of the questions that a word may stand in and still be a name, a product, a topic
)
SUBJECT = r"(?:i|you|we|they|he|she|it|people|someone|one|there)"
AUXILIARY = re.compile(
    rf"\b(?:do|does|did|can|could|should|would|will|is|are|was|were|am) {SUBJECT}\b", re.IGNORECASE
)
NEGATION = re.compile(r"\b(?:not|never|no|without)\b|n't\b", re.IGNORECASE)
DIRECTION = re.compile(
    r"\bfrom (\w+(?: \w+)?) to (\w+(?: \w+)?)\b|\b(\w+) (?:instead of|rather than|better than|into) (\w+)\b"
)
SYMMETRIC = re.compile(
    r"\b(?:and|or|vs|versus|between)\b|[,/&]", re.IGNORECASE
)  # what stands there may change places
OPPOSITES: Mapping[str, str] = {
    one: other
    for pair in (
        *(
            "enable disable",
            "increase decrease",
            "before after",
            "buy sell",
            "import export",
            "start stop",
        ),
        *(
            "open close",
            "add remove",
            "best worst",
            "gain lose",
            "first last",
            "minimum maximum",
            "with without",
        ),
        *(
            "login logout",
            "install uninstall",
            "upgrade downgrade",
            "accept reject",
            "more less",
            "higher lower",
        ),
        *(
            "hot cold",
            "male female",
            "old young",
            "rich poor",
            "upload download",
            "private public",
            "left right",
        ),
    )
    for one, other in (pair.split(), pair.split()[::-1])
}
OPPOSITE = re.compile(rf"\b(?:{'|'.join(OPPOSITES)})\b")

Rule = Callable[["Augmentation", LabelledPair], LabelledPair | None]


@dataclass(frozen=True)
class Augmentation:
    """What the rules draw from: chance, and the rare words of the questions."""

    chances: random.Random
    rare: Sequence[str]
    is_rare: frozenset[str]

    def renamed(self, pair: LabelledPair) -> LabelledPair | None:
        """The same other word on both sides, for a rare one that stands on both: as much a duplicate as before."""
        if word := self._shared(WORD, pair):
            other = self._another(word)
            return LabelledPair(
                _put(word, other, pair.question1),
                _put(word, other, pair.question2),
                pair.is_duplicate,
            )
        return None

    def other_entity(self, pair: LabelledPair) -> LabelledPair | None:
        """Another rare word on one side of a duplicate: no duplicate any more."""
        if pair.is_duplicate and (word := self._shared(WORD, pair)):
            return _different(pair, _put(word, self._another(word), pair.question1))
        return None

    def other_number(self, pair: LabelledPair) -> LabelledPair | None:
        """Another number on one side of a duplicate."""
        if pair.is_duplicate and (number := self._shared(NUMBER, pair)):
            near = {int(number) + step for step in (-2, -1, 1, 2, 10) if int(number) + step > 0}
            return _different(
                pair, _put(number, str(self.chances.choice(sorted(near))), pair.question1)
            )
        return None

    def negated(self, pair: LabelledPair) -> LabelledPair | None:
        """A negation on one side of a duplicate in which there was none."""
        if (
            not pair.is_duplicate
            or NEGATION.search(pair.question1)
            or NEGATION.search(pair.question2)
        ):
            return None
        text, count = AUXILIARY.subn(lambda found: f"{found[0]} not", pair.question1, count=1)
        return _different(pair, text) if count else None

    def opposite(self, pair: LabelledPair) -> LabelledPair | None:
        """A word's opposite on one side of a duplicate."""
        if not pair.is_duplicate or not (found := OPPOSITE.search(pair.question1)):
            return None
        start, end = found.span()
        return _different(pair, pair.question1[:start] + OPPOSITES[found[0]] + pair.question1[end:])

    def turned(self, pair: LabelledPair) -> LabelledPair | None:
        """The two ends of a direction or a comparison exchanged, on one side of a duplicate."""
        if not pair.is_duplicate or not (found := DIRECTION.search(pair.question1)):
            return None
        one, other = (group for group in (1, 2, 3, 4) if found[group])
        if found[one].lower() == found[other].lower():
            return None
        text, (a, b), (c, d) = pair.question1, found.span(one), found.span(other)
        return _different(pair, text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:])

    def swapped(self, pair: LabelledPair) -> LabelledPair | None:
        """A question, and itself with two of its rare words exchanged: the same words, and something else."""
        places = [
            found for found in WORD.finditer(pair.question1) if found[0].lower() in self.is_rare
        ]
        if len(places) < 2 or SYMMETRIC.search(pair.question1):
            return None
        first, second = sorted(self.chances.sample(places, 2), key=lambda found: found.start())
        text, (a, b), (c, d) = pair.question1, first.span(), second.span()
        made = text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:]
        return LabelledPair(made, text, is_duplicate=False) if made != text else None

    def same_words(self, pair: LabelledPair) -> LabelledPair | None:
        """A pair of the same words in another order, once more: rare among what people label, and the hardest."""
        first, second = (
            sorted(re.findall(r"\w+", text.lower())) for text in (pair.question1, pair.question2)
        )
        return pair if first == second else None

    def careless(self, pair: LabelledPair) -> LabelledPair | None:
        """One side typed in haste: no capitals, no question mark, two letters exchanged."""
        text = re.sub(r"[?.!,]", "", pair.question1).lower()
        if len(text) < 8:
            return None
        place = self.chances.randrange(1, len(text) - 2)
        text = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
        return replace(pair, question1=text) if text != pair.question2 else None

    def _shared(self, pattern: re.Pattern[str], pair: LabelledPair) -> str | None:
        """Something that the pattern finds on both sides; of words, a rare one."""
        found = sorted(set(pattern.findall(pair.question1)) & set(pattern.findall(pair.question2)))
        if pattern is WORD:
            found = [word for word in found if word.lower() in self.is_rare]
        return self.chances.choice(found) if found else None

    def _another(self, word: str) -> str:
        other = self.chances.choice(self.rare)
        return other.capitalize() if word[0].isupper() else other


TRIES = 50  # pairs that are looked at for one that a rule can change
RULES: Sequence[Rule] = (
    *(
        Augmentation.renamed,
        Augmentation.other_entity,
        Augmentation.other_number,
        Augmentation.negated,
    ),
    *(Augmentation.opposite, Augmentation.turned, Augmentation.swapped, Augmentation.careless),
    *[Augmentation.same_words] * 4,
)


def augmented(pairs: Sequence[LabelledPair], share: float, seed: int) -> list[LabelledPair]:
    """New pairs, at most `share` times as many as there are, each made by a rule from a pair; the seed draws both."""
    chances = random.Random(seed)
    counts = Counter(
        word
        for pair in pairs
        for text in (pair.question1, pair.question2)
        for word in set(WORD.findall(text.lower()))
    )
    rare = sorted(word for word, count in counts.items() if count <= RARE_SHARE * 2 * len(pairs))
    rules = Augmentation(chances, rare, frozenset(rare))
    found: list[LabelledPair] = []
    for _ in range(round(share * len(pairs))):
        rule = chances.choice(RULES)
        for pair in chances.choices(pairs, k=TRIES):
            turned = (
                pair
                if chances.random() < 0.5
                else replace(pair, question1=pair.question2, question2=pair.question1)
            )
            if made := rule(rules, turned):
                found.append(made)
                break
    return found


def _different(pair: LabelledPair, changed: str) -> LabelledPair:
    return LabelledPair(changed, pair.question2, is_duplicate=False)


def _put(old: str, new: str, text: str) -> str:
    return re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", new, text)
