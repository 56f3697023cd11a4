"""The sources of mining: the questions of a file or of a collection, and the models that judge them."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.data_directory import locked
from app.engine.live_release import LiveRelease
from app.engine.models.opening import open_models
from app.engine.release import Release
from app.engine.rulings import Ruling, rulings_of_pairs
from app.engine.signals import Reader
from app.engine.store import Store
from app.engine.text import TextPair, WordedPair
from app.mining.job import Advance, Models, Source, Wanted, mine
from app.releases.at_start import open_chosen
from app.releases.catalogue import Catalogue, shipped
from app.releases.opening import opener
from app.settings import Settings


def mine_file(
    questions: Iterable[tuple[str, str]],
    out: Path,
    wanted: Wanted,
    settings: Settings,
    advance: Advance,
    **how: bool,
) -> int:
    """Mine (id, text) pairs with the release of the settings, as `mine` does."""
    by_text = ids_by_text(questions)
    texts = list(by_text)
    release = Release.open(shipped(settings.release))
    encoder, classifier = open_models(
        release, settings.device, settings.backend, settings.data_dir / "models"
    )
    ids = list(by_text.values())
    source = Source(ids, texts, lambda start, end: encoder.encode(texts[start:end]))
    models = Models(
        release=release.digest,
        dimension=encoder.dimension,
        scorer=release.scorer(settings.target_precision),
        classifier=classifier,
        reader=Reader(encoder, classifier),
    )
    return mine(source, models, out, wanted, advance, **how)


def mine_collection(
    name: str, out: Path, wanted: Wanted, settings: Settings, advance: Advance, **how: bool
) -> int:
    """Mine a collection of the data directory with the release that is live there, as `mine` does; its labels overrule.

    Raises CollectionNotFound, DataDirectoryInUse.
    """
    catalogue = Catalogue(settings.release, settings.releases_folder, settings.former_releases)
    with locked(settings.data_dir, settings.store_url) as store:
        live = open_chosen(catalogue, store, opener(settings, store), is_server=False)
        with closing(live):
            source = _collection(name, store, live)
            models = Models(
                release=live.release.digest,
                dimension=live.models.encoder.dimension,
                scorer=live.scorer,
                classifier=live.models.classifier,
                reader=live.reader,
                thresholds=live.thresholds(store.collections.get(name).key),
            )
            return mine(source, models, out, wanted, advance, **how)


def ids_by_text(questions: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The ids of each distinct text of (id, text) pairs, in their order."""
    by_text: dict[str, list[str]] = {}
    for id_, text in questions:
        by_text.setdefault(text, []).append(id_)
    return by_text


def _collection(name: str, store: Store, live: LiveRelease) -> Source:
    """The texts of a collection, with their vectors by the live release. Raises CollectionNotFound."""
    key = store.collections.get(name).key
    live.catch_up(key)
    index = live.index(key)
    by_text: dict[str, list[str]] = {}
    revisions: list[int] = []  # of the first question of each text
    for question in store.questions.every(name):
        if question.quarantined:
            continue
        if question.text not in by_text:
            revisions.append(question.revision)
        by_text.setdefault(question.text, []).append(question.id)

    texts = list(by_text)

    def vectors(start: int, end: int) -> NDArray[np.float32]:
        """What the index lacks was written, replaced or deleted since: replicas go on meanwhile."""
        indexed = index.vectors(revisions[start:end])
        found = [indexed.get(revision) for revision in revisions[start:end]]
        lacking = [
            text for text, vector in zip(texts[start:end], found, strict=True) if vector is None
        ]
        embedded = iter(live.models.encoder.encode(lacking))
        return np.stack([next(embedded) if vector is None else vector for vector in found])

    def ruled(pairs: Sequence[WordedPair]) -> Mapping[TextPair, Ruling]:
        return rulings_of_pairs(pairs, store.labels.of(key, pairs))

    return Source(list(by_text.values()), texts, vectors, ruled)
