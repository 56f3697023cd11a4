"""Keys by value: what opens, what does not, what is kept of them, and when none is needed."""

import hmac
import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from app.engine.store import Store
from app.errors import AdminKeyRefused, KeysNeeded
from app.keys import KEY, Caller, Keys, is_loopback, make_key
from app.scopes import KeyScope

ALL = frozenset({"ask", "read", "write", "label", "admin"})
LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"
SECRET = "xyzzy" * 7


def admin_key_file(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "admin-key"
    path.write_bytes(content)
    return path


def scopes(keys: Keys, key: str) -> frozenset[str]:
    """What a key is for; nothing where it is nobody's."""
    caller = keys.identify(key)
    return caller.scopes if caller else frozenset()


# Keys that are made


def test_a_key_says_whose_it_is(store: Store, tmp_path: Path) -> None:
    kept, key = make_key(store, [KeyScope.WRITE, KeyScope.READ], "the forum")
    held = Keys(store, LOOPBACK, admin_key_file(tmp_path, SECRET.encode()))
    assert held.identify(key) == Caller(kept.id, "the forum", frozenset({"ask", "read", "write"}))
    assert held.identify(SECRET) == Caller("", "SAMEASK_ADMIN_KEY_FILE", frozenset(KeyScope))
    store.keys.revoke(kept.id)
    assert held.identify(key) is None


def test_a_key_is_for_what_it_was_made_for(store: Store) -> None:
    keys = {scope: make_key(store, [scope])[1] for scope in KeyScope}
    both = make_key(store, [KeyScope.LABEL, KeyScope.READ])[1]
    held = Keys(store, LOOPBACK)
    assert {scope.value: scopes(held, key) for scope, key in keys.items()} == {
        "ask": {"ask"},
        "read": {"ask", "read"},
        "write": {"write"},
        "label": {"label"},
        "admin": ALL,
    }
    assert scopes(held, both) == {"ask", "read", "label"}


def test_every_key_is_another_and_names_its_row(store: Store) -> None:
    made = [make_key(store, [KeyScope.READ], f"number {n}") for n in range(20)]
    assert len({key.rpartition("_")[2] for _, key in made}) == 20
    for kept, key in made:
        assert key.startswith(f"sameask_{kept.id}_")
        assert KEY.fullmatch(key)
        assert store.keys.get(kept.id) == kept


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key[:-1] + ("0" if key[-1] != "0" else "1"),
        lambda key: key[:-1],
        lambda key: key + "0",
        lambda key: key + "\n",
        lambda key: " " + key,
        lambda key: key.upper(),
        lambda key: key.removeprefix("sameask_"),
        lambda key: key.partition("_")[2].partition("_")[2],
        lambda key: key.replace(key.split("_")[1], "0" * 16),
        lambda key: key.split("_")[1],
        lambda _: "",
        lambda _: "é" * 10_000,
    ],
)
def test_what_is_nearly_a_key_opens_nothing(store: Store, change: Callable[[str], str]) -> None:
    key = make_key(store, [KeyScope.ADMIN])[1]
    held = Keys(store, LOOPBACK)
    assert scopes(held, change(key)) == frozenset()
    assert scopes(held, key) == ALL


def test_the_secret_of_one_key_does_not_open_another(store: Store) -> None:
    (one, key1), (_, key2) = make_key(store, [KeyScope.READ]), make_key(store, [KeyScope.ADMIN])
    assert (
        scopes(Keys(store, LOOPBACK), f"sameask_{one.id}_{key2.rpartition('_')[2]}") == frozenset()
    )
    assert scopes(Keys(store, LOOPBACK), key1) == {"ask", "read"}


def test_a_revoked_key_opens_nothing_and_others_stay(store: Store) -> None:
    (one, key1), (_, key2) = make_key(store, [KeyScope.READ]), make_key(store, [KeyScope.READ])
    held = Keys(store, LOOPBACK)
    assert scopes(held, key1) == {"ask", "read"}
    store.keys.revoke(one.id)
    assert (scopes(held, key1), scopes(held, key2)) == (frozenset(), frozenset({"ask", "read"}))


def test_what_another_process_does_counts_at_once(path: Path, store: Store) -> None:
    held = Keys(store, LOOPBACK)
    with closing(Store(path, prepare=False)) as other:
        kept, key = make_key(other, [KeyScope.WRITE])
        assert (held.are_needed(), scopes(held, key)) == (True, frozenset({"write"}))
        other.keys.revoke(kept.id)
        assert scopes(held, key) == frozenset()


def test_a_key_is_remembered_until_anything_is_written(path: Path, store: Store) -> None:
    kept, key = make_key(store, [KeyScope.READ])
    held = Keys(store, LOOPBACK)
    assert held.remembers(key) is False
    read = frozenset({"ask", "read"})
    assert (scopes(held, key), held.remembers(key), scopes(held, key)) == (read, True, read)
    store.questions.upsert("default", [("a", "one")])
    assert held.remembers(key) is False
    assert (scopes(held, key), held.remembers(key)) == (read, True)
    with closing(Store(path, prepare=False)) as other:
        other.keys.revoke(kept.id)
    assert (held.remembers(key), scopes(held, key), held.remembers(key)) == (
        False,
        frozenset(),
        False,
    )


def test_that_no_key_was_made_is_remembered_until_one_is(path: Path, store: Store) -> None:
    held = Keys(store, LOOPBACK)
    assert (held.are_needed(), held.remembers(None), held.are_needed()) == (False, True, False)
    with closing(Store(path, prepare=False)) as other:
        make_key(other, [KeyScope.READ])
    assert (held.remembers(None), held.are_needed(), held.remembers(None)) == (False, True, True)


def test_what_is_no_key_takes_no_memory(store: Store, tmp_path: Path) -> None:
    make_key(store, [KeyScope.READ])
    held = Keys(store, LOOPBACK, admin_key_file(tmp_path, SECRET.encode()))
    for number in range(100):
        assert scopes(held, f"sameask_{number:016}_{number:064}") == frozenset()
    assert held.remembers(f"sameask_{1:016}_{1:064}") is False
    assert held.remembers(SECRET) is True
    assert held._callers == {}


def test_no_file_holds_a_key(path: Path, store: Store) -> None:
    kept, key = make_key(store, [KeyScope.ADMIN], "for the test")
    secret = key.rpartition("_")[2]
    store.keys.revoke(kept.id)
    written = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert kept.id.encode() in written  # it would be found
    assert kept.digest in written
    for trace in (secret.encode(), bytes.fromhex(secret)):
        assert trace not in written


def test_keys_are_compared_in_constant_time(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, key = make_key(store, [KeyScope.READ])
    held = Keys(store, LOOPBACK, admin_key_file(tmp_path, SECRET.encode()))
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert scopes(held, key) == {"ask", "read"}
    assert compared[-1] == (kept.digest, kept.digest)
    assert scopes(held, key[:-1] + ("0" if key[-1] != "0" else "1")) == frozenset()
    assert compared[-1][1] == kept.digest
    assert scopes(held, SECRET) == ALL
    assert compared[-1][0] == compared[-1][1] != kept.digest
    assert len(compared) == 5


# The first admin key


@pytest.mark.parametrize("content", [SECRET, f"{SECRET}\n", f" \t{SECRET}\r\n\n"])
def test_the_key_in_the_file_is_for_everything(store: Store, tmp_path: Path, content: str) -> None:
    held = Keys(store, EVERYWHERE, admin_key_file(tmp_path, content.encode()))
    assert (scopes(held, SECRET), held.are_needed()) == (ALL, True)
    assert (
        scopes(held, SECRET + "x") == scopes(held, SECRET[:-1]) == scopes(held, "") == frozenset()
    )


@pytest.mark.parametrize(
    ("characters", "good"), [(31, False), (32, True), (1024, True), (1025, False)]
)
def test_the_key_in_the_file_has_a_length(
    store: Store, tmp_path: Path, characters: int, good: bool
) -> None:
    file = admin_key_file(tmp_path, b"k" * characters)
    if good:
        assert scopes(Keys(store, EVERYWHERE, file), "k" * characters) == ALL
    else:
        with pytest.raises(AdminKeyRefused, match="32 to 1,024"):
            Keys(store, EVERYWHERE, file)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n" * 50, b"short xyzzy", SECRET.encode() + b" " + SECRET.encode(), SECRET.encode() * 2 + b"\n\x00",
     SECRET.encode() + b"\xff", SECRET.encode() + "é".encode(), SECRET.encode() + b"\n" + SECRET.encode()],
)  # fmt: skip
def test_what_is_no_key_in_the_file_is_refused_and_not_repeated(
    store: Store, tmp_path: Path, content: bytes
) -> None:
    file = admin_key_file(tmp_path, content)
    with pytest.raises(AdminKeyRefused, match="SAMEASK_ADMIN_KEY_FILE") as refusal:
        Keys(store, LOOPBACK, file)
    assert str(file) in str(refusal.value)
    assert "xyzzy" not in str(refusal.value)


def test_a_file_that_can_not_be_read_is_refused(store: Store, tmp_path: Path) -> None:
    for place, words in ((tmp_path / "nowhere", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(AdminKeyRefused, match=words):
            Keys(store, LOOPBACK, place)


# Open or not


def revoke_all(store: Store) -> None:
    for key in store.keys.all():
        store.keys.revoke(key.id)


def test_no_key_is_needed_on_loopback_until_one_is_made_and_then_for_ever(store: Store) -> None:
    held = Keys(store, LOOPBACK)
    assert held.are_needed() is False
    make_key(store, [KeyScope.READ])
    assert held.are_needed() is True
    revoke_all(store)
    assert (held.are_needed(), Keys(store, LOOPBACK).are_needed()) == (True, True)


def test_an_address_that_others_reach_needs_a_key_that_opens(store: Store, tmp_path: Path) -> None:
    with pytest.raises(KeysNeeded, match=r"'0\.0\.0\.0' .* `sameask keys create --scope admin`"):
        Keys(store, EVERYWHERE)
    make_key(store, [KeyScope.READ])
    assert Keys(store, EVERYWHERE).are_needed() is True
    revoke_all(store)
    with pytest.raises(KeysNeeded):
        Keys(store, EVERYWHERE)
    assert Keys(store, EVERYWHERE, admin_key_file(tmp_path, SECRET.encode())).are_needed() is True


@pytest.mark.parametrize(
    ("made", "revoked", "words"),
    [(0, False, ["no key was ever made"]), (2, False, []), (2, True, ["every key is revoked"])],
)
def test_what_stands_open_or_shut_is_logged(
    store: Store, caplog: pytest.LogCaptureFixture, made: int, revoked: bool, words: Sequence[str]
) -> None:
    for _ in range(made):
        make_key(store, [KeyScope.READ])
    if revoked:
        revoke_all(store)
    caplog.set_level(logging.INFO, "app.keys")
    Keys(store, LOOPBACK)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * len(words)
    assert [
        word in record.getMessage() for word, record in zip(words, caplog.records, strict=True)
    ] == [True] * len(words)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LocalHost", "::ffff:127.0.0.1"]
)
def test_loopback_is_this_machine_alone(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "", "10.0.0.1", "128.0.0.1", "::2", "::ffff:10.0.0.1", "localhost.example.com", "127.1",
     "127.0.0.1.nip.io", "2130706433", "example.com", "localhost:8000", "[::1]"],
)  # fmt: skip
def test_anything_else_is_not(host: str) -> None:
    assert not is_loopback(host)
