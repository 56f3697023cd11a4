"""Requests that no client would send, in bytes: bad paths, headers, encodings and bodies, against every route.

Whatever comes, the service answers, never with a 5xx, and every error is a problem document.
"""

import gzip
import json
import re
import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPResponse
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import anyio
import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message

from app.errors import BrokenRequest, InvalidJson
from app.http.problems import CONTENT_TYPE, Problem

PATIENCE_SECONDS = 30
MAX_ANSWER = 40_000  # bytes of a problem document

Headers = tuple[tuple[bytes, bytes], ...]
Route = tuple[str, str]  # a method, and a path with {parameters}

METHODS = [
    "GET",
    "POST",
    "PUT",
    "DELETE",
    "PATCH",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "PROPFIND",
    "M-SEARCH",
]

PATHS = [
    *[
        "/",
        "/docs",
        "/docs/",
        "/openapi.json",
        "/docs/assets",
        "/docs/assets/{file}",
        "/docs/assets/swagger-ui.css",
    ],
    *["/{any}", "/{any}/{other}", "/collections/{name}/{other}", "/duplicates/", "//duplicates"],
]  # beside those of the document

SEGMENTS = [
    *[
        "default",
        "faq",
        "a",
        "swagger-ui.css",
        "",
        ".",
        "..",
        "%2e%2e",
        "%2E%2E%2F%2E%2E",
        "..%2f..%2fetc%2fpasswd",
    ],
    *[
        "%00",
        "a%00b",
        "%0a",
        "%0d%0a",
        "%7f",
        "%20",
        "+",
        "%ff",
        "%c0%af",
        "%ed%a0%80",
        "%f0%9f%a6%8a",
        "%ef%bf%bd",
    ],
    *[
        "%",
        "%zz",
        "%u0041",
        "%2f",
        "%252f",
        "a/b",
        "//",
        ";x=1",
        "*",
        "~",
        "a:b@c",
        "[",
        "{id}",
        "x" * 257,
    ],
    *[
        "x" * 20_000,
        "%41" * 5_000,
        "%f0%9f%a6%8a" * 64,
        "null",
        "true",
        "-1",
        "9" * 400,
        "CON",
        "a%3Fb",
        "a%23b",
    ],
]

QUERIES = [
    *[
        b"",
        b"&",
        b"=",
        b"?",
        b"limit=1",
        b"limit=0",
        b"limit=" + b"9" * 5_000,
        b"limit=1e3",
        b"limit=%00",
        b"limit=",
    ],
    *[
        b"limit=1&limit=x",
        b"collection=%ff",
        b"collection=default%00",
        b"collection=a&collection=b",
        b"cursor=AA",
    ],
    *[
        b"cursor=%ff",
        b"cursor=////",
        b"cursor=7aCA",
        b"cursor=" + b"A" * 10_000,
        b"cursor=%f0%9f%a6%8a",
        b"cursor",
    ],
    *[b"%", b"%zz=1", b"a[]=1", b"&".join([b"a=1"] * 2_000), b";".join([b"limit=1"] * 3)],
]

CONTENT_TYPES = [
    *[b"application/json", b"application/json; charset=utf-8", b"application/json; charset=utf-16"],
    *[
        b"application/json; charset=nonsense",
        b"application/json;",
        b"application/problem+json",
        b"application/vnd+json",
    ],
    *[
        b"APPLICATION/JSON",
        b"application/json, text/html",
        b"text/plain",
        b"text/json; charset=latin-1",
        b"*/*",
    ],
    *[
        b"multipart/form-data",
        b'multipart/form-data; boundary="',
        b"application/x-www-form-urlencoded",
        b"",
        b"/",
    ],
    *[
        b"json",
        b"\xff\xfe",
        b"application/json\t",
        b"a/b; c=" + b"d" * 4_000,
        b"application/msgpack",
    ],
]

HEADERS: list[tuple[bytes, list[bytes]]] = [
    (
        b"content-encoding",
        [b"gzip", b"deflate", b"br", b"identity", b"gzip, gzip", b"nonsense", b""],
    ),
    (b"accept", [b"", b"*/*", b"text/html;q=nan", b"application/json;q=2", b"\xff", b"," * 4_000]),
    (b"accept-encoding", [b"gzip;q=x", b"*;q=0", b"identity;q=0"]),
    (b"accept-charset", [b"utf-16"]),
    (
        b"host",
        [
            b"",
            b"[",
            b"[::1",
            b"a b",
            b"example.com:99999",
            b"example.com:x",
            b"a/collections?",
            b"\xff",
            b"@",
        ],
    ),
    (
        b"range",
        [
            b"bytes=5-1",
            b"bytes=-0",
            b"bytes=9999999999-",
            b"bytes=x",
            b"bytes=0-0,2-2",
            b"lines=1",
            b"\xff",
        ],
    ),
    (b"if-range", [b"x", b"\xff"]),
    (b"if-none-match", [b"*", b'"', b"\xff"]),
    (b"if-modified-since", [b"yesterday", b"Thu, 99 Foo 9999 99:99:99 GMT", b"\xff", b"0"]),
    (b"cookie", [b"=", b"a=" + b"b" * 8_000, b"\xff=\xfe", b'a="']),
    (
        b"authorization",
        [b"Basic", b"Bearer \xff", b"Basic !!!", b"Bearer", b"bearer  \t", b"Bearer a b"],
    ),
    (
        b"authorization",
        [b"Bearer " + b"x" * 10_000, b"Bearer sameask_" + b"0" * 16 + b"_" + b"0" * 64],
    ),
    (b"origin", [b"null", b"http://[", b"\xff"]),
    (b"x-forwarded-for", [b"\xff", b"256.1.1.1", b"," * 100]),
    (b"x-forwarded-proto", [b"gopher"]),
    (b"x-http-method-override", [b"DELETE"]),
    (b"te", [b"trailers, x"]),
    (b"upgrade", [b"websocket", b"h2c"]),
    (b"connection", [b"upgrade", b"keep-alive", b"\xff"]),
    (b"expect", [b"200-maybe"]),
    (b"server-timing", [b"total;dur=x"]),
]

# Claims that a server's parser refuses, or that break its framing: told only to the app itself.
CLAIMS: list[tuple[bytes, list[bytes]]] = [
    (
        b"content-length",
        [b"", b"0", b"-1", b"+1", b"1_0", b"x", b"\xb2", b"0x10", b"9" * 30, b"9" * 5_000, b"1, 1"],
    ),
    (b"transfer-encoding", [b"chunked", b"gzip, chunked", b"\xff"]),
]

BODIES: dict[str, dict[str, Any]] = {
    "/duplicates": {
        "questions": ["Where is it?", "Who?"],
        "collection": "default",
        "top_k": 3,
        "exclude_ids": ["a"],
    },
    "/pair-score": {"pairs": [{"question1": "Where is it?", "question2": "Where?"}]},
    "/v1/embeddings": {"model": "sameask", "input": ["Where is it?", "Who?"], "dimensions": 32},
    "/questions": {
        "collection": "default",
        "questions": [{"id": "a", "text": "Why?"}, {"id": "b", "text": "How?"}],
    },
    "/admin/releases/shadow": {"release": "tiny"},
    "/admin/releases/live": {"release": "tiny", "reason": "Why not?"},
    "/admin/releases/live/rollback": {"reason": "Why not?"},
    "/labels": {
        "collection": "default",
        "labels": [
            {"ids": ["a", "a/b"], "is_duplicate": True, "by": "anna"},
            {"questions": ["Why?", "How?"], "is_duplicate": False, "by": "bob", "note": "no"},
        ],
    },
}

# JSON, or nearly, to stand where a value stands.
VALUES = [
    *[
        "0",
        "-0",
        "1e400",
        "-1e400",
        "1e-400",
        "1.0",
        "1e2",
        "0.5",
        "9" * 30,
        "9" * 4_300,
        "9" * 5_000,
        "-" + "9" * 400,
    ],
    *[
        "1." + "0" * 5_000,
        "NaN",
        "Infinity",
        "-Infinity",
        "01",
        "+1",
        "0x1",
        "1_0",
        "1e",
        ".5",
        "true",
        "null",
        "nul",
    ],
    *[
        '""',
        '" "',
        '"\\u0000"',
        '"\\ud800"',
        '"\\udc00\\ud800"',
        '"\\ud83e\\udd8a"',
        '"\\x41"',
        '"\\u12"',
        '"\t"',
        '"',
    ],
    *[
        '"' + "x" * 101 + '"',
        '"' + "🦊" * 100 + '"',
        '"' + "\u0301" * 100 + '"',
        '"\\u202e\\u200d\\ufeff\\ufffe"',
    ],
    *[
        '"' + "x" * 150_000 + '"',
        '"\\n"',
        '"' + "\\u0041" * 100 + '"',
        "'x'",
        "[]",
        "{}",
        "[[]]",
        '[""]',
        '{"": {}}',
    ],
    *[
        '{"id": "a", "id": "b", "text": "x", "text": "y"}',
        '{"__proto__": 1}',
        '{"' + "k" * 150_000 + '": 1}',
        '{"\\ud800": 1}',
        '{"\\u0000": "\\u0000"}',
    ],
    *["[" * depth + "]" * depth for depth in (50, 1_000, 90_000)],
    *['{"a":' * depth + "1" + "}" * depth for depth in (50, 1_000, 30_000)],
    *[
        "[" * 90_000,
        '{"a":' * 30_000,
        "[1" + ",1" * 60_000 + "]",
        '["x"' + ',"x"' * 30_000 + "]",
        "",
        "/**/1",
        "1 1",
    ],
]


@dataclass(frozen=True, repr=False)
class RawRequest:
    """A request as it is on the wire; `leaves`: the client goes away before the body has ended."""

    method: str
    path: bytes
    query: bytes = b""
    headers: Headers = ()
    chunks: tuple[bytes, ...] = (b"",)
    leaves: bool = False

    def __str__(self) -> str:
        headers = b", ".join(name + b": " + value for name, value in self.headers)
        return "\n".join(
            [
                f"{self.method} {_short(self.path)} {_short(self.query)} {_short(headers)}{' leaves' * self.leaves}",
                *map(_short, self.chunks),
            ]
        )


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""


def fuzz_raw(client: TestClient, app: ASGIApp, examples: int, seed: int) -> None:
    """Send raw requests to the app whose lifespan the client runs. Raises at the first that is answered badly."""
    routes = routes_of(client.get("/openapi.json").json())
    _furnish(client)
    _for_each(
        raw_requests(routes, claims=True),
        lambda request: send(client, app, request),
        examples,
        seed,
    )
    check_that_all_is_reachable(client)


def fuzz_socket(url: str, routes: list[Route], examples: int, seed: int) -> None:
    """The same to a server on a real socket, which does the framing and the percent-decoding."""
    _for_each(
        raw_requests(routes, claims=False),
        lambda request: ask_server(url, request),
        examples,
        seed,
    )


def send(client: TestClient, app: ASGIApp, request: RawRequest) -> Answer | None:
    """What the app answers, when it is told what a server would tell it."""
    pieces = deque(request.chunks)
    answered: list[Message] = []

    async def receive() -> Message:
        if pieces:
            return {
                "type": "http.request",
                "body": pieces.popleft(),
                "more_body": bool(pieces) or request.leaves,
            }
        if not request.leaves:
            await anyio.sleep_forever()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        answered.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": request.method,
        "path": unquote(request.path.decode()),
        "raw_path": request.path,
        "query_string": request.query,
        "root_path": "",
        "headers": list(request.headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    assert client.portal is not None
    client.portal.call(app, scope, receive, send)
    if not answered:
        return None
    start, *body = answered
    return Answer(
        start["status"],
        dict(start["headers"]),
        b"".join(message.get("body", b"") for message in body),
    )


def check_answer(request: RawRequest, answer: Answer | None) -> None:
    """Raise AssertionError unless this is a good answer to whatever was sent."""
    told = f"{request}\n{answer}"
    if request.leaves:
        assert answer is None or answer.status < 500, told
        return
    assert answer is not None, told
    assert 200 <= answer.status < 500, told
    if answer.status < 400:
        return
    assert answer.headers[b"content-type"] == CONTENT_TYPE.encode(), told
    assert (b"allow" in answer.headers) == (answer.status == 405), told
    assert request.method.encode() not in answer.headers.get(b"allow", b"").split(b", "), told
    if request.method != "HEAD":
        found = Problem.model_validate_json(answer.body)
        assert found.status == answer.status, told
        assert found.status != 400 or found.title in (InvalidJson.title, BrokenRequest.title), told
        assert len(answer.body) < MAX_ANSWER, told


def check_that_all_is_reachable(client: TestClient) -> None:
    """Raise AssertionError unless all that is stored can be listed, read, found and deleted, and is gone then."""
    for collection in _listed(client, "/collections", "collections"):
        name = collection["name"]
        stored = list(_listed(client, "/questions", "questions", collection=name))
        assert len(stored) == collection["questions"]
        for question in stored:
            address = f"/questions/{quote(question['id'], safe='')}?collection={name}"
            assert client.get(address).json() == question
            asked = client.post(
                "/duplicates",
                json={"questions": [question["text"]], "collection": name, "top_k": 20},
            )
            assert asked.json()["results"][0]["verdict"] == "duplicate", asked.text
            assert client.delete(address).status_code == 200
            assert client.get(address).status_code == 404
        assert client.delete(f"/collections/{name}").status_code == (
            409 if name == "default" else 204
        )
    assert client.get("/readyz").json()["questions_indexed"] == 0


def _furnish(client: TestClient) -> None:
    """Store questions where the paths of requests point, and some whose ids are hard to write in an address."""
    assert client.put("/collections/faq").is_success
    for collection in ("default", "faq"):
        ids = ["a", "a/b", "..a", "100%", "?#&;=+ ", "🦊\u0301"]
        questions = [{"id": id_, "text": f"What is {id_} in {collection}?"} for id_ in ids]
        assert client.post(
            "/questions", json={"collection": collection, "questions": questions}
        ).is_success
        said = [
            {"ids": ids[n : n + 2], "is_duplicate": n < 2, "by": f"person {n}"} for n in range(4)
        ]
        assert client.post("/labels", json={"collection": collection, "labels": said}).is_success


def _listed(client: TestClient, path: str, items: str, **params: str) -> Iterator[dict[str, Any]]:
    """All items of a list, page by page."""
    page = client.get(path, params={"limit": 7, **params}).json()
    pages = [page]
    while page["next_cursor"] is not None:
        page = client.get(path, params={"limit": 7, "cursor": page["next_cursor"], **params}).json()
        pages.append(page)
    return (item for page in pages for item in page[items])


def routes_of(document: dict[str, Any]) -> list[Route]:
    """What an OpenAPI document says there is: methods and paths."""
    return [
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    ]


@st.composite
def raw_requests(draw: st.DrawFn, routes: list[Route], *, claims: bool) -> RawRequest:
    """Any request, to any route; with `claims`, headers that contradict the framing too."""
    method, template = draw(
        st.sampled_from(routes)
        | st.sampled_from([("POST", path) for path in BODIES])
        | st.tuples(st.sampled_from(METHODS), st.sampled_from(PATHS + [path for _, path in routes]))
    )
    path = re.sub(r"\{[^}]*\}", lambda _: draw(_segments()), template)
    body = (
        draw(_bodies(template))
        if method in ("POST", "PUT", "PATCH") or draw(st.booleans())
        else b""
    )
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=3)))
    return RawRequest(
        method=method,
        path=path.encode(),
        query=draw(
            st.one_of(st.just(b""), st.sampled_from(QUERIES), st.binary(max_size=20).map(_percent))
        ),
        headers=draw(_headers(claims)),
        chunks=tuple(
            body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)
        ),
        leaves=draw(st.integers(0, 19)) == 19,
    )


def _segments() -> st.SearchStrategy[str]:
    """What stands for a {parameter} of a path: half the time a name that may exist."""
    odd = st.one_of(
        st.sampled_from(SEGMENTS),
        st.text(max_size=12).map(
            lambda text: quote(text.encode("utf-8", "surrogatepass"), safe="")
        ),
        st.binary(max_size=8).map(lambda data: _percent(data).decode()),
    )
    return st.booleans().flatmap(
        lambda plain: st.sampled_from(["default", "faq", "a"]) if plain else odd
    )


@st.composite
def _headers(draw: st.DrawFn, claims: bool) -> Headers:
    content_type = draw(
        st.one_of(st.just(CONTENT_TYPES[0]), st.none(), st.sampled_from(CONTENT_TYPES))
    )
    headers = [] if content_type is None else [(b"content-type", content_type)]
    for name, values in draw(st.lists(st.sampled_from(HEADERS + CLAIMS * claims), max_size=5)):
        headers.append((name, draw(st.sampled_from(values))))
    value = st.binary(max_size=8).map(
        lambda data: bytes(byte for byte in data if byte >= 32 and byte != 127).strip()
    )
    if draw(st.integers(0, 4)) == 4:
        headers.append(
            (draw(st.from_regex(rb"x-[a-z0-9!#$%&'*+.^_`|~-]{0,8}", fullmatch=True)), draw(value))
        )
    return tuple(headers)


@st.composite
def _bodies(draw: st.DrawFn, path: str) -> bytes:
    kind = path if path in BODIES else draw(st.sampled_from(list(BODIES)))
    if draw(st.integers(0, 3)) == 0:
        return json.dumps(BODIES[kind]).encode()
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
        ),
        max_leaves=6,
    )
    value = draw(st.sampled_from(VALUES) | st.just('"fine?"') | anything.map(json.dumps))
    text = draw(st.sampled_from(HOLES[kind])).replace('"@"', value, 1)
    if draw(st.integers(0, 5)) == 5:
        text = text.replace(
            "{",
            "{"
            + draw(
                st.sampled_from(['"questions": [], ', '"collection": "nowhere", ', '"id": 1, '])
            ),
            1,
        )
    encoding = draw(
        st.sampled_from(
            [*["utf-8"] * 12, "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp037"]
        )
    )
    body = text.encode(encoding, "replace")
    match draw(st.integers(0, 11)):
        case 9:
            return body[: draw(st.integers(0, min(len(body), 300)))]
        case 10:
            place = draw(st.integers(0, min(len(body), 300)))
            return body[:place] + draw(st.binary(min_size=1, max_size=4)) + body[place:]
        case 11:
            return draw(
                st.sampled_from([gzip.compress(body), gzip.compress(body)[:20], b""])
                | st.binary(max_size=60)
            )
        case _:
            return body


def _holes(value: Any, around: Callable[[Any], Any] = lambda inner: inner) -> Iterator[str]:
    """The JSON of a value with "@" for each of its parts in turn, the whole first."""
    yield json.dumps(around("@"))
    parts = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, part in parts:
        yield from _holes(part, partial(_around, around, value, key))


def _around(around: Callable[[Any], Any], value: Any, key: Any, part: Any) -> Any:
    copy = value.copy()
    copy[key] = part
    return around(copy)


HOLES = {path: list(_holes(body)) for path, body in BODIES.items()}


def _for_each(
    requests: st.SearchStrategy[RawRequest],
    ask: Callable[[RawRequest], Answer | None],
    examples: int,
    seed: int,
) -> None:
    @hypothesis.seed(seed)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(requests)
    def is_answered_well(request: RawRequest) -> None:
        check_answer(request, ask(request))

    is_answered_well()


def ask_server(url: str, request: RawRequest) -> Answer | None:
    """What a server answers to these bytes."""
    address = urlsplit(url)
    chunked = len(request.chunks) > 1
    length = (
        b"transfer-encoding: chunked" if chunked else b"content-length: %d" % len(request.chunks[0])
    )
    target = request.path + b"?" * bool(request.query) + request.query
    lines = [b"%s %s HTTP/1.1" % (request.method.encode(), target), length]
    if all(name != b"host" for name, _ in request.headers):
        lines.append(b"host: localhost")
    lines.extend(name + b": " + value for name, value in request.headers)
    with socket.create_connection(
        (address.hostname or "", address.port or 0), PATIENCE_SECONDS
    ) as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        with suppress(
            BrokenPipeError, ConnectionResetError
        ):  # it may say no before it has read the body
            for chunk in request.chunks:
                if chunk:
                    connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk) if chunked else chunk)
            connection.sendall(b"0\r\n\r\n" if chunked and not request.leaves else b"")
        if request.leaves:
            return None
        response = HTTPResponse(connection, method=request.method)
        response.begin()
        headers = {
            name.lower().encode("latin-1"): value.encode("latin-1")
            for name, value in response.getheaders()
        }
        return Answer(response.status, headers, response.read())


def _percent(data: bytes) -> bytes:
    return b"".join(b"%%%02x" % byte for byte in data)


def _short(data: bytes) -> str:
    return repr(data) if len(data) < 300 else f"{data[:150]!r} … {data[-50:]!r} ({len(data)} bytes)"
