"""The release that is live when a process starts: the one made live last, or that of SAMEASK_RELEASE."""

import logging

from app.engine.live_release import LiveRelease
from app.engine.release import Release
from app.engine.store import Activation, Store
from app.errors import ModelRefused, RequestError, StorageFull
from app.releases.catalogue import Catalogue
from app.releases.opening import Opener

AT_START = "SAMEASK_RELEASE"  # the reason that is noted

log = logging.getLogger(__name__)


def open_chosen(
    catalogue: Catalogue, store: Store, open_release: Opener, *, is_server: bool = True
) -> LiveRelease:
    """The release that was made live last, if it is sound and SAMEASK_RELEASE is as it was then; else
    SAMEASK_RELEASE's. Raises ReleaseRefused, ModelRefused.

    That a newer version of Sameask names another release is no change: people make that one live, not an update. A
    replica that comes to others serves what they agreed on, whatever its SAMEASK_RELEASE.
    """
    live = _choose(catalogue, store, open_release, is_server)
    if is_server and not live.scorer.says_duplicate():
        log.warning(
            "the release %s has no threshold for SAMEASK_TARGET_PRECISION=%s, as its labels support none:"
            " by itself it calls nothing `duplicate`",
            live.release.name,
            live.scorer.target_precision,
        )
    return live


def _choose(
    catalogue: Catalogue, store: Store, open_release: Opener, is_server: bool
) -> LiveRelease:
    history = store.activations.latest_first()
    latest = history[0] if history else None
    is_changed = latest is not None and latest.setting not in _settings(catalogue)
    if is_changed and store.replicas and store.replicas.has_others():
        log.info(
            "other replicas are at work, so what they agreed on is served, not SAMEASK_RELEASE's"
        )
        is_changed = False
    if latest and is_changed:
        log.info(
            "SAMEASK_RELEASE was changed since %s was made live, so its release is served",
            latest.release,
        )
    elif latest and (live := _open_latest(catalogue, latest, open_release)):
        return live
    live = open_release(Release.open(catalogue.own), None)
    if latest is None or (is_server and is_changed):
        _note(store, live.release, catalogue)
    return live


def newly_shipped(catalogue: Catalogue, live: Release) -> str | None:
    """The name of the release that this version of Sameask ships, where that of a version before is still live."""
    if live.path not in catalogue.former:
        return None
    own = catalogue.entries()[0]
    return None if own.refused else own.name


def _settings(catalogue: Catalogue) -> set[str]:
    """The values of SAMEASK_RELEASE that stand for leaving it as it is now."""
    return {str(path) for path in (catalogue.setting, *catalogue.former_settings)}


def _open_latest(
    catalogue: Catalogue, latest: Activation, open_release: Opener
) -> LiveRelease | None:
    """The release that was made live last; None if it is not what it was then, or can't be opened."""
    try:
        release = catalogue.open(latest.release)
        if release.digest == latest.digest:
            return open_release(release, None)
    except (RequestError, ModelRefused) as error:
        log.warning(
            "%s is not served, though it was made live last, but SAMEASK_RELEASE's: %s",
            latest.release,
            error,
        )
        return None
    log.warning(
        "the release %s is not the one that was made live: SAMEASK_RELEASE's is served",
        release.name,
    )
    return None


def _note(store: Store, release: Release, catalogue: Catalogue) -> None:
    """Note that a release is live from this start on, if the disk has room for that."""
    try:
        store.activations.add(release.name, release.digest, AT_START, str(catalogue.setting))
    except StorageFull as error:
        log.warning("can't note that %s is live: %s", release.name, error)
