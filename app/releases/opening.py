"""Opens a release with the settings of this service, as the live one or as a shadow."""

from collections.abc import Callable

from app.engine.live_release import LiveRelease, ServingOptions
from app.engine.release import Release
from app.engine.store import Store
from app.settings import Settings

SNAPSHOTS = "snapshots"  # the folder of the data directory that holds them

Opener = Callable[[Release, Release | None], LiveRelease]


def opener(settings: Settings, store: Store) -> Opener:
    """A function that opens a release; beside its second argument as a shadow. It raises ModelRefused."""

    options = ServingOptions(
        snapshot_dir=settings.data_dir / SNAPSHOTS,
        target_precision=settings.target_precision,
        max_waiting_texts=settings.max_waiting_texts,
        max_waiting_pairs=settings.max_waiting_pairs,
        max_batch_tokens=settings.max_batch_tokens,
        max_cached_embeddings=settings.max_cached_embeddings,
        device=settings.device,
        backend=settings.backend,
        models_dir=settings.data_dir / "models",
    )

    def open_release(release: Release, beside: Release | None) -> LiveRelease:
        return LiveRelease.open(release, store, options, beside=beside)

    return open_release
