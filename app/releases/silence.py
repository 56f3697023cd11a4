"""Releases by which nothing in a collection would be called a duplicate, at the precision that is asked for."""

from app.engine.live_release import LiveRelease
from app.engine.release import Release
from app.engine.scorer import CollectionThresholds
from app.engine.store import Collection
from app.releases.swap import Shadow


def silent_at(
    release: Release, live: LiveRelease, shadow: Shadow | None, collection: Collection
) -> float | None:
    """The precision asked for, where by this release nothing is called a duplicate; None where something may be.

    Of one that is not open its own threshold counts: labels may support one once it is open.
    """
    target = live.scorer.target_precision
    thresholds = _thresholds(release, live, shadow, collection)
    return (
        None if thresholds.duplicate is not None else collection.target_precision or float(target)
    )


def _thresholds(
    release: Release, live: LiveRelease, shadow: Shadow | None, collection: Collection
) -> CollectionThresholds:
    if release.name == live.release.name:
        return live.thresholds(collection.key)
    if shadow and shadow.opened and shadow.release.name == release.name:
        return shadow.opened.thresholds(collection.key)
    scorer = release.scorer(live.scorer.target_precision)
    return scorer.thresholds(collection.target_precision)
