"""Labels in, rulings out: what the labels of a pair come to. The judge (`verdicts`) lets that overrule the model.

Where people contradict each other nothing is averaged: the verdict is `review` until one of them gives way. See
docs/decisions/0007.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.engine.scorer import Verdict
from app.engine.store import Label
from app.engine.text import DIGEST_BYTES, TextPair, digest


@dataclass(frozen=True)
class Ruling:
    """The latest label of a pair, and whether another person's says the opposite."""

    id: int
    is_duplicate: bool
    by: str
    at: str
    contradicted: bool

    @property
    def verdict(self) -> Verdict:
        """The verdict of the pair, whatever the model says."""
        if self.contradicted:
            return "review"
        return "duplicate" if self.is_duplicate else "different"

    @property
    def links(self) -> bool:
        """Whether one question must be offered for the other, even if no search finds it."""
        return self.verdict != "different"


def ruling(labels: Sequence[Label]) -> Ruling:
    """What the active labels of one pair come to; there is at least one, and one at most of each person."""
    latest = max(labels, key=lambda label: label.id)
    contradicted = any(label.is_duplicate != latest.is_duplicate for label in labels)
    return Ruling(latest.id, latest.is_duplicate, latest.by, latest.at, contradicted)


def rulings_of_pairs(labels: Mapping[TextPair, Sequence[Label]]) -> dict[TextPair, Ruling]:
    """For each pair of texts, from the active labels on it: the ruling."""
    return {pair: ruling(of_pair) for pair, of_pair in labels.items()}


def rulings(labels: Mapping[str, Sequence[Label]]) -> dict[str, dict[bytes, Ruling]]:
    """For each text, from the active labels on it: the rulings on its pairs, by the digest of the other question."""
    return {text: _by_other(digest(text), of_text) for text, of_text in labels.items()}


def _by_other(own: bytes, labels: Sequence[Label]) -> dict[bytes, Ruling]:
    by_other: dict[bytes, list[Label]] = {}
    for label in labels:
        first, second = label.pair[:DIGEST_BYTES], label.pair[DIGEST_BYTES:]
        other = second if first == own else first
        by_other.setdefault(other, []).append(label)
    return {other: ruling(of_pair) for other, of_pair in by_other.items()}
