"""Near pairs of a collection, looked for while the model may fail."""

import asyncio

import pytest
from starlette.testclient import TestClient

from app.errors import ModelFailing
from app.promises.pool import Pool
from tests.promises.corpus import questions
from tests.serving import Model, detector_of, wait_until, write


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


def test_the_pairs_of_one_collection_wait_for_no_other_whose_model_fails(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = Pool.advance
    default = detector_of(client).store.collections.get("default").key

    async def failing(pool: Pool) -> bool:
        if pool._key == default:
            raise ModelFailing("the model fails")
        return await advance(pool)

    monkeypatch.setattr(Pool, "advance", failing)
    monkeypatch.setattr("app.promises.offering.PATIENCE_SECONDS", 0.1)
    write(client, **questions(8))
    client.put("/collections/other")
    write(client, "other", **questions(8))
    assert client.get("/collections/default/review-queue?by=anna").status_code == 503
    wait_until(lambda: client.get("/collections/other/review-queue?by=anna").is_success)
