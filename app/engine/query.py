"""One request for duplicates: its question, and the bounds on reading for it and on its answer."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from app.engine.models.tokens import Tokens
from app.engine.sizes import fit
from app.engine.store import Question, Store
from app.errors import AnswerTooLarge, FieldError, InvalidRequest

READ_AT_ONCE = 256  # questions that were hit
READ_SHARE = (
    2  # times the bytes of an answer that may be read for it: twice `top_k` may be looked at
)


Verify = Literal["auto", "always", "never"]


@dataclass(frozen=True)
class Query:
    """Texts to find duplicates of in a collection: at most `top_k` candidates for each.

    `verify` says which candidates the pair classifier reads: the nearest, all, or none.
    """

    texts: Sequence[str]
    collection: str
    top_k: int
    exclude_ids: Sequence[str]
    verify: Verify


@dataclass(frozen=True)
class Bounds:
    """How many candidates of a text the pair classifier reads at most, unless told always; the bytes of the texts that
    a request is answered with; the tokens that the models read for it."""

    verify_depth: int = 0
    max_answer_bytes: int = 8 * 2**20
    max_tokens: int = 65_536

    def tokens(self, field: str) -> "TokenBudget":
        """The tokens of one request whose texts stand in this field."""
        return TokenBudget(self.max_tokens, field)

    def read(self, store: Store, key: int, revisions: Sequence[int]) -> dict[int, Question]:
        """The collection's questions with these revisions, as `Questions.read` gives them, some at a time.

        Raises AnswerTooLarge when they are more than an answer can hold.
        """
        distinct = list(dict.fromkeys(revisions))
        questions: dict[int, Question] = {}
        for start in range(0, len(distinct), READ_AT_ONCE):
            questions |= store.questions.read(key, distinct[start : start + READ_AT_ONCE])
            if not self.may_read({question.text for question in questions.values()}):
                raise AnswerTooLarge(self.max_answer_bytes)
        return questions

    def may_read(self, distinct_texts: Collection[str]) -> bool:
        """Whether these texts are no more than may be read for an answer; copies of one are one candidate."""
        return fit(distinct_texts, READ_SHARE * self.max_answer_bytes)

    def refuse_if_large(self, questions: Sequence[Question]) -> None:
        """Raise AnswerTooLarge if the texts of these questions are more than an answer may hold."""
        if not fit([question.text for question in questions], self.max_answer_bytes):
            raise AnswerTooLarge(self.max_answer_bytes)


class TokenBudget:
    """The tokens that the models may still read for one request. `field` is the field that holds its texts."""

    def __init__(self, max_tokens: int, field: str) -> None:
        self._max_tokens = max_tokens
        self._field = field
        self._spent = 0

    def spend(self, tokens: Sequence[Tokens]) -> None:
        """Raise InvalidRequest if these are too many."""
        self._spent += sum(of_text.count for of_text in tokens)
        if self._spent > self._max_tokens:
            why = f"has {self._spent:,} tokens; at most {self._max_tokens:,}"
            raise InvalidRequest(FieldError(self._field, f"{why} (SAMEASK_MAX_REQUEST_TOKENS)"))

    def spend_on_first(self, tokens: Sequence[Tokens]) -> int:
        """The number of these that the budget is enough for, from the first on."""
        for place, of_text in enumerate(tokens):
            if self._spent + of_text.count > self._max_tokens:
                return place
            self._spent += of_text.count
        return len(tokens)
