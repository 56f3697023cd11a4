"""Vectors of texts that were asked lately: asked again, they need no model.

A text is known by its tokens, which are all that the model sees: two spellings that a model can't tell apart share a
vector, and a cased model never answers with that of another case. The vectors belong to one encoder.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.engine.models.tokens import Tokens

Vector = NDArray[np.float32]

KEY_BYTES = 16


class RecentVectors:
    """At most `capacity` vectors, the ones used last; safe from many threads. 0: none are kept."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._vectors: OrderedDict[bytes, Vector] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._vectors)

    def get(self, tokens: Sequence[Tokens]) -> list[Vector | None]:
        """For each text its vector (d,), which can't be written to, or None."""
        if not self._capacity:
            return [None] * len(tokens)
        keys = [_key(of_text) for of_text in tokens]
        vectors = []
        with self._lock:
            for key in keys:
                vector = self._vectors.get(key)
                vectors.append(vector)
                if vector is None:
                    self.misses += 1
                else:
                    self.hits += 1
                    self._vectors.move_to_end(key)
        return vectors

    def keep(self, tokens: Sequence[Tokens], vectors: Sequence[Vector]) -> None:
        """Keep the vectors (d,) of n texts, in place of those that were not used for longest."""
        if not self._capacity:
            return
        copies = {}
        for of_text, vector in zip(tokens, vectors, strict=True):
            copy = np.array(vector)  # a row would keep all of its batch in memory
            copy.flags.writeable = False
            copies[_key(of_text)] = copy
        with self._lock:
            self._vectors.update(copies)
            while len(self._vectors) > self._capacity:
                self._vectors.popitem(last=False)


def _key(tokens: Tokens) -> bytes:
    """128 bits (BLAKE2b) of all that a model is given of a text: its inputs by name, or the text where it has none."""
    content = hashlib.blake2b(digest_size=KEY_BYTES)
    for name, values in sorted(tokens.features.items()):
        content.update(f"{name} {len(values)} ".encode())
        content.update(values.tobytes())
    if not tokens.features:
        content.update(tokens.text.encode("utf-8", "surrogatepass"))
    return content.digest()
