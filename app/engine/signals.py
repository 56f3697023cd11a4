"""Two texts in; out come the signals of what a release's models can't tell, which no score shows.

A verdict is `review` at most where the texts differ and the model sees no difference. So it is where the model has not
read them to their end.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from app.engine.models.encoder import Encoder
from app.engine.models.pair_classifier import PairClassifier
from app.engine.models.tokens import Span, TextTokens
from app.engine.text import without_ends
from app.engine.text_form import readable

Spans = tuple[Span, ...]
MOST_SPANS = 50  # of what can't be read, in each text: a person looks at no more, and a text may hold thousands


@dataclass(frozen=True, slots=True)
class Signals:
    """The signals of a pair, which no score shows. `cut1` and `cut2` are the places that are not read, if there are
    any.

    `is_unreadable`: the texts differ where the model sees no difference, at `unread1` and `unread2`, as far as these
    places are known. `unknown_share` is the share of tokens that stand for what the model can't read, in the text that
    has more of them.
    """

    max_tokens: int = 0  # of the model that cuts
    cut1: Span | None = None
    cut2: Span | None = None
    is_unreadable: bool = False
    unread1: Spans = ()
    unread2: Spans = ()
    unknown_share: float = 0.0

    @property
    def is_cut(self) -> bool:
        """Whether one of the texts is not read to its end."""
        return self.cut1 is not None or self.cut2 is not None

    @property
    def is_doubt(self) -> bool:
        """Whether nobody should call the texts the same by what was read of them."""
        return self.is_unreadable or self.is_cut


NOTHING = Signals()


class Reader:
    """The tokenizers of a release's models. Safe from any thread."""

    def __init__(self, encoder: Encoder, classifier: PairClassifier | None) -> None:
        self._encoder = encoder
        self._classifier = classifier

    def cuts(self, one: str, other: str, *, is_read: bool) -> Signals:
        """The parts cut off of the two, and no other signal."""
        cut1, cut2, max_tokens = self._cuts(one, other, is_read=is_read)
        if cut1 is None and cut2 is None:
            return NOTHING
        placed1 = placed(cut1, readable(one), one)
        return Signals(max_tokens, placed1, placed(cut2, readable(other), other))

    def signals(self, one: str, other: str, *, is_read: bool) -> Signals:
        """All signals of the two, by the model that judges them: the pair classifier where it has read them."""
        model = self._classifier if self._classifier and is_read else self._encoder
        first = model.see(one)
        second = model.see(other)
        cut1, cut2, max_tokens = self._cuts(one, other, is_read=is_read)
        shares = [len(seen.unknown) / max(1, len(seen.ids)) for seen in (first, second)]
        is_unreadable = looks_equal(first, second)
        return Signals(
            max_tokens=max_tokens,
            cut1=placed(cut1, first.form, one),
            cut2=placed(cut2, second.form, other),
            is_unreadable=is_unreadable,
            unread1=_unread(first, second, one) if is_unreadable else (),
            unread2=_unread(second, first, other) if is_unreadable else (),
            unknown_share=max(shares),
        )

    def _cuts(self, one: str, other: str, *, is_read: bool) -> tuple[Span | None, Span | None, int]:
        """What is cut off, in the texts' forms, and the tokens that the model reads which cuts it."""
        if self._classifier and is_read:
            cut1, cut2 = self._classifier.unread((one, other))
            if cut1 or cut2:
                return cut1, cut2, self._classifier.max_tokens or 0
        return self._encoder.unread(one), self._encoder.unread(other), self._encoder.max_tokens or 0


def looks_equal(one: TextTokens, other: TextTokens) -> bool:
    """Whether two texts differ where a model sees no difference.

    Either all of their tokens are the same and they are not, white space and letter case aside; or they hold other
    characters that it can't read.
    """
    if one.unknown_words != other.unknown_words:
        return True
    return one.ids == other.ids and _squeezed(one.form) != _squeezed(other.form)


def _squeezed(form: str) -> str:
    return "".join(form.casefold().split())


def _unread(own: TextTokens, other: TextTokens, text: str) -> Spans:
    """Where a text holds what the model can't read and the other text lacks, or where its words are not the other's.

    The first places alone, where there are many.
    """
    if own.unknown_words != other.unknown_words:
        words = _lacking(own, other)
    else:
        known = set(other.form.casefold().split())
        words = (without_ends(w) for w in own.form.split() if w.casefold() not in known)
    return _found(islice(words, MOST_SPANS), text)


def _lacking(own: TextTokens, other: TextTokens) -> Iterator[str]:
    """The words that the model can't read, without as many of each as the other text has."""
    left = Counter(other.unknown_words)
    for start, end in own.unknown:
        word = own.form[start:end]
        if left[word.casefold()] > 0:
            left[word.casefold()] -= 1
        else:
            yield word


def _found(words: Iterable[str], text: str) -> Spans:
    """The places of words of a text's form in the text, in order; a word that is written otherwise there has none."""
    spans = []
    start = 0
    for word in words:
        at = text.find(word, start)
        if at >= 0:
            start = at + len(word)
            spans.append((at, start))
    return tuple(spans)


def placed(span: Span | None, form: str, text: str) -> Span | None:
    """About where a place in a text's form, up to its end or from its beginning, lies in the text itself."""
    if span is None:
        return None
    start = min(span[0], len(text))
    end = min(span[1], len(text))
    return (start, len(text)) if span[1] >= len(form) else (start, max(start, end))
