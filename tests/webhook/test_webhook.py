"""The webhook by value, with a real server at its other end: what is sent and signed, when again, and where never."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from app.engine.release import Release
from app.engine.store import Deliveries, Delivery, Store
from app.engine.store.deliveries import KEPT, LONGEST_WAIT
from app.errors import DeliveryFailed, SameaskError, StorageFull, WebhookRefused
from app.main import create_app
from app.settings import Settings
from app.webhook.delivery import (
    FAULT_PAUSE_SECONDS,
    LONGEST_QUIET,
    MAX_ATTEMPTS,
    Webhook,
    delay_after,
)
from app.webhook.endpoint import Endpoint, is_public
from app.webhook.signature import signed
from tests.engine.test_store import behind_its_back
from tests.serving import PATIENCE_SECONDS, app_of, wait_until

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
HOST = "hooks.example"  # no resolver knows it (RFC 6761)
LOOPBACK = "127.0.0.1"
DATA = {
    "release": "retrained-7",
    "before": "tiny",
    "reason": "marker-xyzzy",
    "at": "2026-01-31T09:29:59Z",
}
START = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "webhook.md"

Answer = Callable[[BaseHTTPRequestHandler], None]


# What the tests have: a receiving server, a clock, a store


@dataclass(frozen=True)
class Received:
    """A request, as it came; names of headers in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


class ReceivingServer:
    """A server on loopback. Answers with the next of `answers`, then with 204; bound, it refuses until `open`."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.received: list[Received] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                owner.received.append(
                    Received(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                )
                (owner.answers.pop(0) if owner.answers else status(204))(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Nothing: standard error is for what the service writes."""

        self.http = ThreadingHTTPServer((LOOPBACK, 0), Handler, bind_and_activate=False)
        self.http.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.http.server_bind()
        self.port: int = self.http.server_address[1]
        self._thread = threading.Thread(
            target=self.http.serve_forever, kwargs={"poll_interval": 0.01}
        )

    def open(self) -> None:
        self.http.server_activate()
        self._thread.start()

    def close(self) -> None:
        if self._thread.is_alive():
            self.http.shutdown()
            self._thread.join()
        self.http.server_close()


def status(code: int, **headers: str) -> Answer:
    """An answer with no body."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


class Clock:
    """Time that stands still until the webhook sleeps: then it is the time of the next attempt, if there is one."""

    def __init__(self, store: Store) -> None:
        self.now = START
        self.slept: list[float] = []
        self._store = store

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        due = [
            datetime.fromisoformat(row.due_at)
            for row in self._store.deliveries.all()
            if is_waiting(row)
        ]
        self.now = max(self.now, min(due, default=self.now))
        await asyncio.sleep(0.001)


def is_waiting(delivery: Delivery) -> bool:
    return not (delivery.delivered_at or delivery.given_up_at)


@pytest.fixture
def server() -> Iterator[ReceivingServer]:
    server = ReceivingServer()
    server.open()
    yield server
    server.close()


@pytest.fixture
def clock(store: Store) -> Clock:
    return Clock(store)


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "webhook-secret"
    file.write_text(f"{SECRET}\n")
    return file


def resolving(*answers: Sequence[str]) -> tuple[list[str], Callable[[str, int], Any]]:
    """A resolver with these answers in turn, the last for ever, and the names it is asked for."""
    left, asked = list(answers), list[str]()

    async def resolve(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return left.pop(0) if len(left) > 1 else left[0]

    return asked, resolve


@pytest.fixture
def receiver(server: ReceivingServer, secret_file: Path) -> Endpoint:
    """The server, under a name that leads to loopback, which is allowed."""
    _, resolve = resolving([LOOPBACK])
    return Endpoint(
        f"http://{HOST}:{server.port}/in?token=marker-token",
        secret_file,
        HOST,
        LOOPBACK,
        resolve=resolve,
    )


def make_webhook(store: Store, receiver: Endpoint, clock: Clock) -> Webhook:
    return Webhook(store, receiver, clock=clock, sleep=clock.sleep, chance=lambda: 0.5)


@pytest.fixture
def webhook(store: Store, receiver: Endpoint, clock: Clock) -> Webhook:
    return make_webhook(store, receiver, clock)


def run(webhook: Webhook, until: Callable[[], bool]) -> None:
    """Let it run until the condition holds; fail when it does not in a minute."""

    async def wait() -> None:
        async with webhook.running():
            while not until():
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(wait(), PATIENCE_SECONDS))


def run_to_end(webhook: Webhook) -> None:
    run(webhook, lambda: webhook.count().waiting == 0)


def post(receiver: Endpoint, body: bytes = b"{}") -> None:
    asyncio.run(asyncio.wait_for(receiver.post("id", START, body), PATIENCE_SECONDS))


def only(store: Store) -> Delivery:
    (delivery,) = store.deliveries.all()
    return delivery


# What is sent


def test_an_event_arrives_once_as_json(
    webhook: Webhook, store: Store, server: ReceivingServer
) -> None:
    webhook.notify("release.activated", DATA)
    kept = only(store)
    run_to_end(webhook)
    (request,) = server.received
    assert json.loads(request.body) == {
        "id": kept.id,
        "event": "release.activated",
        "created_at": "2026-01-31T09:30:00.000000Z",
        "data": DATA,
    }
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", kept.id)
    assert request.path == "/in?token=marker-token"
    assert request.headers["host"] == f"{HOST}:{server.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == kept.id
    assert request.headers["webhook-timestamp"] == str(int(START.timestamp())) == "1769851800"
    assert webhook.count() == Deliveries(waiting=0, delivered=1, given_up=0)
    assert (only(store).attempts, only(store).delivered_at) == (1, "2026-01-31T09:30:00.000000Z")


def test_the_signature_is_that_of_the_body_as_sent(
    webhook: Webhook, server: ReceivingServer
) -> None:
    webhook.notify(
        "gate.decided", {"run": "7", "reasons": ["zu wenig Marken: 12 statt 80 – noch nicht"]}
    )
    run_to_end(webhook)
    (request,) = server.received
    content = (
        f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode()
        + request.body
    )
    version, _, signature = request.headers["webhook-signature"].partition(",")
    assert version == "v1"
    assert (
        base64.b64decode(signature, validate=True)
        == hmac.new(KEY, content, hashlib.sha256).digest()
    )


def test_a_signature_is_the_one_that_the_specification_publishes() -> None:
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = signed(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def documented_receiver() -> Callable[[str, dict[str, str], bytes], dict[str, Any]]:
    """The function that docs/webhook.md shows."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    return cast(Callable[[str, dict[str, str], bytes], dict[str, Any]], names["receive"])


def test_the_documented_receiver_takes_what_is_sent_and_nothing_else(
    store: Store, receiver: Endpoint, server: ReceivingServer, secret_file: Path
) -> None:
    webhook = Webhook(store, receiver)
    webhook.notify("release.activated", DATA)
    run_to_end(webhook)
    (request,) = server.received
    receive, line, headers = documented_receiver(), secret_file.read_text(), request.headers
    assert receive(line, headers, request.body) == json.loads(request.body)
    assert receive(
        line,
        headers | {"webhook-signature": "v1,AAAA v2,x " + headers["webhook-signature"]},
        request.body,
    )
    other = f"whsec_{base64.b64encode(KEY[::-1]).decode()}"
    later = str(int(headers["webhook-timestamp"]) + 1)
    long_ago = datetime.now(UTC) - timedelta(minutes=6)
    for secret, false, body in [
        (line, headers, request.body.replace(b"tiny", b"huge")),
        (other, headers, request.body),
        (line, headers | {"webhook-id": "another"}, request.body),
        (line, headers | {"webhook-timestamp": later}, request.body),
        (line, headers | signed(KEY, headers["webhook-id"], long_ago, request.body), request.body),
    ]:
        with pytest.raises(ValueError, match=r"not signed|too long ago"):
            receive(secret, false, body)


def test_the_document_shows_each_event_as_it_is_sent(webhook: Webhook, store: Store) -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    webhook.notify("release.activated", DATA)
    sent = json.loads(only(store).body)
    assert [list(json.loads(shown)), list(json.loads(shown)["data"])] == [
        list(sent),
        list(sent["data"]),
    ]


def test_events_are_sent_in_their_order(
    webhook: Webhook, clock: Clock, server: ReceivingServer
) -> None:
    for number in range(5):
        webhook.notify("gate.decided", {"run": number})
        clock.now += timedelta(microseconds=1)
    run_to_end(webhook)
    assert [json.loads(request.body)["data"]["run"] for request in server.received] == [
        0,
        1,
        2,
        3,
        4,
    ]


# Again, and how often


def test_it_is_sent_again_after_a_failure_with_the_same_id_and_body(
    webhook: Webhook, store: Store, clock: Clock, server: ReceivingServer
) -> None:
    server.answers = [status(500), status(404)]
    webhook.notify("release.activated", DATA)
    run_to_end(webhook)
    assert len({(request.headers["webhook-id"], request.body) for request in server.received}) == 1
    times = [
        int(request.headers["webhook-timestamp"]) - int(START.timestamp())
        for request in server.received
    ]
    assert times == [0, 5, 25]
    signatures = [request.headers["webhook-signature"] for request in server.received]
    assert len(set(signatures)) == 3  # the moment of the attempt is signed too
    assert (only(store).attempts, only(store).last_error, clock.now) == (
        3,
        None,
        START + timedelta(seconds=25),
    )


def test_an_event_from_before_the_clock_was_set_back_is_sent_at_once(
    webhook: Webhook, clock: Clock, server: ReceivingServer
) -> None:
    webhook.notify("release.activated", DATA)
    clock.now = START - timedelta(hours=1)
    run_to_end(webhook)
    (request,) = server.received
    assert int(request.headers["webhook-timestamp"]) == int(START.timestamp()) - 3600


def test_an_attempt_that_is_due_later_than_any_is_made_at_once(store: Store) -> None:
    outbox = store.deliveries
    begun = outbox.begin(outbox.add("gate.decided", {}, START), START + timedelta(seconds=30))
    assert outbox.due(START) is None
    assert outbox.due(START - timedelta(hours=24)) is None
    assert outbox.due(START - timedelta(hours=26)) == begun
    assert max(LONGEST_QUIET, delay_after(MAX_ATTEMPTS, 1)) < LONGEST_WAIT


def test_it_is_sent_again_after_a_refused_connection(
    store: Store, secret_file: Path, clock: Clock
) -> None:
    server = ReceivingServer()
    _, resolve = resolving([LOOPBACK])
    receiver = Endpoint(
        f"http://{HOST}:{server.port}/", secret_file, HOST, LOOPBACK, resolve=resolve
    )
    webhook = make_webhook(store, receiver, clock)
    webhook.notify("release.activated", DATA)
    try:
        run(webhook, lambda: only(store).attempts == 2 and only(store).last_error is not None)
        assert re.match("no connection: ", str(only(store).last_error))
        server.open()
        run_to_end(make_webhook(store, receiver, clock))
    finally:
        server.close()
    assert len(server.received) == 1


def test_the_delays_grow_fourfold_up_to_half_a_day_and_are_spread() -> None:
    seconds = [delay_after(attempt, 0.5).total_seconds() for attempt in range(1, 12)]
    assert seconds == [5, 20, 80, 320, 1280, 5120, 20480, 43200, 43200, 43200, 43200]
    assert [delay_after(2, chance).total_seconds() for chance in (0.0, 1.0)] == [15, 25]
    assert delay_after(10_000, 1.0) == timedelta(hours=15)


def test_after_the_last_attempt_it_is_given_up(
    webhook: Webhook, store: Store, server: ReceivingServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [status(503)] * 100
    webhook.notify("release.activated", DATA)
    run_to_end(webhook)
    times = [
        int(request.headers["webhook-timestamp"]) - int(START.timestamp())
        for request in server.received
    ]
    assert times == [0, 5, 25, 105, 425, 1705, 6825, 27305, 70505, 113705, 156905, 200105]
    assert len(times) == MAX_ATTEMPTS
    assert webhook.count() == Deliveries(waiting=0, delivered=0, given_up=1)
    assert (only(store).last_error, only(store).given_up_at) == (
        "answered 503",
        "2026-02-02T17:05:05.000000Z",
    )
    (error,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert error == (
        f"{HOST} did not take event {only(store).id} (release.activated), attempt 12: answered 503; it is given up"
    )


def test_a_receiver_that_is_gone_is_not_asked_again(
    webhook: Webhook, store: Store, server: ReceivingServer
) -> None:
    server.answers = [status(410)]
    webhook.notify("release.activated", DATA)
    run_to_end(webhook)
    assert (len(server.received), only(store).last_error) == (1, "answered 410")
    assert webhook.count().given_up == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (format_datetime(START + timedelta(seconds=300), usegmt=True), 300),
        ("2", 5),  # its own delay is longer
        ("9" * 400, 24 * 3600),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 24 * 3600),
        (format_datetime(START - timedelta(days=1), usegmt=True), 5),
        ("soon", 5),
        ("-7", 5),
        ("", 5),
    ],
)
def test_retry_after_is_honoured_within_reason(
    webhook: Webhook, server: ReceivingServer, header: str, seconds: int
) -> None:
    server.answers = [status(429, Retry_After=header)]
    webhook.notify("release.activated", DATA)
    run_to_end(webhook)
    first, second = (int(request.headers["webhook-timestamp"]) for request in server.received)
    assert second - first == seconds


def test_retry_after_holds_back_every_event(
    webhook: Webhook, clock: Clock, server: ReceivingServer
) -> None:
    server.answers = [status(503, Retry_After="600")]
    for number in range(2):
        webhook.notify("gate.decided", {"run": number})
        clock.now += timedelta(microseconds=1)

    def at_rest() -> bool:
        return len(clock.slept) > 20

    run(webhook, at_rest)
    assert [json.loads(request.body)["data"]["run"] for request in server.received] == [0]


def test_the_quiet_that_a_receiver_wanted_ends_where_the_clock_was_set_back(
    store: Store, receiver: Endpoint, server: ReceivingServer
) -> None:
    before = START - timedelta(days=2)

    class SetBack(Clock):
        async def sleep(self, seconds: float) -> None:
            self.slept.append(seconds)
            self.now = before
            await asyncio.sleep(0.001)

    server.answers = [status(503, Retry_After="600")]
    webhook = make_webhook(store, receiver, SetBack(store))
    webhook.notify("release.activated", DATA)
    run_to_end(webhook)
    times = [int(request.headers["webhook-timestamp"]) for request in server.received]
    assert times == [int(START.timestamp()), int(before.timestamp())]


def test_a_fault_counts_as_an_attempt(
    webhook: Webhook,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(*_: object) -> None:
        raise LookupError("broken")

    monkeypatch.setattr(Endpoint, "post", fail)
    webhook.notify("release.activated", DATA)
    run_to_end(webhook)
    assert (only(store).attempts, only(store).last_error) == (MAX_ATTEMPTS, "a fault: LookupError")
    assert "LookupError: broken" in caplog.text


# What survives


def test_an_event_survives_a_restart(
    path: Path, store: Store, webhook: Webhook, receiver: Endpoint, server: ReceivingServer
) -> None:
    webhook.notify("release.activated", DATA)
    body = only(store).body
    store.close()
    with closing(Store(path)) as reopened:
        run_to_end(make_webhook(reopened, receiver, Clock(reopened)))
    assert [request.body for request in server.received] == [body.encode()]


def test_an_attempt_that_was_cut_off_is_made_again_after_its_delay(
    store: Store, receiver: Endpoint, clock: Clock, server: ReceivingServer
) -> None:
    at, held = threading.Event(), threading.Event()

    def hold(_handler: BaseHTTPRequestHandler) -> None:
        at.set()
        assert held.wait(PATIENCE_SECONDS)

    server.answers = [hold]
    webhook = make_webhook(store, receiver, clock)
    webhook.notify("release.activated", DATA)
    try:
        run(
            webhook, at.is_set
        )  # this returns while the receiver still holds the request: it holds up nobody
        assert (held.is_set(), only(store).attempts, is_waiting(only(store))) == (False, 1, True)
    finally:
        held.set()
    assert clock.now == START
    run_to_end(make_webhook(store, receiver, clock))
    times = [
        int(request.headers["webhook-timestamp"]) - int(START.timestamp())
        for request in server.received
    ]
    assert times == [0, 30]


def test_what_can_not_be_written_down_is_not_sent(
    webhook: Webhook,
    store: Store,
    receiver: Endpoint,
    clock: Clock,
    server: ReceivingServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise StorageFull("the disk is full: nothing was written")

    webhook.notify("release.activated", DATA)
    with monkeypatch.context() as patch:
        patch.setattr(store.deliveries, "begin", fail)
        run(webhook, lambda: clock.slept.count(FAULT_PAUSE_SECONDS) >= 3)
    assert server.received == []
    run_to_end(make_webhook(store, receiver, clock))
    assert len(server.received) == 1


def test_an_event_stands_or_falls_with_the_transaction_of_its_fact(store: Store) -> None:
    with suppress(LookupError), store.database.writing() as connection:
        store.deliveries.insert(connection, "gate.decided", {"run": 1}, START)
        raise LookupError
    with store.database.writing() as connection:
        store.deliveries.insert(connection, "gate.decided", {"run": 2}, START)
    assert json.loads(only(store).body)["data"] == {"run": 2}


def test_a_damaged_row_is_passed_over_and_reported(
    webhook: Webhook, path: Path, store: Store, clock: Clock, server: ReceivingServer
) -> None:
    webhook.notify("gate.decided", {"run": 1})
    damaged = only(store).id
    clock.now += timedelta(seconds=1)
    webhook.notify("gate.decided", {"run": 2})
    behind_its_back(
        path, "UPDATE deliveries SET body = replace(body, '1', '3') WHERE id = ?", damaged
    )
    run(webhook, lambda: webhook.count().delivered == 1 and len(clock.slept) > 3)
    assert [json.loads(request.body)["data"]["run"] for request in server.received] == [2]
    assert (store.database.damaged, webhook.count().waiting) == (1, 1)


def test_what_ended_long_ago_is_forgotten(store: Store) -> None:
    outbox = store.deliveries
    late = START + KEPT
    delivered, given_up, waiting, recent = (
        outbox.add("gate.decided", {"run": n}, START) for n in range(4)
    )
    outbox.succeed(delivered, START)
    outbox.give_up(given_up, "answered 500", START)
    outbox.succeed(recent, START + timedelta(seconds=1))
    assert len(outbox.all()) == 4
    last = outbox.add("gate.decided", {"run": 4}, late)
    outbox.succeed(last, late + timedelta(seconds=1))
    assert {row.id for row in outbox.all()} == {waiting.id, recent.id, last.id}


def test_without_a_receiver_nothing_is_kept_and_nothing_runs(store: Store) -> None:
    webhook = Webhook(store, None)
    webhook.notify("release.activated", DATA)
    run(webhook, lambda: True)
    assert webhook.count() == Deliveries(0, 0, 0)


def test_a_store_that_fails_is_logged_and_not_the_callers_concern(
    webhook: Webhook,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise StorageFull("the disk is full: nothing was written")

    monkeypatch.setattr(store.deliveries, "add", fail)
    webhook.notify("release.activated", DATA)
    assert "the event release.activated can't be kept" in caplog.text
    assert "marker-xyzzy" not in caplog.text


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
def test_data_that_json_can_not_say_are_the_callers_fault(
    webhook: Webhook, store: Store, value: object
) -> None:
    with pytest.raises((TypeError, ValueError)):
        webhook.notify("release.activated", {"at": value})
    assert store.deliveries.all() == []


# Where it may not go


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "192.0.1.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)  # fmt: skip
def test_public_addresses(address: str) -> None:
    assert is_public(ip_address(address))


PRIVATE = [
    "127.0.0.1", "127.8.9.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "0.0.0.0",
    "0.1.2.3", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "233.1.1.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1",
    "fd12::1", "ff02::1", "ff0e::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::10.0.0.1",
    "::ffff:0:10.0.0.1", "64:ff9b::a00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:a00:1::",
    "2002:808:808::", "2001::1", "2001:0:a00:1::", "2001:db8::1", "3fff::1", "100::1", "5f00::1", "4000::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public_are_refused(
    server: ReceivingServer, secret_file: Path, address: str
) -> None:
    assert not is_public(ip_address(address))
    _, resolve = resolving([address])
    receiver = Endpoint(f"https://{HOST}:{server.port}/", secret_file, HOST, resolve=resolve)
    with pytest.raises(
        DeliveryFailed, match=f"^{HOST} has the address .* not in SAMEASK_WEBHOOK_ALLOW_PRIVATE$"
    ):
        post(receiver)


@pytest.mark.parametrize(
    ("addresses", "words"),
    [
        (
            ["8.8.8.8", LOOPBACK],
            "public address 8.8.8.8, and http is for private ones",
        ),  # one of them suffices
        ([LOOPBACK, "10.0.0.1"], "has the address 10.0.0.1, not in"),
        (["127.0.0.2"], "has the address 127.0.0.2, not in"),
        (["::ffff:127.0.0.2"], "has the address 127.0.0.2, not in"),
        ([], "has no address"),
    ],
)
def test_all_addresses_of_a_name_must_be_allowed(
    server: ReceivingServer, secret_file: Path, addresses: Sequence[str], words: str
) -> None:
    _, resolve = resolving(addresses)
    receiver = Endpoint(
        f"http://{HOST}:{server.port}/", secret_file, HOST, LOOPBACK, resolve=resolve
    )
    with pytest.raises(DeliveryFailed, match=re.escape(words)):
        post(receiver)
    assert server.received == []


@pytest.mark.parametrize(
    "name",
    ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]"],
)
def test_the_systems_resolver_is_not_trusted_either(
    server: ReceivingServer, secret_file: Path, name: str
) -> None:
    receiver = Endpoint(f"https://{name}:{server.port}/", secret_file, name.strip("[]"))
    with pytest.raises(DeliveryFailed, match="not in SAMEASK_WEBHOOK_ALLOW_PRIVATE"):
        post(receiver)
    assert server.received == []


def test_the_systems_resolver_leads_to_what_is_allowed(
    server: ReceivingServer, secret_file: Path
) -> None:
    for name in ("localhost", LOOPBACK):
        post(
            Endpoint(
                f"http://{name}:{server.port}/",
                secret_file,
                "localhost, 127.0.0.1",
                "127.0.0.0/8, ::1",
            )
        )
    assert [request.headers["host"] for request in server.received] == [
        f"localhost:{server.port}",
        f"127.0.0.1:{server.port}",
    ]


def test_a_name_that_nobody_knows_is_a_failure(server: ReceivingServer, secret_file: Path) -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    receiver = Endpoint(
        f"http://{HOST}:{server.port}/", secret_file, HOST, LOOPBACK, resolve=resolve
    )
    with pytest.raises(
        DeliveryFailed, match=f"^{HOST} can't be looked up: Name or service not known$"
    ):
        post(receiver)


def test_the_connection_goes_to_the_address_that_was_checked(
    server: ReceivingServer, secret_file: Path
) -> None:
    asked, resolve = resolving(
        [LOOPBACK], ["10.0.0.1"]
    )  # another answer the second time: DNS rebinding
    receiver = Endpoint(
        f"http://{HOST}:{server.port}/", secret_file, HOST, LOOPBACK, resolve=resolve
    )
    post(receiver)
    assert (asked, len(server.received)) == ([HOST], 1)
    with pytest.raises(DeliveryFailed, match=r"has the address 10\.0\.0\.1"):
        post(receiver)
    assert (asked, len(server.received)) == ([HOST, HOST], 1)


def test_the_next_address_is_tried_where_the_first_refuses(
    server: ReceivingServer, secret_file: Path
) -> None:
    _, resolve = resolving(["127.0.0.2", LOOPBACK])  # the server listens at the second alone
    post(
        Endpoint(f"http://{HOST}:{server.port}/", secret_file, HOST, "127.0.0.0/8", resolve=resolve)
    )
    assert len(server.received) == 1


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(server: ReceivingServer, receiver: Endpoint, code: int) -> None:
    server.answers = [status(code, Location=f"http://{LOOPBACK}:{server.port}/elsewhere")]
    with pytest.raises(DeliveryFailed, match=f"^answered {code}$"):
        post(receiver)
    assert len(server.received) == 1


def test_proxies_of_the_environment_are_not_used(
    server: ReceivingServer, receiver: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    post(receiver)
    assert len(server.received) == 1


# What comes back


def test_an_endless_answer_is_cut_off(server: ReceivingServer, receiver: Endpoint) -> None:
    cut = threading.Event()

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 65536)
        except OSError:
            cut.set()

    server.answers = [endless]
    post(receiver)
    assert cut.wait(PATIENCE_SECONDS)


def test_an_answer_that_drips_or_never_comes_is_a_failure(
    server: ReceivingServer, secret_file: Path
) -> None:
    done = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not done.wait(0.01):
            handler.wfile.write(b"x")

    def never(_handler: BaseHTTPRequestHandler) -> None:
        done.wait(PATIENCE_SECONDS)

    _, resolve = resolving([LOOPBACK])
    receiver = Endpoint(
        f"http://{HOST}:{server.port}/",
        secret_file,
        HOST,
        LOOPBACK,
        resolve=resolve,
        timeout_seconds=0.2,
    )
    try:
        for answer in (drip, never):
            server.answers = [answer]
            with pytest.raises(DeliveryFailed, match=r"^no answer within 0\.2 s$"):
                post(receiver)
    finally:
        done.set()


def echo(handler: BaseHTTPRequestHandler) -> None:
    """What is no HTTP, and repeats the event."""
    handler.wfile.write(b"marker-xyzzy\r\n\r\n")
    handler.close_connection = True


def test_secrets_bodies_and_tokens_are_in_no_log(
    webhook: Webhook,
    store: Store,
    server: ReceivingServer,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, "app")
    server.answers = [
        status(500, X="marker-xyzzy"),
        echo,
        status(302, Location="http://marker-xyzzy/"),
        lambda handler: handler.connection.close(),
    ]
    webhook.notify("release.activated", DATA)
    run_to_end(webhook)
    assert len(server.received) == 5
    assert f"has event {only(store).id}" in caplog.text  # what is logged was caught
    assert "no answer: RemoteProtocolError" in caplog.text
    written = capfd.readouterr()
    for word in (
        "marker-xyzzy",
        "marker-token",
        SECRET,
        SECRET.removeprefix("whsec_"),
        KEY.hex(),
        "v1,",
    ):
        assert word not in caplog.text + written.out + written.err
        assert word == "marker-xyzzy" or word not in repr(
            store.deliveries.all()
        )  # the event is there, of course


# TLS


@contextmanager
def certified(
    server: ReceivingServer, folder: Path, name: str
) -> Iterator[tuple[Path, list[str | None]]]:
    """The server with TLS, its certificate for a name; yields the certificate and the names that clients ask for."""
    asked: list[str | None] = []
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    server.open()
    yield certificate, asked


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
@pytest.mark.parametrize(
    ("name", "trusted", "good"),
    [(HOST, True, True), ("other.example", True, False), (HOST, False, False)],
)
def test_the_certificate_must_be_good_for_the_name(
    secret_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    trusted: bool,
    good: bool,
) -> None:
    server = ReceivingServer()
    _, resolve = resolving([LOOPBACK])
    try:
        with certified(server, tmp_path, name) as (certificate, asked):
            if trusted:
                monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            receiver = Endpoint(
                f"https://{HOST}:{server.port}/", secret_file, HOST, LOOPBACK, resolve=resolve
            )
            if good:
                post(receiver)
                assert server.received[0].headers["host"] == f"{HOST}:{server.port}"
            else:
                with pytest.raises(DeliveryFailed, match=r"^no connection: .*certificate"):
                    post(receiver)
            assert (asked, len(server.received)) == ([HOST], int(good))
    finally:
        server.close()


# What is refused at the start


GOOD = {"url": f"https://{HOST}/in", "allowed_hosts": HOST, "allow_private": None}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"url": f"http://{HOST}/marker-token"}, "must be https"),
        ({"url": f"ftp://{HOST}/marker-token"}, "must begin with https://"),
        ({"url": "marker-token"}, "must begin with https://"),
        ({"url": "https:///marker-token"}, "must begin with https://"),
        ({"url": f"https://{HOST}:marker-token/"}, "is no URL"),
        ({"url": f"https://{HOST}:65536/marker-token"}, "has a port past 65535"),
        ({"url": f"https://anna:marker-token@{HOST}/"}, "no user and no password"),
        ({"url": f"https://{HOST}.evil.example/marker-token"}, f"{HOST}.evil.example, is not in"),
        ({"url": f"https://evil.example/{HOST}/marker-token"}, "evil.example, is not in"),
        ({"url": f"https://evil.example\\@{HOST}/"}, "SAMEASK_WEBHOOK_"),
        ({"allowed_hosts": None}, f"the host of SAMEASK_WEBHOOK_URL, {HOST}, is not in SAMEASK_WEBHOOK_ALLOWED_HOSTS"),
        ({"allowed_hosts": " , "}, "is not in SAMEASK_WEBHOOK_ALLOWED_HOSTS"),
        ({"allowed_hosts": "example"}, "is not in SAMEASK_WEBHOOK_ALLOWED_HOSTS"),
        ({"allowed_hosts": "*"}, "SAMEASK_WEBHOOK_ALLOWED_HOSTS"),
        ({"allow_private": "10.0.0.1/8"}, "SAMEASK_WEBHOOK_ALLOW_PRIVATE: 10.0.0.1/8 has host bits set"),
        ({"allow_private": "yes"}, "SAMEASK_WEBHOOK_ALLOW_PRIVATE: 'yes' does not appear"),
    ],
)  # fmt: skip
def test_a_url_that_may_not_be_called_stops_the_start(
    secret_file: Path, changed: dict[str, str | None], words: str
) -> None:
    values: dict[str, Any] = {**GOOD, **changed}
    with pytest.raises(WebhookRefused, match=re.escape(words)) as refusal:
        Endpoint(values["url"], secret_file, values["allowed_hosts"], values["allow_private"])
    assert "marker-token" not in str(refusal.value)


@pytest.mark.parametrize("hosts", [HOST, HOST.upper(), f"other.example, {HOST} ,"])
def test_a_listed_host_is_good_however_it_is_written(secret_file: Path, hosts: str) -> None:
    assert Endpoint(f"https://{HOST.title()}/in", secret_file, hosts).host == HOST
    assert (
        Endpoint("https://bücher.example/", secret_file, "bücher.example").host
        == "xn--bcher-kva.example"
    )
    assert (
        Endpoint("https://bücher.example/", secret_file, "xn--bcher-kva.example").host
        == "xn--bcher-kva.example"
    )


def encoded(size: int) -> str:
    return f"whsec_{base64.b64encode(bytes(size)).decode()}"


@pytest.mark.parametrize(("size", "good"), [(23, False), (24, True), (64, True), (65, False)])
def test_a_secret_has_24_to_64_bytes(secret_file: Path, size: int, good: bool) -> None:
    secret_file.write_text(encoded(size))
    if good:
        Endpoint(**GOOD, secret_file=secret_file)  # type: ignore[arg-type]
    else:
        with pytest.raises(WebhookRefused, match="24 to 64 bytes"):
            Endpoint(**GOOD, secret_file=secret_file)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"whsec_", SECRET.removeprefix("whsec_").encode(), b"whsec_marker!" * 9, SECRET.encode() + b"\xff",
     b"marker-xyzzy" * 4, SECRET.encode() + b"\n" + SECRET.encode()],
)  # fmt: skip
def test_what_is_no_secret_stops_the_start_and_is_not_repeated(
    secret_file: Path, content: bytes
) -> None:
    secret_file.write_bytes(content)
    with pytest.raises(
        WebhookRefused, match=r"SAMEASK_WEBHOOK_SECRET_FILE\) must hold whsec_ and 24"
    ) as refusal:
        Endpoint(**GOOD, secret_file=secret_file)  # type: ignore[arg-type]
    for trace in ("marker", SECRET[6:]):
        assert trace not in str(refusal.value)


def test_a_secret_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    for file, words in (
        (None, "needs SAMEASK_WEBHOOK_SECRET_FILE"),
        (tmp_path / "nowhere", "No such file"),
        (tmp_path, "directory"),
    ):
        with pytest.raises(WebhookRefused, match=words):
            Endpoint(**GOOD, secret_file=file)  # type: ignore[arg-type]


# In the service


@pytest.fixture
def hooked(settings: Settings, server: ReceivingServer, secret_file: Path) -> Settings:
    """Settings of a service that tells the server."""
    values = {
        "webhook_url": f"http://localhost:{server.port}/in",
        "webhook_secret_file": secret_file,
        "webhook_allowed_hosts": "localhost",
        "webhook_allow_private": "127.0.0.0/8,::1",
    }
    return Settings(**{**settings.model_dump(), **values})


def samples(client: TestClient) -> dict[str, float]:
    """What /metrics says of the webhook."""
    return {
        name: float(value)
        for name, value in re.findall(
            r"^sameask_webhook_(\w+) (.*)$", client.get("/metrics").text, re.MULTILINE
        )
    }


def test_the_service_delivers_and_counts(hooked: Settings, server: ReceivingServer) -> None:
    server.answers = [status(410)]
    with TestClient(create_app(hooked)) as client:
        assert samples(client) == {"waiting": 0, "delivered": 0, "given_up": 0}
        webhook: Webhook = app_of(client).state.webhook
        webhook.notify("training_run.finished", {"run": "7", "state": "failed"})
        wait_until(lambda: samples(client)["given_up"] == 1)
        webhook.notify("release.activated", DATA)
        wait_until(lambda: samples(client)["delivered"] == 1)
        assert samples(client) == {"waiting": 0, "delivered": 1, "given_up": 1}
    events = [json.loads(request.body)["event"] for request in server.received]
    assert events == ["training_run.finished", "release.activated"]


def test_the_service_tells_of_a_swap(
    hooked: Settings, server: ReceivingServer, wide_release: Release
) -> None:
    shutil.copytree(wide_release.path, hooked.data_dir / "releases" / "wide")
    with TestClient(create_app(hooked)) as client:
        client.put(
            "/admin/releases/live", json={"release": "wide", "reason": "it is wider"}
        ).raise_for_status()
        wait_until(lambda: samples(client)["delivered"] == 1)
    (request,) = server.received
    told = json.loads(request.body)["data"]
    assert (told["release"], told["before"], told["reason"]) == ("wide", "tiny", "it is wider")


def test_the_service_does_not_start_with_a_webhook_that_is_refused(
    hooked: Settings, secret_file: Path
) -> None:
    secret_file.write_text("short")
    with (
        pytest.raises(SameaskError, match="SAMEASK_WEBHOOK_SECRET_FILE"),
        TestClient(create_app(hooked)),
    ):
        pass


def test_an_empty_url_is_none(settings: Settings) -> None:
    with TestClient(create_app(settings.model_copy(update={"webhook_url": ""}))) as client:
        app_of(client).state.webhook.notify("release.activated", DATA)
        assert samples(client) == {"waiting": 0, "delivered": 0, "given_up": 0}
