"""Pairs of texts in, logits out, through a cross-encoder. Symmetric: both orders are read as one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder

from app.engine.models.forward import BATCH_SIZE, Forward, TorchForward
from app.engine.models.safe_loading import SAFELY, choose_device, loading
from app.engine.models.tokenizer import ModelTokenizer
from app.engine.models.tokens import Span, TextTokens, Tokens, in_batches, padded
from app.engine.models.weight_delta import apply_difference
from app.engine.text_form import readable
from app.errors import ModelRefused, Unembeddable

PROBE_PAIR = ("Has this question been asked before?", "Did somebody ask this already?")
MAX_TOKENS = 256  # of a pair; of a longer one, the longer text is cut first


def in_order(a: str, b: str) -> tuple[str, str]:
    """The order in which the classifier reads two texts, whichever came first."""
    return (a, b) if readable(a) <= readable(b) else (b, a)


def most_tokens(model: CrossEncoder, wanted: int) -> int:
    """The tokens of a pair that are read: as many as wanted, or as the model has positions for."""
    positions = getattr(model.config, "max_position_embeddings", None)
    return min(wanted, positions) if positions else wanted


class PairClassifier:
    """A sentence-transformers CrossEncoder with one logit, on one device, in float32 unless something else runs it
    (`backends.py`). Not for use by two threads at once, but for `tokenize`."""

    output = "scores"  # the one of the model's outputs that is taken

    def __init__(self, model: CrossEncoder, forward: Forward | None = None) -> None:
        """`forward` runs the model; torch does, if there is none."""
        self._model = model.eval()
        self._forward = forward or TorchForward(model, self.output)
        if model.num_labels != 1:
            raise ModelRefused(
                f"a pair classifier has one logit, this model has {model.num_labels}"
            )
        self._tokenizer = ModelTokenizer(model, self.max_tokens, pairs=True)
        self.score([PROBE_PAIR])

    @classmethod
    def open(
        cls, folder: Path, device: str = "auto", difference: Path | None = None
    ) -> "PairClassifier":
        """Load a folder onto `cpu`, `cuda` or the best there is (`auto`), and add a difference to its weights.

        The folder may be a bi-encoder's if the difference brings the head. Raises ModelRefused.
        """
        device = choose_device(device)
        with loading(folder, "pair classifier"):
            model = CrossEncoder(str(folder), device=device, num_labels=1, **SAFELY)
            model.max_seq_length = most_tokens(model, MAX_TOKENS)
            if difference:
                apply_difference(model, difference)
            return cls(model)

    def on(self, forward: Forward) -> "PairClassifier":
        """The same classifier on another backend."""
        return PairClassifier(self._model, forward)

    @property
    def model(self) -> CrossEncoder:
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
    def max_tokens(self) -> int | None:
        """Tokens of a pair that the model reads, special ones included; the text beyond is cut."""
        return self._model.max_seq_length

    def save(self, folder: Path) -> None:
        """Write the model as a sentence-transformers CrossEncoder folder."""
        self._model.save_pretrained(str(folder), create_model_card=False)

    def tokenize(self, pairs: Sequence[tuple[str, str]]) -> list[Tokens]:
        """Model inputs for each pair, in the one order. Safe from any thread."""
        return self._tokenizer.tokenize([in_order(*pair) for pair in pairs])

    def see(self, text: str) -> TextTokens:
        """All tokens of a text. Safe from any thread."""
        return self._tokenizer.see(text)

    def unread(self, pair: tuple[str, str]) -> tuple[Span | None, Span | None]:
        """Of each text, the place in its form that is cut off when the pair is read. Safe from any thread."""
        one, other = pair
        first, second = self._tokenizer.unread(in_order(one, other))
        return (first, second) if in_order(one, other) == pair else (second, first)

    def score_tokens(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        """One forward pass: n tokenised pairs -> (n,) float32 logits. Raises Unembeddable for what is not finite."""
        logits = self._forward(padded(batch, self._model.tokenizer.pad_token_id or 0)).reshape(-1)
        if not np.isfinite(logits).all():
            raise Unembeddable("the model has no finite score for this pair")
        return logits

    def score(
        self, pairs: Sequence[tuple[str, str]], batch_size: int | None = None
    ) -> NDArray[np.float32]:
        """All at once, for notebooks and training: n pairs -> (n,) float32 logits, in order.

        Batches hold 64 pairs on a CPU and 4,096 on a GPU, unless said.
        """
        if not pairs:
            return np.empty(0, dtype=np.float32)
        return self.score_all(self.tokenize(pairs), batch_size)

    def score_all(
        self, tokens: Sequence[Tokens], batch_size: int | None = None
    ) -> NDArray[np.float32]:
        """The same of tokenised pairs."""
        if not tokens:
            return np.empty(0, dtype=np.float32)
        return in_batches(self.score_tokens, tokens, batch_size or BATCH_SIZE[self.device])
