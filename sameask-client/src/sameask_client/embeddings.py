"""`POST /v1/embeddings`: vectors of the live release, for clustering and the like."""

from collections.abc import Iterable
from dataclasses import dataclass

from sameask_client.operation import Operation, post

WHICHEVER_IS_LIVE = "sameask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """The vector of one text; its length is 1. `index`: the place of its text."""

    index: int
    embedding: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens that the model read."""

    prompt_tokens: int
    total_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """One vector for each text, in their order. `model`: the release; vectors of two can't be compared."""

    data: tuple[Embedding, ...]
    model: str
    usage: Usage


def embed_texts(
    texts: str | Iterable[str], *, model: str = WHICHEVER_IS_LIVE
) -> Operation[Embeddings]:
    """Embed these texts, or this one. `model`: the release that must be live; left out, whichever is."""
    given = [texts] if isinstance(texts, str) else list(texts)
    fields = {"input": given, "model": model}
    return post(Embeddings, "/v1/embeddings", fields, is_repeatable=True)
