"""Servers and the primary of the database are killed while clients write and ask: nothing acknowledged is lost."""

import os
import random
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.engine.release import Release
from tests.cluster.clients import Book, Clients, ask
from tests.cluster.cluster import START_SECONDS, Cluster, Server, clustered
from tests.serving import wait_until

SEED = int(os.environ.get("SEED", "1"))
FAULT_SECONDS = int(os.environ.get("FAULT_SECONDS", "120"))  # of the long test
SWAPS = 10


@pytest.fixture
def cluster(tiny_release: Release, wide_release: Release) -> Iterator[Cluster]:
    with clustered(tiny_release, wide_release) as cluster:
        yield cluster


def tell(book: Book, **more: object) -> None:
    """Print the figures."""
    figures = {
        "acknowledged": len(book.acknowledged),
        "answers": book.asked,
        "refused": book.refused,
        "wrong reads": len(book.wrong),
        "longest seconds without an answer": round(book.longest_gap_seconds, 2),
        "longest seconds of a write": round(book.longest_write_seconds, 2),
        **more,
    }
    print("\n" + ", ".join(f"{name}: {figure}" for name, figure in figures.items()))  # noqa: T201


def answered(http: httpx.Client, server: Server, text: str) -> dict[str, Any]:
    """The answer, however often the server says to come again."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if answer := ask(http, server, text):
            return answer
        time.sleep(0.1)
    raise AssertionError(f"{server.url} does not answer: {server.log}")


def lost(servers: list[Server], book: Book) -> list[str]:
    """What was acknowledged, and a server does not hold, or does not find."""
    missing = []
    with httpx.Client(timeout=60) as http:
        for id_, text in book.acknowledged.items():
            for server in servers:
                answer = answered(http, server, text)
                candidates = {one["id"]: one["text"] for one in answer["results"][0]["candidates"]}
                if candidates.get(id_) != text:
                    missing.append(f"{id_} by {server.url}")
    return missing


@pytest.mark.timeout(600)
def test_killed_primary_and_killed_server_lose_nothing(cluster: Cluster) -> None:
    clients = Clients(list(cluster.servers), SEED)
    clients.begin()
    time.sleep(1.5)
    first, *others = cluster.servers
    cluster.make_live(first, "wide")
    first.kill()
    time.sleep(1.5)
    cluster.databases.fail_over()
    time.sleep(6)
    book = clients.end()
    missing = lost(others, book)
    tell(book, lost=len(missing))
    assert (missing, book.wrong) == ([], [])
    assert len(book.acknowledged) > 10


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_servers_and_primaries_are_killed_at_random(cluster: Cluster) -> None:
    lots = random.Random(SEED)
    clients = Clients(list(cluster.servers), SEED)
    clients.begin()
    counts = {"servers killed": 0, "primaries killed": 0, "made live": 0}
    end = time.monotonic() + FAULT_SECONDS
    while time.monotonic() < end:
        time.sleep(lots.uniform(0.5, 3))
        server = lots.choice(cluster.servers)
        if lots.random() < 0.6:
            server.kill()
            counts["servers killed"] += 1
            if lots.random() < 0.4:
                cluster.databases.fail_over()
                counts["primaries killed"] += 1
                time.sleep(lots.uniform(0, 3))
                cluster.databases.mend()
            server.start()
            server.wait_until_ready()
        else:
            wait_until(server.is_ready, START_SECONDS)
            if make_live(server, lots.choice(["tiny", "wide"])):
                counts["made live"] += 1
    book = clients.end()
    for server in cluster.servers:
        wait_until(server.is_ready, START_SECONDS)
    missing = lost(list(cluster.servers), book)
    tell(book, lost=len(missing), **counts)
    assert (missing, book.wrong) == ([], [])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_swaps_of_three_servers_have_no_wrong_read(cluster: Cluster) -> None:
    clients = Clients(list(cluster.servers), SEED)
    clients.begin()
    for number in range(SWAPS):
        release = ("wide", "tiny")[number % 2]
        cluster.make_live(cluster.servers[number % 3], release)
        cluster.wait_until_all_serve(release)
    book = clients.end()
    tell(book, swaps=SWAPS)
    assert (book.wrong, book.refused) == ([], 0)
    ports = [server.port for server in cluster.servers]
    assert book.by == {(port, release) for port in ports for release in ("tiny", "wide")}


def make_live(server: Server, release: str) -> bool:
    """Ask for it; whether that was taken up."""
    body = {"release": release}
    try:
        answer = httpx.put(f"{server.url}/admin/releases/live", json=body, timeout=60)
    except httpx.TransportError:
        return False
    assert answer.status_code in (202, 409, 503), answer.text
    return answer.status_code == 202
