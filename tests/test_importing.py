"""Imports from the pages: pieces in, checked rows, questions out."""

import asyncio
import errno
import gzip
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest
from starlette.testclient import TestClient

from app import importing
from app.detector import Detector
from app.engine.store import Written
from app.errors import ImportBusy, ImportNotFound, ModelFailing, StorageFull, UnreadableFile
from app.file_preview import Preview
from app.importing import MAX_IMPORTS, Import, Imports
from app.main import create_app
from app.settings import Settings
from tests.conftest import wait_until_ready
from tests.serving import (
    PATIENCE_SECONDS,
    Model,
    app_of,
    ask,
    detector_of,
    wait_until,
    watched_model,
    write,
)
from tests.web.browsing import HTMX
from tests.web.markup import parsed

SEEN = Preview("CSV", ["id", "text"], [])  # before the file came
CSV = b"id,text\na,One?\nb,\nc,Three?\na,Four?\n"
SIX = b"id,text\na,One?\nb,Two?\nc,Three?\nd,Four?\ne,Five?\nf,Six?\n"
NO_TEXT = "text must be a text of whole Unicode characters"


def imports_of(client: TestClient) -> Imports:
    imports: Imports = app_of(client).state.imports
    return imports


def call(client: TestClient, function: Callable[..., Any], *args: object) -> Any:
    """Call a function of the service in its event loop."""
    assert client.portal is not None
    return client.portal.call(function, *args)


def come(client: TestClient, content: bytes = CSV, name: str = "a.csv") -> Import:
    """A file that has come whole."""
    imports = imports_of(client)
    one = imports.begin(name, len(content), "default", SEEN)
    call(client, imports.append, one.number, 0, content)
    return one


def checked(client: TestClient, content: bytes = CSV) -> Import:
    """A file that was checked."""
    one = come(client, content)
    call(client, check, imports_of(client), one)
    wait_until(lambda: not one.is_under_way)
    return one


async def check(imports: Imports, one: Import) -> None:
    imports.check(one.number, ("id", "text"), "t-")


async def begin_writing(imports: Imports, one: Import) -> None:
    imports.write(one.number)


def has_ended(one: Import) -> bool:
    return one.task is not None and one.task.done()


@contextmanager
def six_in_twos(settings: Settings) -> Iterator[tuple[TestClient, Import]]:
    """Six rows, checked, that will be written two at a time."""
    in_twos = settings.model_copy(update={"max_upsert": 2})
    with TestClient(create_app(in_twos)) as client:
        wait_until_ready(client)
        yield client, checked(client, SIX)


@contextmanager
def amid_writing(settings: Settings) -> Iterator[tuple[TestClient, Import, Model]]:
    """The second two of six rows are committed, and the model holds them."""
    with watched_model() as model, six_in_twos(settings) as (client, one):
        model.hold("Four?")
        call(client, begin_writing, imports_of(client), one)
        wait_until(model.reached.is_set)
        yield client, one, model


def end_held(client: TestClient, one: Import, model: Model, end: Callable[..., Any]) -> None:
    """Call what cancels an import, and release the model once that is done."""
    assert client.portal is not None
    assert one.task is not None
    task = one.task
    ending = client.portal.start_task_soon(end)
    wait_until(lambda: task.cancelling() == 1)
    model.release()
    ending.result()


def test_every_row_is_checked_before_any_is_written(client: TestClient) -> None:
    write(client, **{"t-c": "Another?"})
    one = checked(client)
    assert (one.phase, one.tally.good, one.tally.bad, one.stored) == ("checked", 2, 2, 1)
    assert one.problems == [(3, "text must not be empty"), (5, "id stands on line 2 already")]
    assert one.rejected.read_text("utf-8-sig").splitlines() == [
        "line,why,id,text,row",
        "3,text must not be empty,t-b,,",
        "5,id stands on line 2 already,t-a,Four?,",
    ]
    assert client.get("/questions/t-a").status_code == 404


def test_of_a_checked_file_only_the_counts_are_kept(client: TestClient) -> None:
    one = checked(client, SIX)
    wait_until(lambda: has_ended(one))
    assert (one.phase, one.tally.good, one.tally._texts) == ("checked", 6, set())


@pytest.mark.parametrize("phase", ["failed", "stopped"])
def test_of_a_file_whose_check_ended_early_only_the_counts_are_kept(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    is_checking = threading.Event()

    async def without_end(*_: object) -> NoReturn:
        is_checking.set()
        if phase == "stopped":
            await asyncio.sleep(PATIENCE_SECONDS)
        raise ModelFailing("the model fails")

    monkeypatch.setattr(Detector, "reading_of", without_end)
    one = come(client, SIX)
    call(client, check, imports_of(client), one)
    assert is_checking.wait(PATIENCE_SECONDS)
    if phase == "stopped":
        call(client, imports_of(client).stop, one.number)
    wait_until(lambda: has_ended(one))
    assert (one.phase, one.tally.good, one.tally._texts) == (phase, 6, set())


def test_the_good_rows_are_written_and_the_file_is_gone(client: TestClient) -> None:
    write(client, **{"t-c": "Another?"})
    one = checked(client)
    call(client, begin_writing, imports_of(client), one)
    wait_until(lambda: not one.is_under_way)
    assert (one.phase, one.done, one.added, one.updated) == ("done", 2, 1, 1)
    assert client.get("/questions/t-c").json()["text"] == "Three?"
    assert not one.file.exists()


@pytest.mark.parametrize(
    ("name", "content", "line", "row"),
    [
        (
            "a.csv",
            "id,text\na,Café?\nb,Caf".encode() + b"\xe9?\nc,Three?\n",
            3,
            f"3,{NO_TEXT},t-b,Caf\\udce9?,",
        ),
        (
            "a.jsonl",
            b'{"id": "a", "text": "\\ud800 hi"}\n{"id": "b", "text": "Two?"}\n{"id": "c", "text": "3?"}\n',
            1,
            f"1,{NO_TEXT},t-a,\\ud800 hi,",
        ),
    ],
    ids=["a byte that is not UTF-8", "half a surrogate pair"],
)
def test_a_row_that_is_no_unicode_is_written_down_with_escapes(
    client: TestClient, name: str, content: bytes, line: int, row: str
) -> None:
    one = come(client, content, name)
    call(client, check, imports_of(client), one)
    wait_until(lambda: has_ended(one))
    assert (one.phase, one.tally.good, one.problems) == ("checked", 2, [(line, NO_TEXT)])
    assert one.rejected.read_text("utf-8-sig").splitlines() == ["line,why,id,text,row", row]


def test_texts_that_the_model_cuts_are_counted(client: TestClient) -> None:
    long = "long " * 600
    one = checked(client, f"id,text\na,One?\nb,{long}\n".encode())
    assert (one.tally.good, one.reading.truncated) == (2, 1)
    assert one.reading.tokens > 2


def test_a_piece_comes_where_the_file_ends(client: TestClient) -> None:
    imports = imports_of(client)
    one = imports.begin("a.csv", len(CSV), "default", SEEN)
    call(client, imports.append, one.number, 0, CSV[:10])
    call(client, imports.append, one.number, 0, CSV[:10])  # its answer was lost
    for other in (CSV[:9], CSV[1:11], CSV[:10].upper()):
        with pytest.raises(ImportBusy, match="the next piece begins at 10"):
            call(client, imports.append, one.number, 0, other)
    with pytest.raises(ImportBusy, match="its file is not whole"):
        call(client, check, imports, one)
    with pytest.raises(ImportBusy, match="waits for no such piece"):
        call(client, imports.append, one.number, 10, CSV)
    call(client, imports.append, one.number, 10, CSV[10:])
    assert one.file.read_bytes() == CSV


def test_what_was_not_checked_is_not_written(client: TestClient) -> None:
    one = come(client)
    with pytest.raises(ImportBusy, match="not checked"):
        call(client, begin_writing, imports_of(client), one)


def test_a_file_that_breaks_off_fails_and_says_so(client: TestClient) -> None:
    one = come(client, b"PAR1 and nothing more", "a.parquet")
    call(client, check, imports_of(client), one)
    wait_until(lambda: not one.is_under_way)
    assert one.phase == "failed"
    assert one.failure is not None
    assert one.failure.startswith("can't read a.parquet")


def test_a_fault_ends_an_import_and_its_log_holds_no_text(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(texts: list[str]) -> NoReturn:
        raise ValueError(*texts)

    monkeypatch.setattr(detector_of(client), "reading_of", broken)
    one = come(client)
    call(client, check, imports_of(client), one)
    wait_until(lambda: has_ended(one))
    assert one.phase == "failed"
    assert one.failure == "this is a fault of the service; its log says more"
    (logged,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert logged.startswith("an import failed, by a fault: ValueError\n")
    assert "in broken" in logged
    assert "Three?" not in caplog.text


def test_a_file_that_is_too_large_is_refused(client: TestClient) -> None:
    imports = imports_of(client)
    with pytest.raises(UnreadableFile, match="SAMEASK_MAX_IMPORT_BYTES"):
        imports.begin("a.csv", 2**30 + 1, "default", SEEN)


def test_bad_rows_are_written_down_as_long_as_there_is_room(settings: Settings) -> None:
    small = settings.model_copy(update={"max_import_bytes": 4096})
    with TestClient(create_app(small)) as client:
        wait_until_ready(client)
        content = gzip.compress(b"id,text\n" + b"a,\n" * 20_000)
        one = come(client, content, "a.csv.gz")
        call(client, check, imports_of(client), one)
        wait_until(lambda: not one.is_under_way)
        assert (one.phase, one.tally.bad) == ("checked", 20_000)
        assert one.rejected.stat().st_size < 3 * 2**14


def test_what_is_over_makes_room_and_then_what_was_left_longest(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    imports = imports_of(client)
    first, second, *_ = [come(client) for _ in range(MAX_IMPORTS - 1)]
    over = come(client)
    call(client, imports.stop, over.number)
    come(client)
    with pytest.raises(ImportNotFound):
        imports.get(over.number)
    with pytest.raises(ImportBusy, match="the most that may be"):
        come(client)
    assert first.folder.exists()
    monkeypatch.setattr(importing, "LEFT_SECONDS", 0.0)
    imports.get(first.number)  # somebody looks at it
    come(client)
    with pytest.raises(ImportNotFound):
        imports.get(second.number)
    assert not second.folder.exists()
    assert imports.get(first.number) is first


def test_nothing_of_a_file_that_was_taken_back_stays_on_the_disk(client: TestClient) -> None:
    one = checked(client)
    assert one.file.exists()
    call(client, imports_of(client).stop, one.number)
    assert not one.folder.exists()


def test_what_failed_while_it_was_written_is_checked_and_written_once_more(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with six_in_twos(settings) as (client, one):
        with monkeypatch.context() as patch:
            fill_the_disk_behind(client, patch, "Two?")
            call(client, begin_writing, imports_of(client), one)
            wait_until(lambda: has_ended(one))
        assert (one.phase, one.done) == ("failed", 2)
        call(client, check, imports_of(client), one)
        wait_until(lambda: not one.is_under_way)
        assert (one.phase, one.done, one.stored) == ("checked", 0, 2)
        call(client, begin_writing, imports_of(client), one)
        wait_until(lambda: not one.is_under_way)
        assert (one.phase, one.done, one.added, one.unchanged) == ("done", 6, 4, 2)


def fill_the_disk_behind(client: TestClient, patch: pytest.MonkeyPatch, text: str) -> None:
    """Whatever is added after this text finds no room."""
    detector = detector_of(client)
    add = detector.add

    async def add_until(collection: str, questions: Sequence[tuple[str, str]]) -> Written:
        written = await add(collection, questions)
        if any(text == added for _, added in questions):
            patch.setattr(detector, "add", full)
        return written

    async def full(*_: object) -> NoReturn:
        raise StorageFull("the disk is full")

    patch.setattr(detector, "add", add_until)


@pytest.mark.parametrize(
    ("is_checked_again", "said"),
    [
        (False, "Stopped after 2 lines. What is in stays in."),
        (True, "Stopped. What is in stays in."),
    ],
)
def test_what_has_failed_is_let_go_and_what_was_written_stays(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, is_checked_again: bool, said: str
) -> None:
    with six_in_twos(settings) as (client, one):
        fill_the_disk_behind(client, monkeypatch, "Two?")
        call(client, begin_writing, imports_of(client), one)
        wait_until(lambda: has_ended(one))
        assert "2 lines had been written and stay" in shown(client, one)
        if is_checked_again:
            call(client, check, imports_of(client), one)
            wait_until(lambda: not one.is_under_way)
        call(client, imports_of(client).stop, one.number)
        assert one.phase == "stopped"
        assert said in shown(client, one)


def shown(client: TestClient, one: Import) -> str:
    """The words of an import on the page."""
    return parsed(client.get(f"/page/import/{one.number}", headers=HTMX).text).text


@pytest.mark.parametrize("step", ["mkdir", "open"])
def test_a_piece_that_finds_no_room_is_refused_and_can_come_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    imports = imports_of(client)
    one = imports.begin("a.csv", len(CSV), "default", SEEN)
    with monkeypatch.context() as patch:
        patch.setattr(Path, step, full)
        with pytest.raises(StorageFull, match="nothing was imported"):
            call(client, imports.append, one.number, 0, CSV)
    call(client, imports.append, one.number, 0, CSV)
    assert one.file.read_bytes() == CSV


def test_stopping_keeps_what_was_written(client: TestClient) -> None:
    one = checked(client)
    call(client, imports_of(client).stop, one.number)
    assert one.phase == "stopped"
    with pytest.raises(ImportBusy):
        call(client, begin_writing, imports_of(client), one)


def test_a_stop_amid_writing_ends_it_after_the_batch_that_is_begun(settings: Settings) -> None:
    with amid_writing(settings) as (client, one, model):
        end_held(client, one, model, partial(imports_of(client).stop, one.number))
        assert (one.phase, one.done, one.added) == ("stopped", 4, 4)
        assert client.get("/collections/default").json()["questions"] == 4
        found = ask(client, "Four?")["results"][0]["candidates"]
        assert found[0]["id"] == "t-d"


def test_an_import_ends_with_the_server_after_the_batch_that_is_begun(settings: Settings) -> None:
    with amid_writing(settings) as (client, one, model):
        end_held(client, one, model, imports_of(client).close)
        assert (one.done, one.added) == (4, 4)
        assert client.get("/collections/default").json()["questions"] == 4
        assert not one.folder.exists()


def test_files_of_a_server_before_are_removed(settings: Settings) -> None:
    left: Path = settings.data_dir / "imports" / "7" / "file.csv"
    left.parent.mkdir(parents=True)
    left.write_bytes(CSV)
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        assert not left.exists()
