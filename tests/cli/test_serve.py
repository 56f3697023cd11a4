"""`sameask serve`: what it says, and how it ends."""

import asyncio
import signal
import socket
from pathlib import Path

import httpx
import pytest

from app.cli.listening import authority, listen
from app.engine.release import Release
from app.errors import AddressInUse
from app.settings import Settings
from tests.cli.commands import (
    ROWS,
    Sameask,
    Server,
    assert_one_line,
    question_file,
    serving,
    stored,
)
from tests.serving import PATIENCE_SECONDS, free_port


def test_serve_says_where_it_answers_and_writes_no_text(server: Server) -> None:
    asked = "What does xyzzy mean?"
    for body in (
        {"questions": [asked]},
        {"questions": [asked], "top_k": 0},
        {"questions": [asked * 1000]},
    ):
        httpx.post(f"{server.url}/duplicates", json=body)
    log = server.log.read_text()
    assert f"Sameask answers at {server.url} (documentation: {server.url}/docs)\n" in log
    assert (
        "WARNING: app.keys: no key was ever made: whoever reaches 127.0.0.1, from this machine, may do"
        in log
    )
    assert "xyzzy" not in log


def test_sigterm_ends_serve_with_0_and_leaves_its_data_closed(
    sameask: Sameask, tmp_path: Path, tiny_release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path, tiny_release) as server:
        sameask("import", question_file(tmp_path), "--url", server.url)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_SECONDS) == 0
        assert "Traceback" not in server.log.read_text()
    assert sorted(path.name for path in server.data_dir.glob("sameask.db*")) == [
        "sameask.db"
    ]  # no log left to fold in
    monkeypatch.setenv("SAMEASK_DATA_DIR", str(server.data_dir))
    assert stored(sameask) == ROWS


def test_answers_are_not_held_back_by_nagles_algorithm(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    async def no_delay() -> int:
        accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.set_result(
                writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            )
            writer.close()

        listening = listen(settings.model_copy(update={"port": port}))
        async with await asyncio.start_server(accept, sock=listening):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return await accepted

    assert asyncio.run(no_delay())


def test_an_address_of_ipv6_is_said_in_brackets(
    tmp_path: Path, tiny_release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMEASK_HOST", "::1")
    port = free_port()
    with (
        socket.create_server(("::1", port), family=socket.AF_INET6),
        pytest.raises(AddressInUse) as refused,
    ):
        listen(Settings(port=port, data_dir=tmp_path, release=tiny_release.path))
    assert str(refused.value).startswith(f"can't listen on [::1]:{port} (SAMEASK_PORT): ")
    assert authority("::1", 8000) == "[::1]:8000"
    assert authority("127.0.0.1", 8000) == "127.0.0.1:8000"


def test_workers_are_refused_with_the_reason(sameask: Sameask) -> None:
    assert_one_line(sameask("serve", "--workers", 2), "--workers: one process serves")
