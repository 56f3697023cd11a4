"""The answer to a request for duplicates: findings, and the candidates in them."""

from dataclasses import dataclass, replace
from typing import Literal

from app.engine.asking import Phases
from app.engine.reasons import Reason
from app.engine.rulings import Ruling
from app.engine.scorer import Verdict
from app.engine.store import Copies, Question
from app.engine.verdicts import Judgement


@dataclass(frozen=True)
class Candidate:
    """An indexed text offered for an incoming one, the questions that it stands under, and the judgement of the two."""

    question: Question
    judgement: Judgement
    copies: Copies

    @property
    def id(self) -> str:
        return self.copies.ids[0]

    @property
    def ids(self) -> tuple[str, ...]:
        return self.copies.ids

    @property
    def id_count(self) -> int:
        return self.copies.count

    @property
    def text(self) -> str:
        return self.question.text

    @property
    def similarity(self) -> float:
        return self.judgement.similarity

    @property
    def probability(self) -> float:
        return self.judgement.probability

    @property
    def verdict(self) -> Verdict:
        return self.judgement.verdict

    @property
    def read(self) -> bool:
        return self.judgement.is_read

    @property
    def truncated(self) -> bool:
        return self.judgement.truncated2

    @property
    def reasons(self) -> tuple[Reason, ...]:
        return self.judgement.reasons

    @property
    def label(self) -> Ruling | None:
        return self.judgement.label

    def without_names(self) -> "Candidate":
        """The same, for those who are not to know who labels."""
        return replace(self, judgement=self.judgement.without_names())


@dataclass(frozen=True)
class Finding:
    """The answer for one incoming question: its best candidate's verdict, `different` being `new`."""

    question: str
    verdict: Literal["duplicate", "review", "new"]
    truncated: bool
    candidates: list[Candidate]


@dataclass(frozen=True)
class Findings:
    """The answer of `Find`: one finding for each question, all by one release at one revision."""

    release: str
    collection: str
    collection_key: int
    revision: int
    results: list[Finding]
    phases: Phases

    def without_names(self) -> "Findings":
        """The same, for those who are not to know who labels."""
        results = []
        for finding in self.results:
            nameless = [candidate.without_names() for candidate in finding.candidates]
            results.append(replace(finding, candidates=nameless))
        return replace(self, results=results)
