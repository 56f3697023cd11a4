"""The client: servers that are not there, or not what they should be."""

import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from app.cli import client
from sameask_client import AsyncClient
from tests.cli.commands import Sameask, assert_one_line, question_file
from tests.serving import free_port, served

READY = {
    "ready": True,
    "failure": None,
    "release": "r",
    "collections": 0,
    "collections_ready": 0,
    "questions": 0,
    "questions_indexed": 0,
    "recall": 1.0,
}


@pytest.mark.parametrize(
    "command",
    [
        ("find", "One?"),
        ("pair", "One?", "Two?"),
        ("export",),
        ("import", "FILE"),
        ("labels", "export"),
    ],
)
def test_a_server_that_does_not_answer_is_one_line(
    sameask: Sameask, tmp_path: Path, command: tuple[str, ...]
) -> None:
    arguments = [
        str(question_file(tmp_path)) if argument == "FILE" else argument for argument in command
    ]
    url = f"http://127.0.0.1:{free_port()}"
    ended = sameask(*arguments, "--url", url)
    assert ended.code == 1
    assert ended.err.splitlines()[-1].startswith(f"sameask: no answer from the server at {url}: ")
    assert "`sameask serve` starts one" in ended.err.splitlines()[-1]
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "address", ["nonsense", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999", "http://[::1"]
)
def test_an_address_that_is_none_is_one_line(sameask: Sameask, address: str) -> None:
    assert_one_line(sameask("find", "One?", "--url", address))


@pytest.mark.parametrize(
    ("address", "example"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("ftp://127.0.0.1", "http://127.0.0.1:8000"),
    ],
)
def test_an_address_without_its_scheme_is_refused_with_the_one_that_is_meant(
    sameask: Sameask, address: str, example: str
) -> None:
    refused = sameask("find", "One?", "--url", address)
    assert_one_line(refused, f"--url {address} must begin with http://", f"as in {example}")


@pytest.mark.parametrize("status", [200, 404, 500])
def test_a_server_of_another_kind_is_one_line(sameask: Sameask, status: int) -> None:
    async def page(_: Request) -> Response:
        return HTMLResponse("<html>Hello</html>", status)

    with served(Starlette(routes=[Route("/duplicates", page, methods=["POST"])])) as url:  # type: ignore[arg-type]
        assert_one_line(sameask("find", "One?", "--url", url))


def test_a_server_that_starts_again_while_a_release_comes_up_is_asked_again(
    sameask: Sameask,
) -> None:
    swap = {
        "release": "wide",
        "phase": "indexing",
        "goes_live": True,
        "collections": 1,
        "questions": 1,
        "questions_indexed": 0,
        "failure": None,
        "broken_promises": [],
    }
    live = {"release": "tiny", "digest": "d", "since": None, "reason": None, "swap": swap}
    looks = iter([JSONResponse({}, 503), JSONResponse(live | {"release": "wide", "swap": None})])
    shadows = iter([JSONResponse({}, 503), JSONResponse(swap | {"phase": "ready"})])

    async def now(request: Request) -> Response:
        return JSONResponse(live, 202) if request.method == "PUT" else next(looks)

    async def shadow(request: Request) -> Response:
        return JSONResponse(swap, 202) if request.method == "PUT" else next(shadows)

    routes = [
        Route("/admin/releases/live", now, methods=["GET", "PUT"]),
        Route("/admin/releases/shadow", shadow, methods=["GET", "PUT"]),
    ]
    with served(Starlette(routes=routes)) as url:  # type: ignore[arg-type]
        assert sameask("releases", "shadow", "wide", "--url", url).out == "wide has caught up\n"
        assert sameask("releases", "activate", "wide", "--url", url).out == "wide is live\n"


def test_a_busy_server_is_asked_again(sameask: Sameask) -> None:
    asked: list[bytes] = []

    async def busy_once(request: Request) -> Response:
        asked.append(await request.body())
        if len(asked) == 1:
            return JSONResponse({}, 429, {"Retry-After": "0"})
        return JSONResponse({"release": "r", "scores": []})

    with served(Starlette(routes=[Route("/pair-score", busy_once, methods=["POST"])])) as url:  # type: ignore[arg-type]
        answered = sameask("pair", "One?", "Two?", "--json", "--url", url)
    assert (answered.code, json.loads(answered.out)) == (0, {"release": "r", "scores": []})
    assert asked == 2 * [
        b'{"pairs":[{"question1":"One?","question2":"Two?"}],"collection":"default"}'
    ]


@pytest.mark.parametrize(
    ("command", "path"),
    [
        (("releases", "list"), "/admin/releases"),
        (("evidence",), "/collections/default/evidence"),
    ],
)
def test_json_is_the_server_s_in_its_order(
    sameask: Sameask, url: str, command: tuple[str, ...], path: str
) -> None:
    printed = sameask(*command, "--json", "--url", url)
    answered = httpx.get(url + path).json()
    assert _without_hours(printed.out) == _without_hours(json.dumps(answered, indent=2) + "\n")


def _without_hours(text: str) -> str:
    """How long the server runs differs between two answers."""
    return re.sub(r"(?<=\"asked_hours\": )[^,]+", "0", text)


def test_json_of_a_finding_is_the_server_s_in_its_order(
    sameask: Sameask, url: str, tmp_path: Path
) -> None:
    assert sameask("import", question_file(tmp_path), "--url", url).code == 0
    body = {"questions": ["Can I cancel an order?"], "collection": "default", "top_k": 5}
    answered = httpx.post(f"{url}/duplicates", json=body).json()
    printed = sameask("find", "Can I cancel an order?", "--json", "--url", url)
    assert len(answered["results"][0]["candidates"]) == 3
    assert printed.out == json.dumps(answered, indent=2, ensure_ascii=False) + "\n"


def test_a_name_reaches_the_server_as_it_was_typed(sameask: Sameask, url: str) -> None:
    assert sameask("collections", "create", "faq", "--url", url).code == 0
    refused = sameask("collections", "delete", "faq?x=1", "--yes", "--url", url)
    assert (refused.code, refused.out) == (1, "")
    assert "name: must be" in refused.err
    assert "faq" in sameask("collections", "list", "--url", url).out


def test_a_name_that_would_lead_elsewhere_is_one_line(sameask: Sameask) -> None:
    refused = sameask("collections", "delete", "..", "--yes", "--url", "http://127.0.0.1:9")
    assert_one_line(refused, "'..' is no name")


def test_a_number_that_is_not_finite_is_one_line(sameask: Sameask) -> None:
    options = ("--target-precision", "nan", "--url", "http://127.0.0.1:9")
    assert_one_line(sameask("collections", "create", "faq", *options), "must be finite")


def test_a_command_in_place_says_what_makes_it_wait(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first start measures backends, for a minute or more."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        logging.getLogger("app.engine.models.backends").info("measuring what runs the model")
        yield

    async def ready(_: Request) -> Response:
        return JSONResponse(READY)

    async def alive(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    def app(*_: object, **__: object) -> Starlette:
        return Starlette(
            routes=[Route("/readyz", ready), Route("/livez", alive)], lifespan=lifespan
        )

    monkeypatch.setattr("app.cli.client.create_app", app)
    monkeypatch.setenv("SAMEASK_DATA_DIR", str(tmp_path / "data"))
    client.run(None, None, AsyncClient.livez)
    assert capsys.readouterr().err == "measuring what runs the model\n"
