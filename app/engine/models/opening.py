"""A release's folder in, its models out: the bi-encoder and the pair classifier, run by one backend."""

from pathlib import Path

from app.engine.models.backends import TORCH, device_for, run_on
from app.engine.models.encoder import Encoder
from app.engine.models.model_cache import ModelCache
from app.engine.models.pair_classifier import PairClassifier
from app.engine.release import CLASSIFIER, ENCODER, Release


def open_models(
    release: Release, device: str, backend: str = TORCH, models_dir: Path | None = None
) -> tuple[Encoder, PairClassifier | None]:
    """A release's bi-encoder, and its pair classifier if it has one, run by `backend`.

    Models converted for it are kept in `models_dir`, if there is one. Raises ModelRefused, BackendRefused.
    """
    device = device_for(device, backend)
    encoder_files = release.model(ENCODER)
    classifier_files = release.model(CLASSIFIER)
    assert encoder_files
    (folder, difference) = encoder_files
    encoder = Encoder.open(folder, device, difference)
    classifier = None
    if classifier_files:
        (folder, difference) = classifier_files
        classifier = PairClassifier.open(folder, device, difference)
    return run_on(backend, encoder, classifier, ModelCache(models_dir, release.digest))
