"""A service whose store is in PostgreSQL: the same answers, and what it says while the database is away."""

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.conftest import wait_until_ready
from tests.postgres import PASSWORD, Postgres


def test_requests_are_told_to_come_again_while_the_database_is_away(
    settings: Settings, postgres: Postgres, cluster_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    shared = settings.model_copy(update={"database_url": SecretStr(cluster_url)})
    question = {"questions": [{"id": "1", "text": "How do I pay?"}]}
    ask = {"questions": ["How do I pay?"]}
    with TestClient(create_app(shared)) as client:
        wait_until_ready(client)
        assert client.post("/questions", json=question).json()["revision"] == 1
        postgres.kill()
        try:
            answers = [
                client.get("/questions"),
                client.post("/questions", json=question),
                client.post("/duplicates", json=ask),
                client.get("/readyz"),
                client.get("/metrics"),
            ]
            alive = client.get("/livez")
        finally:
            postgres.start()
        after = client.post("/duplicates", json=ask).json()
        assert client.post("/questions", json=question).json()["unchanged"] == 1
    told = "".join(answer.text for answer in answers)
    assert [answer.status_code for answer in answers] == [503] * 5
    assert [answer.headers["Retry-After"] for answer in answers] == ["1"] * 5
    assert answers[0].json() == {
        "type": "about:blank",
        "title": "Database unavailable",
        "status": 503,
        "detail": "the database can't be reached; try again",
    }
    assert alive.status_code == 200
    (found,) = after["results"]
    assert (found["verdict"], found["candidates"][0]["id"]) == ("duplicate", "1")
    assert PASSWORD not in told + caplog.text
