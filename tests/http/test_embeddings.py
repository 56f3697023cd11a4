"""`POST /v1/embeddings`: by value, by what it refuses, and through OpenAI's own client."""

from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from openai import (
    AsyncOpenAI,
    AuthenticationError,
    NotFoundError,
    OpenAI,
    PermissionDeniedError,
    RateLimitError,
    UnprocessableEntityError,
)
from starlette.testclient import TestClient

from app.data_directory import shared
from app.engine.models.encoder import Encoder
from app.keys import make_key
from app.main import create_app
from app.scopes import KeyScope
from app.settings import Settings
from tests.conftest import wait_until_ready
from tests.serving import PROBLEM, Model, detector_of, served, wait_until

TEXTS = ["How do I reset my password?", "¿Cuál es la capital de España?", "x"]
DIMENSION = 32


def _embed(client: TestClient, **fields: object) -> Any:
    response = client.post("/v1/embeddings", json={"model": "sameask", **fields})
    assert response.status_code == 200, response.text
    return response.json()


def _refused(client: TestClient, status: int, **fields: object) -> dict[str, Any]:
    response = client.post("/v1/embeddings", json={"model": "sameask", "input": "x", **fields})
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM)
    assert int(response.headers["content-length"]) == len(response.content)
    return dict(response.json())


def _vectors(answer: Any) -> NDArray[np.float64]:
    return np.array([item["embedding"] for item in answer["data"]])


def test_vectors_are_the_encoder_s(client: TestClient, tiny_encoder: Encoder) -> None:
    answer = _embed(client, input=TEXTS)
    assert _vectors(answer) == pytest.approx(tiny_encoder.encode(TEXTS), abs=1e-6)
    assert [(item["object"], item["index"]) for item in answer["data"]] == [
        ("embedding", 0),
        ("embedding", 1),
        ("embedding", 2),
    ]
    assert (answer["object"], answer["model"]) == ("list", "tiny")
    tokens = sum(tokens.count for tokens in tiny_encoder.tokenize(TEXTS))
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


def test_the_dot_product_of_two_is_their_similarity(client: TestClient) -> None:
    one, other, _ = _vectors(_embed(client, input=TEXTS))
    pair = {"question1": TEXTS[0], "question2": TEXTS[1]}
    (score,) = client.post("/pair-score", json={"pairs": [pair]}).json()["scores"]
    assert one @ other == pytest.approx(score["similarity"], abs=1e-6)


def test_base64_has_the_same_vectors_to_the_bit(client: TestClient) -> None:
    numbers = _vectors(_embed(client, input=TEXTS)).astype("<f4")
    encoded = _embed(client, input=TEXTS, encoding_format="base64")["data"]
    for vector, item in zip(numbers, encoded, strict=True):
        assert b64decode(item["embedding"]) == vector.tobytes()


def test_one_text_is_a_list_of_one(client: TestClient) -> None:
    assert _embed(client, input=TEXTS[0])["data"] == _embed(client, input=TEXTS[:1])["data"]


def test_a_model_is_the_live_release_and_no_other(client: TestClient) -> None:
    assert _embed(client, input="x", model="tiny") == _embed(client, input="x")
    document = _refused(client, 404, model="text-embedding-3-small")
    assert document["title"] == "Release not live"
    assert document["detail"] == (
        "the release 'text-embedding-3-small' is not live: 'tiny' is,"
        " and `sameask` means whichever is live"
    )


@pytest.mark.parametrize(
    ("fields", "field", "detail"),
    [
        ({"input": ""}, "input.0", "must not be empty"),
        ({"input": []}, "input", "must not be an empty list"),
        ({"input": [101]}, "input.0", "must be a text"),
        ({"input": [[101, 2054]]}, "input.0", "must be a text"),
        ({"input": {"text": "x"}}, "input", "must be a list"),
        ({"input": ["x", "\x00"]}, "input.1", "must not contain a NUL character"),
        ({"input": ["x"] * 101}, "input", "has 101 items; at most 100 (SAMEASK_MAX_QUESTIONS)"),
        (
            {"input": ["x", "x" * 10_001]},
            "input.1",
            "has 10,001 characters; at most 10,000 (SAMEASK_MAX_CHARACTERS)",
        ),
        ({"encoding_format": "hex"}, "encoding_format", "must be 'float' or 'base64'"),
        ({"dimensions": 16}, "dimensions", "may only be 32, the release's"),
        ({"dimension": 16}, "dimension", "is no field of this request"),
    ],
)
def test_bad_input_is_refused_in_both_ways_of_saying_it(
    shared_client: TestClient, fields: dict[str, Any], field: str, detail: str
) -> None:
    document = _refused(shared_client, 422, **fields)
    assert document["errors"][0] == {"field": field, "detail": detail}
    assert document["error"] == {
        "message": f"the request breaks a rule; nothing was done; {field} {detail}",
        "type": "invalid_request_error",
        "param": field,
        "code": None,
    }


def test_its_own_dimension_may_be_asked_for(shared_client: TestClient) -> None:
    assert _vectors(_embed(shared_client, input="x", dimensions=DIMENSION)).shape == (1, DIMENSION)


def test_other_routes_problems_have_no_further_member(shared_client: TestClient) -> None:
    document = shared_client.post("/duplicates", json={"questions": []}).json()
    assert document.keys() == {"type", "title", "status", "detail", "errors"}


def test_what_no_route_answers_says_so_in_both_ways(shared_client: TestClient) -> None:
    missing = shared_client.get("/v1/models")
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "not_found_error")
    wrong = shared_client.get("/v1/embeddings")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert wrong.json()["error"]["message"] == "Method Not Allowed"
    head = shared_client.head("/v1/embeddings")
    assert (head.status_code, head.content) == (405, b"")


def test_a_full_queue_refuses_texts_at_the_door(settings: Settings, model: Model) -> None:
    small = settings.model_copy(update={"max_waiting_texts": 2, "max_questions": 2})
    with TestClient(create_app(small)) as client, ThreadPoolExecutor(1) as pool:
        wait_until_ready(client)
        model.hold("held")
        first = pool.submit(_embed, client, input=["held", "held too"])
        wait_until(lambda: detector_of(client).live.models.batcher.waiting == 2)
        refused = client.post("/v1/embeddings", json={"model": "sameask", "input": "x"})
        model.release()
        assert len(first.result()["data"]) == 2
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["type"] == "rate_limit_error"


@pytest.fixture
def keys(settings: Settings) -> dict[KeyScope, str]:
    """A key for each of two scopes."""
    with shared(settings.data_dir, settings.store_url) as store:
        return {scope: make_key(store, [scope])[1] for scope in (KeyScope.READ, KeyScope.ASK)}


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    """Where the service answers."""
    with served(create_app(settings)) as url:
        yield url


def test_openai_s_client_gets_vectors(url: str, tiny_encoder: Encoder) -> None:
    expected = tiny_encoder.encode(TEXTS)
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        by_default = client.embeddings.create(model="sameask", input=TEXTS)
        as_numbers = client.embeddings.create(model="tiny", input=TEXTS, encoding_format="float")
        of_one = client.embeddings.create(model="tiny", input=TEXTS[0], dimensions=DIMENSION)
    for answer in (by_default, as_numbers):
        assert np.array([item.embedding for item in answer.data]) == pytest.approx(
            expected, abs=1e-6
        )
    assert of_one.data[0].embedding == pytest.approx(expected[0], abs=1e-6)
    assert by_default.usage.total_tokens == as_numbers.usage.total_tokens > 0


def test_openai_s_client_says_what_is_wrong(url: str) -> None:
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(NotFoundError, match="404 - the release 'ada' is not live: 'tiny' is"):
            client.embeddings.create(model="ada", input="x")
        with pytest.raises(
            UnprocessableEntityError, match=r"input\.1 must not be blank"
        ) as refused:
            client.embeddings.create(model="sameask", input=["x", " "])
    assert (refused.value.param, refused.value.type) == ("input.1", "invalid_request_error")


@pytest.mark.anyio
async def test_openai_s_asynchronous_client_gets_vectors(url: str, tiny_encoder: Encoder) -> None:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        answer = await client.embeddings.create(model="sameask", input="x")
    assert answer.data[0].embedding == pytest.approx(tiny_encoder.encode(["x"])[0], abs=1e-6)


def test_openai_s_client_sends_a_key_with_the_scope_read(
    keys: dict[KeyScope, str], settings: Settings
) -> None:
    with served(create_app(settings)) as url:
        base = f"{url}/v1"
        with OpenAI(base_url=base, api_key=keys[KeyScope.READ], max_retries=0) as client:
            assert client.embeddings.create(model="sameask", input="x").model == "tiny"
        with (
            OpenAI(base_url=base, api_key=keys[KeyScope.ASK], max_retries=0) as client,
            pytest.raises(PermissionDeniedError, match="403 - this needs a key with the scope"),
        ):
            client.embeddings.create(model="sameask", input="x")
        with (
            OpenAI(base_url=base, api_key="unknown", max_retries=0) as client,
            pytest.raises(AuthenticationError, match="401 - the key is unknown or revoked"),
        ):
            client.embeddings.create(model="sameask", input="x")


def test_openai_s_client_tells_a_full_queue_apart(settings: Settings, model: Model) -> None:
    small = settings.model_copy(update={"max_waiting_texts": 1, "max_questions": 1})
    with (
        served(create_app(small)) as url,
        OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        model.hold("held")
        first = pool.submit(client.embeddings.create, model="sameask", input="held")
        assert model.reached.wait(10)
        with pytest.raises(RateLimitError, match="try again in"):
            client.embeddings.create(model="sameask", input="x")
        model.release()
        assert first.result().model == "tiny"
