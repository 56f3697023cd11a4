"""Connections over real sockets: heads without end, requests that stop half-way, clients that do not read."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPResponse
from typing import Any

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.http.connections import MAX_PIPELINED, Connection, limited
from app.settings import Settings
from tests.serving import PATIENCE_SECONDS, PROBLEM, wait_until

LIMITS: dict[str, Any] = {"max_head_bytes": 4096, "max_body_bytes": 8192}
LARGE = 3 * 2**20  # bytes of an answer: more than the kernel takes for a client that does not read
READ_AT_ONCE = 262_144  # by uvicorn's transport
SHORT_SECONDS = 0.3
GET = b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a GET of a number with so many bytes, a POST with the length of its body, and /no at once."""
    request = Request(scope, receive)
    if request.method == "POST" and request.url.path != "/no":
        content = str(len(await request.body())).encode()
    elif request.url.path == "/no":
        content = b"no"
    else:
        content = b"x" * int(request.url.path[1:])
    await Response(content)(scope, receive, send)


class Served:
    """A server in a thread: what it has read, and its connections."""

    def __init__(self, settings: Settings) -> None:
        self.read_bytes = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.server = uvicorn.Server(
            uvicorn.Config(
                _app,
                log_config=None,
                access_log=False,
                lifespan="off",
                http=self._counted(limited(settings)),
                ws="none",
            )
        )
        self.thread = threading.Thread(target=self.server.run, args=([self._listening],))

    def _counted(self, kind: type[Connection]) -> type[Connection]:
        served = self

        class Counted(kind):  # type: ignore[valid-type, misc]
            def data_received(self, data: bytes) -> None:
                served.read_bytes += len(data)
                super().data_received(data)

        return Counted

    @property
    def connections(self) -> int:
        """How many the server holds open."""
        return len(self.server.server_state.connections)

    def connect(self, *, receive_bytes: int | None = None) -> socket.socket:
        """A new connection; `receive_bytes` is how much the kernel takes for a client that does not read."""
        connection = socket.socket()
        if receive_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.settimeout(PATIENCE_SECONDS)
        connection.connect(self._listening.getsockname())
        return connection

    def ask(self, *pieces: bytes) -> HTTPResponse:
        """The answer to these bytes, sent one after the other."""
        with self.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
            return _answer(connection)


@contextmanager
def _served(**limits: Any) -> Iterator[Served]:
    served = Served(Settings.model_validate({**LIMITS, **limits}))
    served.thread.start()
    try:
        wait_until(lambda: served.server.started)
        yield served
    finally:
        served.server.should_exit = served.server.force_exit = True
        served.thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """A server whose limits of bytes are small."""
    with _served() as served:
        yield served


def _answer(connection: socket.socket) -> HTTPResponse:
    response = HTTPResponse(connection)
    response.begin()
    response.content = response.read()  # type: ignore[attr-defined]
    return response


def _assert_refused(response: HTTPResponse, status: int, setting: str) -> None:
    """A problem document that names the setting, behind which the connection is closed."""
    document = json.loads(response.content)  # type: ignore[attr-defined]
    assert (response.status, document["status"]) == (status, status)
    assert response.headers["content-type"] == PROBLEM
    assert response.headers["connection"] == "close"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert setting in document["detail"]


def _pour(connection: socket.socket, piece: bytes) -> None:
    """Send the piece again and again until the server has closed."""
    with suppress(BrokenPipeError, ConnectionResetError):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            connection.sendall(piece)
        pytest.fail("the server reads without end")


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"GET /1 HTTP/1.1\r\nX: ", b"a" * 65_536),
        (b"GET /1 HTTP/1.1\r\n", b"X: a\r\n" * 10_000),
        (b"GET /", b"1" * 65_536),
        (b"", b"\r\n" * 32_768),
        (CHUNKED + b"1;", b"a" * 65_536),
        (CHUNKED + b"0\r\nX: ", b"a" * 65_536),
        (CHUNKED + b"0\r\n", b"X: a\r\n" * 10_000),
        (b"POST /no HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"a" * 65_536),
    ],
    ids=[
        "one header",
        "many headers",
        "the target",
        "line feeds",
        "a chunk's extension",
        "one trailer",
        "many trailers",
        "a body that nobody reads",
    ],
)
def test_what_comes_without_end_is_read_up_to_the_limit(
    server: Served, begin: bytes, piece: bytes
) -> None:
    server.read_bytes = 0
    with server.connect() as connection:
        connection.sendall(begin)
        _pour(connection, piece)
    assert server.read_bytes <= LIMITS["max_body_bytes"] + 2 * READ_AT_ONCE
    wait_until(lambda: server.connections == 0)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /1 HTTP/1.1\r\nX: " + b"a" * 5000 + b"\r\n\r\n",
        b"GET /1 HTTP/1.1\r\n" + b"X: a\r\n" * 800 + b"\r\n",
        b"GET /1?" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_a_head_past_the_limit_is_431(server: Served, head: bytes) -> None:
    _assert_refused(server.ask(head), 431, "SAMEASK_MAX_HEAD_BYTES")


def test_a_head_in_pieces_is_counted_as_one(server: Served) -> None:
    pieces = [b"GET /1 HTTP/1.1\r\nX: ", *[b"a" * 100] * 41]  # the last one is too much
    _assert_refused(server.ask(*pieces), 431, "SAMEASK_MAX_HEAD_BYTES")


def test_a_head_that_begins_behind_another_request_is_counted_too(server: Served) -> None:
    with server.connect() as connection:
        connection.sendall(GET + b"GET /1 HTTP/1.1\r\nX: " + b"a" * 7500 + b"\r\n\r\n")
        answers = b""
        while piece := connection.recv(65_536):
            answers += piece
    assert answers.count(b"HTTP/1.1 200") <= 1  # none for the second


def test_heads_of_one_connection_are_counted_apart(server: Served) -> None:
    head = b"GET /2 HTTP/1.1\r\nX: " + b"a" * 3000 + b"\r\n\r\n"
    with server.connect() as connection:
        for _ in range(3):
            connection.sendall(head)
            assert _answer(connection).status == 200


def test_what_is_no_http_is_a_problem_document(server: Served) -> None:
    _assert_refused(server.ask(b"hello, is this a mail server?\r\n\r\n"), 400, "HTTP/1.1")


def test_a_body_in_chunks_of_one_byte_is_read(server: Served) -> None:
    response = server.ask(CHUNKED, b"1\r\na\r\n" * 5000, b"0\r\n\r\n")
    assert response.content == b"5000"  # type: ignore[attr-defined]


UPGRADE = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"


@pytest.mark.parametrize("wait_seconds", [0, 0.05])
@pytest.mark.parametrize("pieces", [1, 2, 7, 300])
@pytest.mark.parametrize(
    "framed",
    [b"Content-Length: 30\r\n\r\n%s", b"Transfer-Encoding: chunked\r\n\r\n1e\r\n%s\r\n0\r\n\r\n"],
    ids=["length", "chunked"],
)
def test_a_request_that_asks_for_another_protocol_keeps_its_body(
    server: Served, framed: bytes, pieces: int, wait_seconds: float
) -> None:
    """Clients that would rather speak HTTP/2 ask so with each request. A body must not be read as the next request."""
    body = b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\nxx"
    sent = UPGRADE + framed % body
    step = -(-len(sent) // pieces)
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(sent), step):
            connection.sendall(sent[start : start + step])
            time.sleep(wait_seconds if pieces <= 2 else 0)
        assert _answer(connection).content == b"30"  # type: ignore[attr-defined]
        assert connection.recv(1) == b""  # one answer


def test_what_follows_a_request_for_another_protocol_is_not_read(server: Served) -> None:
    with server.connect() as connection:
        connection.sendall(UPGRADE + b"Content-Length: 2\r\n\r\nab" + GET + b"nonsense")
        assert _answer(connection).content == b"2"  # type: ignore[attr-defined]
        assert connection.recv(1) == b""


def test_a_request_for_another_protocol_without_a_body_is_answered(server: Served) -> None:
    with server.connect() as connection:
        connection.sendall(GET[:-2] + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert _answer(connection).content == b"xxx"  # type: ignore[attr-defined]


def test_requests_ahead_of_their_answers_are_answered_in_order(server: Served) -> None:
    with server.connect() as connection:
        connection.sendall(b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % i for i in range(1, 9)))
        stream = connection.makefile("rb")
        for i in range(1, 9):
            length = 0
            while (line := stream.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            assert (length, stream.read(length)) == (i, b"x" * i)


def test_no_connection_queues_requests_without_end(server: Served) -> None:
    queued: list[int] = []
    begin = Connection.on_headers_complete

    def watch(connection: Connection) -> None:
        queued.append(len(connection.pipeline))
        begin(connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "on_headers_complete", watch)
        with server.connect() as connection:
            connection.sendall(b"GET /1 HTTP/1.1\r\n\r\n" * 10_000)
            _read_all(connection)
    assert max(queued) == MAX_PIPELINED


@pytest.mark.parametrize(
    ("sent", "setting"),
    [
        (b"GET /1 HTT", "SAMEASK_MAX_HEAD_SECONDS"),
        (b"\r\n", "SAMEASK_MAX_HEAD_SECONDS"),
        (b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nab", "SAMEASK_MAX_BODY_SECONDS"),
        (CHUNKED + b"2\r\nab\r\n", "SAMEASK_MAX_BODY_SECONDS"),
        (GET + b"GET /1 HTT", "SAMEASK_MAX_HEAD_SECONDS"),
    ],
)
def test_a_request_that_stops_half_way_is_408(sent: bytes, setting: str) -> None:
    with _served(max_head_seconds=SHORT_SECONDS, max_body_seconds=SHORT_SECONDS) as server:
        with server.connect() as connection:
            connection.sendall(sent)
            if sent.startswith(GET):
                assert _answer(connection).status == 200
            _assert_refused(_answer(connection), 408, setting)
            assert connection.recv(1) == b""
        wait_until(lambda: server.connections == 0)


def test_a_body_that_comes_byte_by_byte_has_the_same_time() -> None:
    with _served(max_body_seconds=SHORT_SECONDS) as server, server.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 8000\r\n\r\n")
        sent = 0
        with suppress(BrokenPipeError, ConnectionResetError):
            while server.connections and sent < 8000:
                connection.sendall(b"a")
                sent += 1
                time.sleep(SHORT_SECONDS / 20)
        assert sent < 8000
        wait_until(lambda: server.connections == 0)


def test_a_connection_that_says_nothing_is_closed_without_a_word() -> None:
    with _served(max_head_seconds=SHORT_SECONDS) as server, server.connect() as connection:
        assert connection.recv(1) == b""


def test_the_rest_of_a_body_that_was_answered_before_has_its_time_too() -> None:
    with _served(max_body_seconds=SHORT_SECONDS) as server, server.connect() as connection:
        connection.sendall(b"POST /no HTTP/1.1\r\nContent-Length: 9\r\n\r\na")
        assert _answer(connection).status == 200
        assert connection.recv(1) == b""


def test_an_idle_connection_between_requests_is_not_late() -> None:
    with _served(max_head_seconds=SHORT_SECONDS) as server, server.connect() as connection:
        for _ in range(2):
            connection.sendall(GET)
            assert _answer(connection).status == 200
            time.sleep(2 * SHORT_SECONDS)


def test_a_client_that_does_not_read_is_let_go() -> None:
    with (
        _served(max_unread_seconds=SHORT_SECONDS) as server,
        server.connect(receive_bytes=4096) as connection,
    ):
        connection.sendall(b"GET /%d HTTP/1.1\r\n\r\n" % LARGE)
        wait_until(lambda: server.connections == 1)
        wait_until(lambda: server.connections == 0)
        assert _read_all(connection) < LARGE


def test_a_client_that_does_not_read_its_last_answer_is_let_go() -> None:
    with (
        _served(max_unread_seconds=SHORT_SECONDS) as server,
        server.connect(receive_bytes=4096) as connection,
    ):
        connection.sendall(b"GET /%d HTTP/1.1\r\nConnection: close\r\n\r\n" % LARGE)
        wait_until(lambda: server.connections == 1)
        wait_until(lambda: server.connections == 0)
        assert _read_all(connection) < LARGE


def test_who_reads_slowly_gets_all_of_it() -> None:
    with _served() as server, server.connect(receive_bytes=4096) as connection:
        connection.sendall(b"GET /%d HTTP/1.1\r\nConnection: close\r\n\r\n" % LARGE)
        time.sleep(SHORT_SECONDS)
        assert _read_all(connection) > LARGE


def test_all_clients_together_leave_no_more_unread_than_the_limit() -> None:
    """Of 8 MiB the kernel takes two or three; so the rest of two answers fits, and that of three does not."""
    answer = 8 * 2**20
    with _served(max_unread_bytes=13 * 2**20) as server, ExitStack() as stack:
        clients = []
        for count in range(1, 6):
            client = stack.enter_context(server.connect(receive_bytes=4096))
            clients.append(client)
            client.sendall(b"GET /%d HTTP/1.1\r\n\r\n" % answer)
            wait_until(_is_answered(server, count))
        wait_until(lambda: server.connections == 2)
        have_all = [_read_all(client, answer) == answer for client in clients]
        assert have_all == [False, False, False, True, True]


def _is_answered(server: Served, count: int) -> Callable[[], bool]:
    return lambda: server.server.server_state.total_requests == count


def _read_all(connection: socket.socket, most: int | None = None) -> int:
    """How many bytes can be read before the other side has closed, or `most` are."""
    count = 0
    with suppress(ConnectionResetError):
        while most is None or count < most:
            piece = connection.recv(65_536 if most is None else min(65_536, most - count))
            if not piece:
                break
            count += len(piece)
    return count
