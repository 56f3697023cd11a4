"""No log line holds a question's text or a key, whatever becomes of the request."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest

from app.data_directory import DATABASE, shared
from app.engine.models.encoder import Encoder
from app.engine.models.tokens import Tokens
from app.engine.store.keys import KeyRecords
from app.engine.store.labels import Labels
from app.engine.store.questions import Questions
from app.errors import Unembeddable
from app.keys import make_key
from app.main import create_app
from app.scopes import KeyScope
from app.settings import Settings
from tests.engine.test_store import behind_its_back
from tests.serving import PROBLEM, served, wait_until, watched_model

MARKER = "xyzzy"
TEXT = f"What does {MARKER} mean?"

FIND = ("/duplicates", {"questions": [TEXT, f"Who said {MARKER}?"]})
SCORE = ("/pair-score", {"pairs": [{"question1": TEXT, "question2": f"Who said {MARKER}?"}]})
EMBED = ("/v1/embeddings", {"model": "sameask", "input": [TEXT, f"Who said {MARKER}?"]})
LABEL = (
    "/labels",
    {"labels": [{"questions": [TEXT, f"Who said {MARKER}?"], "is_duplicate": True, "by": "anna"}]},
)
WRITE = ("/questions", {"questions": [{"id": "a", "text": TEXT}]})

BAD = [
    ("/duplicates", {"questions": [TEXT * 1000]}, 422),
    ("/duplicates", {"questions": [TEXT], "top_k": MARKER}, 422),
    ("/duplicates", {"questions": [TEXT], "collection": "nowhere"}, 404),
    ("/duplicates", {"questions": TEXT}, 422),
    ("/duplicates", {"questions": [TEXT + "\x00"]}, 422),
    ("/pair-score", {"pairs": [{"question1": TEXT}]}, 422),
    ("/v1/embeddings", {"model": MARKER, "input": TEXT}, 404),
    ("/v1/embeddings", {"model": "sameask", "input": [TEXT, 5]}, 422),
    ("/questions", {"questions": [{"id": "", "text": TEXT}]}, 422),
    (
        "/labels",
        {"labels": [{"questions": [TEXT, TEXT], "is_duplicate": True, "by": "anna"}]},
        422,
    ),
    ("/labels", {"labels": [{"questions": [TEXT], "is_duplicate": True, "by": "anna"}]}, 422),
    ("/questions", {"questions": 2 * [{"id": "b", "text": TEXT}]}, 422),
]


class Log(logging.Handler):
    """Every line that any logger writes, as it would stand in a file, tracebacks included."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        super().__init__()
        self._capture = capture
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.text += self.format(record) + "\n"

    def assert_silent(self, *secrets: str) -> None:
        """Neither a line nor standard output or error holds the marker, or one of these secrets."""
        written = self._capture.readouterr()
        assert "Application startup complete." in self.text
        for word in (MARKER, *secrets):
            assert word not in self.text
            assert word not in written.out + written.err


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[Log]:
    """What is logged at the default level, and by Sameask and its server at any."""
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, "app")
    caplog.set_level(logging.DEBUG, "uvicorn")
    caplog.set_level(
        logging.WARNING, "httpx"
    )  # the lines of a test's own client are not the service's
    log = Log(capfd)
    logging.getLogger().addHandler(log)
    yield log
    logging.getLogger().removeHandler(log)


@pytest.fixture
def client(settings: Settings, log: Log) -> Iterator[httpx.Client]:  # noqa: ARG001  (caught from the start on)
    """A connection to a real server."""
    with served(create_app(settings)) as url, httpx.Client(base_url=url) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        yield client


def test_good_requests_leave_no_text_in_the_log(client: httpx.Client, log: Log) -> None:
    for path, body in (WRITE, LABEL, FIND, SCORE, EMBED, WRITE):
        assert client.post(path, json=body).status_code == 200
    assert client.get("/questions").json()["questions"][0]["text"] == TEXT
    assert client.delete("/questions/a").status_code == 200
    log.assert_silent()


def test_bad_requests_leave_no_text_in_the_log(client: httpx.Client, log: Log) -> None:
    for path, body, status in BAD:
        assert client.post(path, json=body).status_code == status
    for content in (
        b'{"questions": ["' + TEXT.encode(),
        b"\xff" + TEXT.encode(),
        TEXT.encode() * 300_000,
    ):
        for headers in ({"Content-Type": "application/json"}, {}):
            answer = client.post("/duplicates", content=content, headers=headers)
            assert answer.status_code in (400, 413, 415, 422)
    log.assert_silent()


def test_a_failing_model_leaves_no_text_in_the_log(client: httpx.Client, log: Log) -> None:
    with watched_model() as model:
        model.failing = True
        for path, body in (FIND, SCORE, EMBED, WRITE):
            assert client.post(path, json=body).status_code == 503
    wait_until(lambda: client.get("/readyz").status_code == 200)
    log.assert_silent()


def test_a_text_that_can_not_be_embedded_is_not_in_the_log(
    client: httpx.Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Encoder.encode_tokens

    def encode_tokens(encoder: Encoder, batch: Sequence[Tokens]) -> Any:
        if any(MARKER in tokens.text for tokens in batch):
            raise Unembeddable(f"no finite vector for {batch[0].text}")
        return forward(encoder, batch)

    monkeypatch.setattr(Encoder, "encode_tokens", encode_tokens)
    assert [client.post(path, json=body).status_code for path, body in (FIND, SCORE, WRITE)] == [
        422,
        422,
        200,
    ]
    log.assert_silent()


@pytest.mark.parametrize("message", ["broken", f"broken at {TEXT}"])
@pytest.mark.parametrize(
    ("owner", "name", "request_"),
    [
        (Questions, "with_digests", FIND),
        (Encoder, "tokenize", FIND),
        (Encoder, "tokenize", SCORE),
        (Questions, "upsert", WRITE),
        (Labels, "write", LABEL),
        (Encoder, "tokenize", WRITE),
    ],
    ids=["look up", "tokenise to find", "tokenise to score", "write", "label", "tokenise to index"],
)
def test_a_fault_of_the_service_is_logged_without_the_text(
    client: httpx.Client,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    request_: tuple[str, object],
    message: str,
) -> None:
    def fail(*_: object) -> None:
        raise LookupError(message)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        path, body = request_
        response = client.post(path, json=body)
    assert (response.status_code, response.headers["content-type"]) == (500, PROBLEM)
    assert response.json() == {
        "type": "about:blank",
        "title": "Internal error",
        "status": 500,
        "detail": "this is a fault of the service; its log says more",
    }
    wait_until(lambda: "LookupError" in log.text)  # it is written after the answer
    log.assert_silent()


@pytest.mark.parametrize(
    "header",
    [
        f"Bearer {MARKER}",
        f"Basic {MARKER}",
        MARKER,
        f"Bearer sameask_{'0' * 16}_{MARKER}",
        f"Bearer {MARKER * 6_000}",
    ],
)
def test_a_key_that_is_refused_is_not_in_the_log(
    client: httpx.Client, log: Log, settings: Settings, header: str
) -> None:
    with shared(settings.data_dir, settings.store_url) as store:
        make_key(store, [KeyScope.READ])
    for path in ("/questions", f"/{MARKER}"):
        refused = client.get(path, headers={"Authorization": header})
        assert refused.status_code == 401
        assert MARKER not in refused.text
    log.assert_silent()


def test_a_key_that_opens_or_fails_is_not_in_the_log(
    client: httpx.Client, log: Log, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shared(settings.data_dir, settings.store_url) as store:
        kept, key = make_key(store, [KeyScope.READ])
    headers, secret = {"Authorization": f"Bearer {key}"}, key.rpartition("_")[2]
    with (
        monkeypatch.context() as patch
    ):  # before it opens: then it is remembered, and not looked for
        patch.setattr(KeyRecords, "get", lambda *_: 1 / 0)
        answers = [client.get("/questions", headers=headers)]
    answers += [
        client.get("/questions", headers=headers),
        client.delete("/questions/a", headers=headers),
    ]
    behind_its_back(
        settings.data_dir / DATABASE, "UPDATE keys SET name = 'damaged' WHERE id = ?", kept.id
    )
    answers.append(client.get("/questions", headers=headers))
    assert [answer.status_code for answer in answers] == [500, 200, 403, 503]
    assert [secret in answer.text for answer in answers] == 4 * [False]
    wait_until(lambda: "ZeroDivisionError" in log.text and kept.id in log.text)
    log.assert_silent(secret)


def test_the_first_admin_key_is_not_in_the_log(settings: Settings, log: Log) -> None:
    file = settings.data_dir.with_name("admin-key")
    file.write_text(MARKER * 10)
    with served(create_app(settings.model_copy(update={"admin_key_file": file}))) as url:
        headers = {"Authorization": f"Bearer {MARKER * 10}"}
        assert httpx.get(f"{url}/questions", headers=headers).status_code == 200
        assert httpx.get(f"{url}/metrics", headers=headers).text.count(MARKER) == 0
    log.assert_silent()
