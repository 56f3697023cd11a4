"""Connections, held to limits: the bytes and seconds of a request, and the seconds in which an answer must be read.

uvicorn's own connection parses HTTP/1.1 in C and has no limits. This one counts what it feeds to the parser and what
the parser hands back. A timer runs only while a request is incomplete or an answer waits for its reader.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from app.errors import BrokenRequest, HeadTooLarge, RequestTooSlow, SameaskError
from app.http.browsers import ALWAYS
from app.http.problems import answer
from app.settings import Settings

MAX_PIPELINED = 16  # requests that one connection may send ahead of their answers
LINE_BYTES = 4  # of a header, beside its name and value: a colon, a space, the end of the line
FRAMING = (b"content-length", b"transfer-encoding")  # headers that say where a body ends
MAX_FRAMING = 8  # bytes of a chunked body on the wire for each of its own: a chunk of one has six

log = logging.getLogger(__name__)

Part = Literal["head", "body"]
Header = tuple[bytes, bytes]


class Unread:
    """The connections whose clients read more slowly than they are answered, and the bytes that these hold together."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._transports: dict[asyncio.Transport, None] = {}  # who has waited longest first

    def add(self, transport: asyncio.Transport) -> None:
        """Count one more connection. Past the limit, close those that have waited longest."""
        self._transports[transport] = None
        waiting = list(self._transports)
        total = sum(one.get_write_buffer_size() for one in waiting)
        for one in waiting:
            if total <= self._max_bytes:
                return
            total -= one.get_write_buffer_size()
            self.discard(one)
            one.abort()

    def discard(self, transport: asyncio.Transport) -> None:
        """Stop counting a connection."""
        self._transports.pop(transport, None)


class Body:
    """The body of a request, by a second parser, where the first one has read the head."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self.is_whole = False

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._connection.on_body(body)

    def on_message_complete(self) -> None:
        """The body is whole."""
        self.is_whole = True
        self._connection.on_message_complete()


class Connection(HttpToolsProtocol):
    """One client's connection. `limited` makes the class of it that a server uses."""

    limits: ClassVar[Settings]
    unread: ClassVar[Unread]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._part: Part | None = "head"  # what is awaited of a request; None: nothing, so far
        self._has_begun = False  # whether anything of a request has come
        self._is_new = False  # whether the request began in the piece that is parsed now
        self._body_bytes = 0
        self._fed_bytes = 0  # of the part, save for the piece of data in which it began
        self._refusal: SameaskError | None = None  # why a callback made the parser stop
        self._body: Body | None = None  # of a request that asked for another protocol: the last one
        self._due: Part | None = None  # the part that the timer of the request is for
        self._request_timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None

    # What the transport tells

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer: a client that never says anything is late, too."""
        super().connection_made(transport)
        self._watch_request()

    def data_received(self, data: bytes) -> None:
        """Parse it in pieces, none larger than a head may be."""
        most = self.limits.max_head_bytes
        if len(data) <= most:
            self._feed(data)
            return
        for start in range(0, len(data), most):
            if self.transport.is_closing():
                return
            self._feed(data[start : start + most])

    def pause_writing(self) -> None:
        """The client has not read what it was sent: from now on it has so long to do so."""
        super().pause_writing()
        self._watch_answer()
        self.unread.add(self.transport)

    def resume_writing(self) -> None:
        """The client has read nearly all of it."""
        super().resume_writing()
        self._forget_answer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        if self._request_timer:
            self._request_timer.cancel()
        self._forget_answer()
        super().connection_lost(exc)

    # What the parser tells

    def on_message_begin(self) -> None:
        """A request begins: count its bytes from here."""
        super().on_message_begin()
        self._part = "head"
        self._is_new = True
        self._body_bytes = self._fed_bytes = 0

    def on_headers_complete(self) -> None:
        """The head is whole, and the request is passed on, or waits for the answers of those before it."""
        if not self._is_new:  # it came in several pieces
            self._check_head()
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop(BrokenRequest(f"more than {MAX_PIPELINED} came ahead of their answers"))
        self._part = "body"
        self._fed_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole. The parser says so of one that asks for another protocol before its body."""
        if self._body is None and self.parser.should_upgrade():
            return
        self._part = None
        super().on_message_complete()

    # What uvicorn does by itself

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Answer what the parser refused; uvicorn's words are plain text."""
        refusal = self._refusal
        self._refusal = None
        self._refuse(refusal or BrokenRequest("it is none of HTTP/1.1"))

    def on_response_complete(self) -> None:
        """An answer is written. Where it is the last one, the client has so long to read it."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_answer()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing came for a long time."""
        self._close()

    def shutdown(self) -> None:
        """The server ends."""
        super().shutdown()
        if self.transport.is_closing():
            self._watch_answer()

    # Bytes

    def _feed(self, data: bytes) -> None:
        """Parse a piece, unless the request has become too large by it."""
        if self._part is None:  # line feeds before a request are no request to the parser
            self._part = "head"
        self._has_begun = True
        self._is_new = False
        part = self._part
        cycle = self.cycle
        self._parse(data)
        if self._awaits_nothing():
            return  # the whole of a request, as nearly always
        if part == self._part and cycle is self.cycle:
            self._fed_bytes += len(data)
        self._check_size()
        self._watch_request()

    def _parse(self, data: bytes) -> None:
        """As uvicorn does, save that a request for another protocol keeps its body."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if self._body is None or not self._body.is_whole:  # what follows it is not read
                self.send_400_response(str(error))

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Have a second parser read the body of a request that asks for another protocol; the first one would skip it.

        The service speaks no other. The connection ends with the answer.
        """
        self.cycle.keep_alive = False
        self._body = Body(self)
        self.parser = httptools.HttpRequestParser(self._body)
        self._parse(_head_of_body(self.headers) + rest)

    def _awaits_nothing(self) -> bool:
        return self._part is None and self._due is None

    def _check_head(self) -> None:
        size = len(self.url)
        for name, value in self.headers:
            size += len(name) + len(value) + LINE_BYTES
        if size > self.limits.max_head_bytes:
            self._stop(HeadTooLarge(self.limits.max_head_bytes))

    def _stop(self, refusal: SameaskError) -> None:
        """Make the parser stop, from within one of its callbacks."""
        self._refusal = refusal
        raise refusal

    def _check_size(self) -> None:
        """Refuse data that the parser keeps to itself: a header without end; trailers and frames beside a body."""
        most = self.limits.max_head_bytes
        if self._part == "body":
            most += MAX_FRAMING * self._body_bytes
        if self._part and self._fed_bytes > most:
            self._refuse(HeadTooLarge(self.limits.max_head_bytes))
        elif self._is_answered() and self._body_bytes > self.limits.max_body_bytes:
            self._close()  # nobody reads the rest of it

    # Seconds

    def _watch_request(self) -> None:
        """Have the timer run for the part that is awaited, if one is."""
        if self._due == self._part:
            return
        if self._request_timer:
            self._request_timer.cancel()
            self._request_timer = None
        self._due = self._part
        if self._part:
            self._request_timer = self.loop.call_later(self._seconds(self._part), self._be_late)

    def _seconds(self, part: Part) -> float:
        return self.limits.max_head_seconds if part == "head" else self.limits.max_body_seconds

    def _be_late(self) -> None:
        """Refuse a part that is not whole in time. Where the service itself does not read, the part has as long
        again."""
        self._request_timer = None
        late = self._due
        self._due = None
        if self.flow.read_paused:
            self._watch_request()
        elif late and self._has_begun and not self._is_answered():
            self._refuse(RequestTooSlow(late, self._seconds(late)))
        else:
            self._close()

    def _watch_answer(self) -> None:
        if self._answer_timer is None:
            seconds = self.limits.max_unread_seconds
            self._answer_timer = self.loop.call_later(seconds, self.transport.abort)

    def _forget_answer(self) -> None:
        self.unread.discard(self.transport)
        if self._answer_timer:
            self._answer_timer.cancel()
            self._answer_timer = None

    # Ends

    def _is_answered(self) -> bool:
        """Whether the request whose body comes has its answer already."""
        return self._part == "body" and self.cycle is not None and self.cycle.response_complete

    def _may_be_answered(self) -> bool:
        """Whether the next bytes that the client reads are the answer to the request that is coming."""
        if self.cycle is None or self.cycle.response_complete:
            return True
        return self._part == "body" and not self.cycle.response_started and not self.pipeline

    def _refuse(self, refusal: SameaskError) -> None:
        """Answer with a problem document, where it can't be taken for the answer to another request, and close."""
        if not self.transport.is_closing() and self._may_be_answered():
            log.debug("a connection is closed: %s", refusal)
            self.transport.write(_last_answer(refusal, self.server_state.default_headers))
        self._close()

    def _close(self) -> None:
        """Close the connection when the client has read its answer, or when its time for that is over."""
        self.transport.close()
        self._watch_answer()


def _head_of_body(headers: Iterable[Header]) -> bytes:
    """A head from which another parser knows where the body of a request with these headers ends."""
    framing = [_line(name, value) for name, value in headers if name in FRAMING]
    return b"".join([b"POST / HTTP/1.1\r\nconnection: close\r\n", *framing, b"\r\n"])


def _last_answer(refusal: SameaskError, headers: Iterable[Header]) -> bytes:
    """A problem document with its head, after which the connection closes."""
    response = answer(refusal, {**ALWAYS, "Connection": "close"})
    lines = [_line(name, value) for name, value in (*headers, *response.raw_headers)]
    return b"".join([STATUS_LINE[refusal.status], *lines, b"\r\n", bytes(response.body)])


def _line(name: bytes, value: bytes) -> bytes:
    return name + b": " + value + b"\r\n"


def limited(settings: Settings) -> type[Connection]:
    """The connections of a server with these settings, and one account of what its clients leave unread."""

    class Limited(Connection):
        limits = settings
        unread = Unread(settings.max_unread_bytes)

    return Limited
