"""One distinct text of a request for duplicates, and the results for it by now."""

from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.engine.rulings import Ruling, ruling_on
from app.engine.store import Label, Question
from app.engine.text import Words

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Near:
    """A stored question to judge an asked text with, and how similar the two are."""

    question: Question
    similarity: float


@dataclass(eq=False)
class Asked:
    """One distinct text of a request, and all that is known of it by now."""

    words: Words
    place: str  # of the field that holds it
    exact: list[Question] = field(default_factory=list)  # of each stored text of the same words
    disputed: set[int] = field(default_factory=set)  # revisions of those that people disagree on
    labels: Mapping[bytes, Sequence[Label]] = field(default_factory=dict)  # by the other's `loose`
    truncated: bool = False
    vector: Vectors | None = None
    links: list[Near] = field(default_factory=list)  # texts that labels link to it
    near: list[Near] = field(default_factory=list)  # all that are judged
    logits: dict[int, float] = field(default_factory=dict)  # of those that were read, by place

    @property
    def linked(self) -> list[bytes]:
        """The loose digests of questions that labels may link to it."""
        linked = []
        for other, labels in self.labels.items():
            if any(label.is_duplicate for label in labels):
                linked.append(other)
        return linked

    @property
    def near_questions(self) -> list[Question]:
        """The questions that it is judged with, in their order."""
        return [near.question for near in self.near]

    def ruling(self, question: Question) -> Ruling | None:
        """People's ruling on it and the question."""
        labels = self.labels.get(question.loose)
        return ruling_on(self.words, question, labels) if labels else None

    def is_linked_to(self, question: Question) -> bool:
        """Whether people called the two duplicates, and nobody lately the opposite."""
        ruling = self.ruling(question)
        return ruling is not None and ruling.links

    def add_same_words(self, question: Question, most: int) -> bool:
        """Add a stored question of the same visible words to the exact ones, unless somebody calls it different.
        Whether it was added. Of each text the oldest stays, `most` texts: those that nobody disputes first, of these
        the same bytes, then the oldest."""
        ruling = self.ruling(question)
        if ruling and not ruling.links:
            return False
        if ruling and ruling.contradicted:
            self.disputed.add(question.revision)
        is_full = len(self.exact) >= most
        if is_full and self._rank(question) > self._rank(self.exact[-1]):
            return False
        for place, known in enumerate(self.exact):
            if known.text == question.text:
                if known.revision <= question.revision:
                    return False
                del self.exact[place]
                break
        insort(self.exact, question, key=self._rank)
        del self.exact[most:]
        return True

    def _rank(self, question: Question) -> tuple[bool, bool, int]:
        is_disputed = question.revision in self.disputed
        return is_disputed, question.text != self.words.text, question.revision
