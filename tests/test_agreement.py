"""Replicas over one database agree on the live release, and no answer misses a write while they do."""

import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.engine.release import Release
from app.engine.store.activations import Activations
from app.main import create_app
from app.releases import agreeing
from app.settings import Settings
from tests.conftest import wait_until_ready
from tests.serving import ask, wait_until, write

TINY, WIDE = "tiny", "wide"
NAMES = ("one", "two", "three")

Replicas = Mapping[str, TestClient]


@pytest.fixture
def of_each(cluster_url: str, tmp_path: Path, tiny_release: Release) -> dict[str, Settings]:
    """Settings of three replicas, each with a data directory of its own."""
    return {
        name: Settings(
            data_dir=tmp_path / name,
            database_url=cluster_url,
            release=tiny_release.path,
            device="cpu",
        )
        for name in NAMES
    }


@pytest.fixture
def replicas(of_each: Mapping[str, Settings]) -> Iterator[Replicas]:
    with ExitStack() as stack:
        clients = {}
        for name, settings in of_each.items():
            clients[name] = stack.enter_context(TestClient(create_app(settings)))
        for client in clients.values():
            wait_until_ready(client)
        yield clients


def give(settings: Settings, release: Release) -> None:
    """Lay a copy of the release where a replica looks for it."""
    shutil.copytree(release.path, settings.data_dir / "releases" / WIDE)


def make_live(client: TestClient, name: str) -> None:
    response = client.put("/admin/releases/live", json={"release": name})
    assert response.status_code == 202, response.text


def serves(client: TestClient, name: str) -> bool:
    """Whether it answers by this release, and nothing of a swap is left."""
    live = client.get("/admin/releases/live").json()
    return bool(live["release"] == name and live["swap"] is None)


def readiness(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/readyz").json()
    return found


def test_what_one_makes_live_all_serve(
    replicas: Replicas, of_each: Mapping[str, Settings], wide_release: Release
) -> None:
    for settings in of_each.values():
        give(settings, wide_release)
    write(replicas["one"], a="How do I share a folder?")
    make_live(replicas["two"], WIDE)
    for client in replicas.values():
        wait_until(lambda client=client: serves(client, WIDE))  # type: ignore[misc]
        answer = ask(client, "how do i share folders")
        assert answer["release"] == WIDE
        assert [one["id"] for one in answer["results"][0]["candidates"]] == ["a"]
        assert readiness(client)["refused"] is None
    make_live(replicas["three"], TINY)
    for client in replicas.values():
        wait_until(lambda client=client: serves(client, TINY))  # type: ignore[misc]
    times = [
        {release["name"]: release["last_live_at"] for release in body["releases"]}
        for body in (client.get("/admin/releases").json() for client in replicas.values())
    ]
    assert times[0] == times[1] == times[2]


def test_who_lacks_the_release_says_so_and_finds_all_that_the_others_write(
    replicas: Replicas,
    of_each: Mapping[str, Settings],
    wide_release: Release,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(agreeing, "TRY_AGAIN_SECONDS", 0.1)
    for name in ("one", "two"):
        give(of_each[name], wide_release)
    make_live(replicas["one"], WIDE)
    wait_until(lambda: serves(replicas["two"], WIDE))
    wait_until(lambda: readiness(replicas["three"])["refused"] is not None)
    said = readiness(replicas["three"])
    assert (said["ready"], said["release"]) == (True, TINY)
    assert said["refused"].startswith("wide was made live, and is not served here: ")
    assert said["refused"] in caplog.messages
    releases = {"one": WIDE, "two": WIDE, "three": TINY}
    for writer in NAMES:
        write(replicas[writer], **{writer: f"How do I share folder {writer}?"})
        for name, client in replicas.items():
            answer = ask(client, f"how do i share folder {writer} today", verify="never")
            assert answer["release"] == releases[name]
            assert writer in [one["id"] for one in answer["results"][0]["candidates"]]
    give(of_each["three"], wide_release)
    wait_until(lambda: serves(replicas["three"], WIDE))
    wait_until(lambda: readiness(replicas["three"])["refused"] is None)


def test_a_replica_that_comes_later_serves_what_the_others_agreed_on(
    of_each: Mapping[str, Settings], tiny_release: Release, wide_release: Release, tmp_path: Path
) -> None:
    """Also where its own copy of what SAMEASK_RELEASE names stands elsewhere."""
    for settings in of_each.values():
        give(settings, wide_release)
    copy = tmp_path / "elsewhere" / TINY
    shutil.copytree(tiny_release.path, copy)
    late = of_each["two"].model_copy(update={"release": copy})
    with TestClient(create_app(of_each["one"])) as one:
        wait_until_ready(one)
        make_live(one, WIDE)
        wait_until(lambda: serves(one, WIDE))
        with TestClient(create_app(late)) as two:
            wait_until_ready(two)
            assert (readiness(one)["release"], readiness(two)["release"]) == (WIDE, WIDE)


def test_release_that_another_one_serves_is_not_removed(
    replicas: Replicas,
    of_each: Mapping[str, Settings],
    wide_release: Release,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Activations, "latest", lambda _: None)  # each goes its own way
    for settings in of_each.values():
        give(settings, wide_release)
    make_live(replicas["one"], WIDE)
    wait_until(lambda: serves(replicas["one"], WIDE))
    response = replicas["three"].delete(f"/admin/releases/{WIDE}")
    assert response.status_code == 409
    assert "is served by another replica" in response.json()["detail"]


def test_no_answer_misses_a_write_while_all_swap_again_and_again(
    replicas: Replicas, of_each: Mapping[str, Settings], wide_release: Release
) -> None:
    for settings in of_each.values():
        give(settings, wide_release)
    is_over = Event()
    releases: set[str] = set()

    def work(number: int) -> list[str]:
        """Write by one, ask all; what was not found."""
        wrong = []
        written = 0
        while not is_over.is_set():
            id_ = f"{number}-{written}"
            text = f"How do I share folder {written * 7919 + number}?"
            write(replicas[NAMES[number]], **{id_: text})
            for name, client in replicas.items():
                answer = ask(client, text.upper(), verify="never")
                releases.add(f"{name} {answer['release']}")
                if id_ not in [one["id"] for one in answer["results"][0]["candidates"]]:
                    wrong.append(f"{id_} by {name}, {answer['release']}")
            written += 1
        return wrong

    with ThreadPoolExecutor(3) as threads:
        working = [threads.submit(work, number) for number in range(3)]
        try:
            for number in range(6):
                live = (WIDE, TINY)[number % 2]
                make_live(replicas[NAMES[number % 3]], live)
                for client in replicas.values():
                    wait_until(lambda client=client, live=live: serves(client, live))  # type: ignore[misc]
        finally:
            is_over.set()
    assert [wrong for work_ in working for wrong in work_.result()] == []
    assert releases == {f"{name} {release}" for name in NAMES for release in (TINY, WIDE)}
