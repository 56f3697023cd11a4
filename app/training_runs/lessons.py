"""The data of a training run: every label of its collection, and near pairs that nobody has labelled."""

import logging
from collections.abc import Callable, Iterator, Sequence

from app.engine.store import Store, TrainingRun
from app.engine.training_contract import GivenLabel, UnlabelledPair

IdAndText = tuple[str, str]
NearPairs = Callable[[str, int], Sequence[tuple[IdAndText, IdAndText]]]

MAX_NEAR_PAIRS = 2_000
LABELS_PAGE = 1_000

log = logging.getLogger(__name__)


def given_labels(store: Store, collection: str) -> Iterator[GivenLabel]:
    """All labels ever given in a collection, in their order."""
    after = 0
    while page := store.labels.page(collection, after, LABELS_PAGE, history=True):
        for label in page:
            yield GivenLabel(
                *label.questions,
                is_duplicate=label.is_duplicate,
                active=label.ended is None,
                contradicted=label.contradicted,
            )
        after = page[-1].id


def unlabelled_pairs(
    store: Store, run: TrainingRun, near_pairs: NearPairs | None
) -> list[UnlabelledPair]:
    """Near pairs of which nobody has said anything; none if they can't be had: the run does without."""
    if near_pairs is None:
        return []
    try:
        near = near_pairs(run.collection, MAX_NEAR_PAIRS)
        texts = [(text1, text2) for (_, text1), (_, text2) in near]
        labelled = store.labels.labelled(run.collection_key, texts)
    except Exception as error:
        log.error("training run %d goes without pairs to label: %s", run.id, type(error).__name__)
        return []
    unlabelled = []
    for (id1, text1), (id2, text2) in near:
        if (text1, text2) not in labelled:
            unlabelled.append(UnlabelledPair(id1, id2, text1, text2))
    return unlabelled
