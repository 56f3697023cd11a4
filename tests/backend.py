"""What runs the encoders of the tests that ask for it: torch, or what TEST_BACKEND names (`make test-backends`)."""

import os
from pathlib import Path

from app.engine.models.backends import TORCH, TORCH_FP16, run_on
from app.engine.models.encoder import Encoder
from app.engine.models.model_cache import ModelCache

BACKEND = os.environ.get("TEST_BACKEND", TORCH)
DEVICE = "cuda" if BACKEND == TORCH_FP16 else "cpu"
IN_HALVES = os.environ.get("TEST_STORE") == "postgresql"  # which holds vectors in half precision
# By which similarities of one text may differ from batch to batch.
WITHIN = 5e-3 if BACKEND != TORCH else 1e-4 if IN_HALVES else 1e-6


def on_backend(encoder: Encoder, models_dir: Path) -> Encoder:
    """The encoder, run by that; what is converted for it is kept in the folder."""
    return run_on(BACKEND, encoder, None, ModelCache(models_dir, "test"))[0]
