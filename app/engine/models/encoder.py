"""Texts in, unit float32 vectors out, through any sentence-transformers model.

Tokenising and encoding are apart: callers tokenise in their own threads, and only the forward pass
runs on the thread that owns the model.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from app.engine.models.forward import BATCH_SIZE, Forward, TorchForward
from app.engine.models.safe_loading import SAFELY, choose_device, loading
from app.engine.models.tokenizer import ModelTokenizer
from app.engine.models.tokens import Span, TextTokens, Tokens, in_batches, padded
from app.engine.models.weight_delta import apply_difference
from app.engine.text_form import readable
from app.errors import Unembeddable

BLOCK = 8192  # texts that are sorted by length and cut into batches
PROBE_TEXTS = (
    "Has this question been asked before?",
    "How do I reset my password when I no longer have access to my old email address?",
)


class Encoder:
    """A sentence-transformers model on one device, in float32 unless something else runs it (`backends.py`).

    Not for use by two threads at once, but for `tokenize`.
    """

    output = "sentence_embedding"  # the one of the model's outputs that is taken

    def __init__(self, model: SentenceTransformer, forward: Forward | None = None) -> None:
        """`forward` runs the model; torch does, if there is none."""
        self._model = model.eval()
        self._forward = forward or TorchForward(model, self.output)
        probe = model.preprocess(list(PROBE_TEXTS))
        self._pads = "attention_mask" in probe and "input_ids" in probe
        self._tokenizer = ModelTokenizer(model, self.max_tokens) if self._pads else None
        self.dimension = int(self.encode(PROBE_TEXTS[:1]).shape[1])

    @classmethod
    def open(cls, folder: Path, device: str = "auto", difference: Path | None = None) -> "Encoder":
        """Load a sentence-transformers folder onto `cpu`, `cuda` or the best there is (`auto`), and add a
        difference to its weights, if there is one.

        Raises ModelRefused for a folder that would run code or unpickle, or that can't be loaded.
        """
        device = choose_device(device)
        with loading(folder, "sentence-transformers model"):
            model = SentenceTransformer(str(folder), device=device, **SAFELY)
            if difference:
                apply_difference(model, difference)
            return cls(model)

    def on(self, forward: Forward) -> "Encoder":
        """The same encoder on another backend."""
        return type(self)(self._model, forward)

    def save(self, folder: Path) -> None:
        """Write the model as a sentence-transformers folder."""
        self._model.save_pretrained(str(folder), create_model_card=False)

    @property
    def model(self) -> SentenceTransformer:
        """The torch model, which tokenises whatever runs it."""
        return self._model

    @property
    def backend(self) -> str:
        """The backend of the model: `torch`, `openvino-int8` and so on."""
        return self._forward.backend

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""
        return self._forward.device

    @property
    def dtype(self) -> str:
        """The weights' type: `float32`, `float16`, `bfloat16` or `int8`."""
        return self._forward.dtype

    @property
    def max_tokens(self) -> int | None:
        """Tokens of a text that the model reads, special ones included; the text beyond is cut."""
        limit = self._model.max_seq_length
        return int(limit) if limit is not None and math.isfinite(limit) else None

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Model inputs for each text, cut to `max_tokens`. Safe from any thread."""
        if self._tokenizer:
            return self._tokenizer.tokenize(texts)
        forms = map(readable, texts)
        return [Tokens(form, {}, 1 + len(form) // 4, truncated=False) for form in forms]

    def see(self, text: str) -> TextTokens:
        """All tokens of a text; of a model that pads nothing, its characters. Safe from any thread."""
        if self._tokenizer:
            return self._tokenizer.see(text)
        form = readable(text)
        return TextTokens(form, tuple(map(ord, form)))

    def unread(self, text: str) -> Span | None:
        """The place in a text's form that is cut off when it is embedded. Safe from any thread."""
        if not self._tokenizer:
            return None
        (span,) = self._tokenizer.unread(text)
        return span

    def encode_tokens(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        """One forward pass: n tokenised texts -> (n, dimension) float32, every row of norm 1.

        Raises Unembeddable if any row is not finite or has no direction.
        """
        vectors = self._forward(self._collate(batch))
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.isfinite(norms) & (norms > 0)).all():
            raise Unembeddable("the model has no finite vector for this text")
        return np.asarray(vectors / norms, dtype=np.float32)

    def encode(self, texts: Sequence[str], batch_size: int | None = None) -> NDArray[np.float32]:
        """All at once, for notebooks and training: n texts -> (n, dimension) float32 unit vectors, in order.

        Batches hold 64 texts on a CPU and 4,096 on a GPU, unless said. Of many texts, the next are tokenised meanwhile.
        """
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        batch_size = batch_size or BATCH_SIZE[self.device]
        if len(texts) <= BLOCK:
            return in_batches(self.encode_tokens, self.tokenize(texts), batch_size)
        blocks = [texts[start : start + BLOCK] for start in range(0, len(texts), BLOCK)]
        with ThreadPoolExecutor(1, "tokenize") as pool:
            found = [
                in_batches(self.encode_tokens, tokens, batch_size)
                for tokens in pool.map(self.tokenize, blocks)
            ]
        return np.concatenate(found)

    def _collate(self, batch: Sequence[Tokens]) -> dict[str, Any]:
        if not self._pads:
            features = self._model.preprocess([tokens.text for tokens in batch])
            return {k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in features.items()}
        return padded(batch, self._model.tokenizer.pad_token_id or 0)
