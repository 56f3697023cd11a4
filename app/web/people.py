"""People's labels on pairs, as a page shows them to one of these people."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.engine.store import Label, NewLabel
from app.scopes import KeyScope
from app.web.page import Page
from app.web.templates import day

TextPair = tuple[str, str]


@dataclass(frozen=True)
class Said:
    """The active labels of one pair: the visitor's own, and those of others."""

    own: Label | None = None
    others: Sequence[Label] = ()

    @property
    def words(self) -> str:
        """The names of those who labelled the pair, in a line; empty where nobody has."""
        names = [f"{label.by}, {day(label.at)}" for label in self.others]
        if self.own:
            names.append("you")
        return "; ".join(names)


async def said_of(page: Page, pairs: Sequence[TextPair]) -> dict[TextPair, Said]:
    """The labels of each labelled pair. Nothing for a visitor who may not see names."""
    if not pairs or page.visitor.lacks(KeyScope.READ):
        return {}
    labels = await page.detector.labels_on(page.collection, pairs)
    return {pair: _said(of_pair, page.visitor.name) for pair, of_pair in labels.items()}


def _said(labels: Sequence[Label], name: str) -> Said:
    own = [label for label in labels if label.by == name]
    others = [label for label in labels if label.by != name]
    return Said(own[0] if own else None, others)


async def say(page: Page, pair: TextPair, is_duplicate: bool) -> None:
    """Label a pair in the visitor's name; done when it is durable. Raises like `Detector.label`."""
    label = NewLabel(is_duplicate, page.visitor.name, questions=pair)
    await page.detector.label(page.collection, [label])


async def take_back(page: Page, label_id: int) -> None:
    """Undo a label in the visitor's name; one of another person only where the visitor may. Raises like
    `Detector.undo_label`."""
    visitor = page.visitor
    own_only = visitor.caller is not None and not visitor.caller.speaks_for_others
    await page.detector.undo_label(page.collection, label_id, visitor.name, own_only=own_only)
