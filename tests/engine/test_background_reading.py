"""What a release's models say in the background: a text without a vector is left out, a model that fails is not."""

import asyncio

import pytest
from starlette.testclient import TestClient

from app.engine.background_reading import embed, probabilities
from app.engine.models.encoder import Encoder
from app.errors import ModelFailing, Unembeddable
from tests.serving import Model, detector_of

PAIRS = [("One?", "Two?"), ("Three?", "Four?")]


def test_a_model_that_fails_says_so(client: TestClient, model: Model) -> None:
    """Else thresholds would be derived as though these pairs had never been labelled."""
    live = detector_of(client).live
    model.failing = True
    with pytest.raises(ModelFailing):
        asyncio.run(embed(live, ["One?"]))
    with pytest.raises(ModelFailing):
        asyncio.run(probabilities(live, PAIRS))
    model.failing = False
    assert set(asyncio.run(probabilities(live, PAIRS))) == set(PAIRS)


def test_a_pair_with_a_text_that_can_not_be_embedded_is_left_out(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Encoder.encode_tokens

    def picky(encoder, batch):  # type: ignore[no-untyped-def]
        if any("Two" in tokens.text for tokens in batch):
            raise Unembeddable("two")
        return forward(encoder, batch)

    monkeypatch.setattr(Encoder, "encode_tokens", picky)
    read = asyncio.run(probabilities(detector_of(client).live, PAIRS))
    assert set(read) == {PAIRS[1]}
