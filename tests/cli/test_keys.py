"""`sameask keys`, and which key a command sends."""

import errno
import json
import os
import re
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

import httpx
import pytest

from app.engine.store.keys import KeyRecords
from app.errors import StorageFull
from app.settings import Settings
from tests.cli.commands import (
    COMMAND,
    LABELS,
    ROOT,
    ROWS,
    Outcome,
    Sameask,
    assert_one_line,
    label_file,
    labelled,
    question_file,
    stored,
)
from tests.serving import PATIENCE_SECONDS, free_port


@dataclass(frozen=True)
class Made:
    """A key that the command made."""

    id: str
    key: str


def _make(sameask: Sameask, *options: str) -> Made:
    made = sameask("keys", "create", *options)
    assert made.code == 0, made.err
    assert re.fullmatch(r"sameask_[0-9a-f]{16}_[0-9a-f]{64}\n", made.out)
    key = made.out.strip()
    assert key not in made.err
    return Made(key.split("_")[1], key)


def _full(*_: object) -> NoReturn:
    raise StorageFull("the disk is full")


def _no_room(*_: object) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


def _listed(sameask: Sameask) -> list[dict[str, Any]]:
    return list(json.loads(sameask("keys", "list", "--json").out))


def _status(url: str, key: str | None = None, path: str = "/collections") -> int:
    return httpx.get(
        url + path, headers={"Authorization": f"Bearer {key}"} if key else {}
    ).status_code


@pytest.fixture
def beside(settings: Settings, monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    """Address of a server whose data directory is the one that commands work on in place."""
    monkeypatch.setenv("SAMEASK_DATA_DIR", str(settings.data_dir.with_name("served")))
    return url


def test_a_key_is_made_listed_and_revoked(sameask: Sameask) -> None:
    assert _listed(sameask) == []
    one = _make(sameask, "--scope", "read")
    two = _make(
        sameask, "--scope", "label", "--scope", "read", "--scope", "label", "--name", "Grüße [b]🦊"
    )
    listed = {key["id"]: key for key in _listed(sameask)}
    first, second = (
        listed[one.id],
        listed[two.id],
    )  # made in the same second, they stand in any order
    assert {**first, "created_at": ""} == {
        "id": one.id,
        "scopes": ["read"],
        "name": "",
        "created_at": "",
        "revoked_at": None,
    }
    assert (second["id"], second["scopes"], second["name"]) == (
        two.id,
        ["read", "label"],
        "Grüße [b]🦊",
    )
    revoked = sameask("keys", "revoke", one.id)
    assert (revoked.code, revoked.out.split(" at ")[0]) == (0, f"key {one.id} was revoked")
    assert {key["id"]: key["revoked_at"] is None for key in _listed(sameask)} == {
        one.id: False,
        two.id: True,
    }
    table = sameask("keys", "list").out
    assert all(word in table for word in (one.id, two.id, "Grüße [b]🦊", first["created_at"]))
    assert not any(made.key.rpartition("_")[2] in table for made in (one, two))


def test_keys_are_made_and_revoked_beside_a_server_which_heeds_it_at_once(
    sameask: Sameask, beside: str
) -> None:
    assert _status(beside) == 200
    made = _make(sameask, "--scope", "read")
    assert (_status(beside), _status(beside, made.key)) == (401, 200)
    other = _make(sameask, "--scope", "write")
    assert (_status(beside, other.key), _status(beside, made.key)) == (403, 200)
    assert sameask("keys", "revoke", made.id).code == 0
    assert (_status(beside, made.key), _status(beside, other.key), _status(beside)) == (
        401,
        403,
        401,
    )


@pytest.mark.parametrize("way", ["SAMEASK_KEY", "--key-file"])
def test_a_command_sends_its_key(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: str, way: str
) -> None:
    made = _make(sameask, "--scope", "read", "--scope", "write", "--scope", "label")
    options: tuple[object, ...] = ("--url", beside)
    assert_one_line(sameask("find", "One?", *options), "Key missing", "SAMEASK_KEY", "--key-file")
    if way == "SAMEASK_KEY":
        monkeypatch.setenv("SAMEASK_KEY", made.key)
    else:
        monkeypatch.setenv("SAMEASK_KEY", "another, which the file overrides")
        (tmp_path / "key").write_text(f"{made.key}\n")
        options += ("--key-file", tmp_path / "key")
    assert (
        sameask("import", question_file(tmp_path), *options).out
        == "3 added, 0 updated, 0 unchanged\n"
    )
    assert stored(sameask, *options) == ROWS
    assert sameask("pair", "One?", "one?", *options).code == 0
    labels = label_file(tmp_path / "labels.csv", cast(Any, LABELS))
    assert sameask("labels", "import", labels, *options).out == "3 added, 0 replaced, 0 unchanged\n"
    assert labelled(sameask, *options) == LABELS
    assert ROWS[0][1] in sameask("find", ROWS[0][1], *options).out
    assert sameask("keys", "revoke", made.id).code == 0
    refused = sameask("find", "One?", *options)
    assert_one_line(refused, "Key refused: the key is unknown or revoked")
    assert made.key not in refused.err


def test_a_key_without_the_scope_is_one_line_that_names_it(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: str
) -> None:
    monkeypatch.setenv("SAMEASK_KEY", _make(sameask, "--scope", "read").key)
    refused = sameask("import", question_file(tmp_path), "--url", beside)
    assert refused.code == 1
    assert (
        refused.err.splitlines()[-1]
        == "sameask: Scope missing: this needs a key with the scope 'write'"
    )


def test_in_place_no_key_is_needed(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make(sameask, "--scope", "read")
    monkeypatch.setenv("SAMEASK_HOST", "0.0.0.0")
    assert sameask("import", question_file(tmp_path)).out == "3 added, 0 updated, 0 unchanged\n"


@pytest.mark.parametrize("secret", ["xyzzy\nxyzzy", "xyzzy xyzzy", "xyzzy é", "xyzzy\x7f"])
def test_what_can_not_be_a_key_is_not_sent_and_not_printed(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    (tmp_path / "key").write_text(secret, "utf-8")
    for options, place in (((), "SAMEASK_KEY"), (("--key-file", "key"), "key holds")):
        monkeypatch.setenv("SAMEASK_KEY", secret)
        refused = sameask("find", "One?", "--url", "http://127.0.0.1:1", *options)
        assert_one_line(refused, "holds no key", place)
        assert "xyzzy" not in refused.err


@pytest.mark.parametrize("content", [None, b"", b"\xff"])
def test_a_key_file_that_holds_none_is_named(
    sameask: Sameask, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    assert_one_line(
        sameask("find", "One?", "--url", "http://127.0.0.1:1", "--key-file", "key"), "key"
    )


def test_an_id_that_is_none_is_one_line(sameask: Sameask) -> None:
    made = _make(sameask, "--scope", "read")
    assert_one_line(sameask("keys", "revoke", "0" * 16), f"there is no key with id '{'0' * 16}'")
    pasted = sameask("keys", "revoke", made.key)
    assert_one_line(pasted, "an id is 16 characters")
    assert made.key not in pasted.err
    assert [key["revoked_at"] for key in _listed(sameask)] == [None]


@pytest.mark.parametrize(
    "options",
    [(), ("--scope", "everything"), ("--scope", "READ,WRITE"), ("--scope", "read", "--scope", "")],
)
def test_a_key_is_made_for_scopes_that_exist(sameask: Sameask, options: tuple[str, ...]) -> None:
    assert sameask("keys", "create", *options).code == 2
    assert _listed(sameask) == []


@pytest.mark.parametrize("name", ["x" * 101, "two\nlines", "\x1b[31mred", "\udcff"])
def test_a_name_that_can_not_be_shown_is_refused(sameask: Sameask, name: str) -> None:
    assert_one_line(sameask("keys", "create", "--scope", "read", "--name", name), "--name", "100")
    assert _listed(sameask) == []


def _serve_refused(tmp_path: Path, **settings: str) -> Outcome:
    """How `sameask serve` ends, in a process of its own, over an empty data directory."""
    (tmp_path / "data").mkdir(mode=0o700)
    settings |= {"SAMEASK_DATA_DIR": str(tmp_path / "data"), "SAMEASK_PORT": str(free_port())}
    ended = subprocess.run(
        [*COMMAND, "serve"],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    return Outcome(ended.returncode, ended.stdout, ended.stderr)


def test_serve_refuses_an_address_that_others_reach_until_there_is_a_key(tmp_path: Path) -> None:
    refused = _serve_refused(tmp_path, SAMEASK_HOST="0.0.0.0")
    assert_one_line(
        refused, "'0.0.0.0'", "sameask keys create --scope admin", "SAMEASK_ADMIN_KEY_FILE"
    )


def test_serve_refuses_a_first_admin_key_that_is_too_short_and_does_not_print_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "secret").write_text("xyzzy")
    (tmp_path / "secret").chmod(0o600)
    refused = _serve_refused(tmp_path, SAMEASK_ADMIN_KEY_FILE=str(tmp_path / "secret"))
    assert_one_line(refused, "SAMEASK_ADMIN_KEY_FILE", "32")
    assert "xyzzy" not in refused.err


# Key files


def test_a_key_goes_into_a_file_that_its_owner_alone_may_read(
    sameask: Sameask, tmp_path: Path
) -> None:
    file = tmp_path / "forum-key"
    previous = os.umask(0o022)
    try:
        made = sameask("keys", "create", "--scope", "read", "--out", file)
    finally:
        os.umask(previous)
    assert (made.code, made.out) == (0, "")
    assert re.fullmatch(r"sameask_[0-9a-f]{16}_[0-9a-f]{64}\n", file.read_text())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = sameask("keys", "create", "--scope", "read", "--out", file)
    assert_one_line(again, f"can't write {file}: File exists")


def test_where_no_key_is_made_no_file_is_left_and_the_next_try_is_taken(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "forum-key"
    create = ("keys", "create", "--scope", "read", "--out", file)
    with monkeypatch.context() as patch:
        (tmp_path / "no-folder").write_text("")
        patch.setenv("SAMEASK_DATA_DIR", str(tmp_path / "no-folder"))
        assert sameask(*create).code == 1
    assert not file.exists()
    with monkeypatch.context() as patch:
        patch.setattr(KeyRecords, "add", _full)
        assert_one_line(sameask(*create), "the disk is full")
    assert not file.exists()
    assert sameask(*create).code == 0
    assert len(_listed(sameask)) == 1  # no key is made that nobody has


def test_a_key_that_could_not_be_kept_is_revoked(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "forum-key"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", _no_room)
        refused = sameask("keys", "create", "--scope", "read", "--out", file)
    (key,) = _listed(sameask)
    assert_one_line(refused, f"can't write {file}: No space left on device", key["id"])
    assert key["revoked_at"]
    assert not file.exists()


def test_a_key_file_that_anybody_may_change_is_refused(sameask: Sameask, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sameask_0123")
    file.chmod(0o666)
    refused = sameask("find", "One?", "--url", "http://127.0.0.1:1", "--key-file", file)
    assert_one_line(refused, f"anybody may change {file}: `chmod 600 {file}`")


def test_keys_of_a_data_directory_that_nobody_named_are_not_made(
    sameask: Sameask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAMEASK_DATA_DIR")
    refused = sameask("keys", "create", "--scope", "read")
    assert_one_line(refused, f"there is no data directory {tmp_path / 'data'}", "SAMEASK_DATA_DIR")
    assert not (tmp_path / "data").exists()


def test_the_data_directory_of_a_key_is_named(sameask: Sameask, settings: Settings) -> None:
    assert (
        f" of {settings.data_dir}; it is shown this once"
        in sameask("keys", "create", "--scope", "read").err
    )
