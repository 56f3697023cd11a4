"""Near pairs of a collection, looked for while the model may fail."""

import asyncio

import pytest
from starlette.testclient import TestClient

from app.errors import ModelFailing
from app.promises.pool import Pool
from tests.promises.corpus import questions
from tests.serving import Model, detector_of, write


def test_what_was_asked_while_the_model_fails_is_looked_for_later(
    client: TestClient, model: Model
) -> None:
    write(client, **questions(8))
    detector = detector_of(client)
    pool = Pool(detector.store, detector.live, detector.store.collections.get("default").key)
    pool.begin(["can i cancel my order at once?"])
    while pool.to_read > 1:
        assert asyncio.run(pool.advance())
    model.failing = True
    with pytest.raises(ModelFailing):
        asyncio.run(pool.advance())
    assert pool.to_read == 1
    model.failing = False
    assert asyncio.run(pool.advance())
    assert pool.to_read == 0
    assert any(None in pair.ids for pair in pool.pairs)
