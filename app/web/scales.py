"""Thresholds as the ticks of a bar, and the promise in words. No verdict is made here."""

from dataclasses import dataclass

from app.web.page import Page
from app.web.templates import precision


@dataclass(frozen=True)
class Marks:
    """Probabilities from which `review` and `duplicate` are said; no such one for `duplicate`: None.

    `target` is the precision that `duplicate` is to hold; `is_own`: by labels of the collection itself.
    """

    review: float
    duplicate: float | None
    target: float
    is_own: bool

    def tint(self, probability: float) -> str:
        """The verdict by the probability alone: the colour of its bar."""
        if self.duplicate is not None and probability >= self.duplicate:
            return "duplicate"
        return "review" if probability >= self.review else "different"

    @property
    def promise(self) -> str:
        """The promise for pairs called duplicate, and the source of its labels."""
        whose = (
            "by labels of this collection" if self.is_own else "measured on other sites’ questions"
        )
        return f"What is called duplicate has precision {precision(self.target)} or more; {whose}."


async def marks_of(page: Page) -> Marks:
    """Of the page's collection by the live release, for pairs that the classifier has read, where there is one."""
    collection = await page.read(page.store.collections.get, page.collection)
    live = page.detector.live
    thresholds = live.thresholds(collection.key)
    is_own = thresholds.source == "collection"
    return Marks(
        review=thresholds.review,
        duplicate=thresholds.duplicate,
        target=collection.target_precision or float(live.scorer.target_precision),
        is_own=is_own,
    )
