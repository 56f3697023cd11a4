"""Access: keys, the scopes of each, and whether a request without one is let in.

A key is `sameask_<id>_<secret>`: 64 bits that name it, so that one row is read, and 256 random bits that prove it.
The store keeps the SHA-256 of the whole. A slow hash makes guessing dear, and 256 random bits can't be guessed at any
price: it would only make each request slow.

A service on a loopback address asks for no key until the first one is made. From then on it always does, even when all
are revoked: taking a key away must not open the door to everybody.
"""

import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from app.engine.store import Key, Store
from app.errors import AdminKeyRefused, KeysNeeded
from app.private_files import is_writable_by_all, warn_if_open
from app.scopes import KeyScope

ID_BYTES = 8
SECRET_BYTES = 32
KEY = re.compile(f"sameask_([0-9a-f]{{{2 * ID_BYTES}}})_[0-9a-f]{{{2 * SECRET_BYTES}}}")
ADMIN_KEY = re.compile("[!-~]{32,1024}")  # what a header can carry
NO_KEY = b""  # stands for a request without one where others stand by their digest
NO_ID = ""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HashedKey:
    """What tells a key without being one: its public id, empty for one that has none, and the SHA-256 of the whole."""

    id: str
    digest: bytes

    @classmethod
    def of(cls, key: str) -> "HashedKey":
        """A key's."""
        named = KEY.fullmatch(key)
        return cls(named[1] if named else NO_ID, _digest(key))


@dataclass(frozen=True)
class Caller:
    """Whose key a request carries: the key's public id (empty for the admin key's file), its name, and its scopes."""

    key_id: str
    name: str
    scopes: frozenset[str]

    @property
    def speaks_for_others(self) -> bool:
        """Whether it may label, and undo labels, in others' names: an administrator's key, and one without a name."""
        return KeyScope.ADMIN in self.scopes or not self.name


ADMINISTRATOR = Caller(NO_ID, "SAMEASK_ADMIN_KEY_FILE", frozenset(KeyScope))


def make_key(store: Store, scopes: Sequence[KeyScope], name: str = "") -> tuple[Key, str]:
    """A new key: what is kept of it, and the key itself, which nobody can read again."""
    key_id = secrets.token_hex(ID_BYTES)
    key = f"sameask_{key_id}_{secrets.token_hex(SECRET_BYTES)}"
    ordered = [scope for scope in KeyScope if scope in scopes]
    return store.keys.add(key_id, _digest(key), ordered, name), key


@lru_cache(64)  # hardly more are asked about, and each request without a key asks about three
def is_loopback(host: str) -> bool:
    """Whether an address or a name leads to this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


class Keys:
    """The keys of a running server. Safe from many threads; what another process does counts at once."""

    def __init__(self, store: Store, host: str, admin_key_file: Path | None = None) -> None:
        """`host` is the address to listen on. Raises AdminKeyRefused; KeysNeeded where others can reach it."""
        self._store = store
        self._admin = _digest(_admin_key(admin_key_file)) if admin_key_file else None
        self._needed = self._admin is not None or not is_loopback(host)
        self._version: int | None = None  # of the store, when these were read there:
        self._callers: dict[bytes, Caller | None] = {}  # by the digest of a good key, or NO_KEY
        if not self._admin and all(key.revoked_at for key in store.keys.all()):
            self._warn_or_refuse(host)

    def are_needed(self) -> bool:
        """Whether a request needs a key. Never false again after it was true."""
        if not self._needed:
            known = self._known()
            if NO_KEY not in known:
                self._needed = self._store.keys.exist()
                known[NO_KEY] = None
        return self._needed

    def identify(self, key: str | HashedKey) -> Caller | None:
        """Whose key this is; None if it is unknown or revoked. Raises DataDamaged."""
        hashed = _hashed(key)
        if self._is_admin(hashed.digest):
            return ADMINISTRATOR
        known = self._known()
        if hashed.digest not in known:
            caller = self._read(hashed)
            if caller is None:
                return None
            known[hashed.digest] = caller
        return known[hashed.digest]

    def remembers(self, key: str | HashedKey | None) -> bool:
        """Whether the store need not be read to say whose key this is, or whether a request may come without one."""
        if key is None:
            return self._needed or NO_KEY in self._known()
        digest = _hashed(key).digest
        return self._is_admin(digest) or digest in self._known()

    def _known(self) -> dict[bytes, Caller | None]:
        """The callers read since the last write to the store. To be asked for before reading."""
        version = self._store.database.version()
        if version is None or version != self._version:
            self._callers = {}
            self._version = version
        return self._callers

    def _read(self, key: HashedKey) -> Caller | None:
        """Whose key this is, by the store."""
        stored = self._store.keys.get(key.id) if key.id else None
        if stored is None or stored.revoked_at:
            return None
        if not hmac.compare_digest(key.digest, stored.digest):
            return None
        return Caller(stored.id, stored.name, _with_implied(stored.scopes))

    def _is_admin(self, digest: bytes) -> bool:
        return self._admin is not None and hmac.compare_digest(digest, self._admin)

    def _warn_or_refuse(self, host: str) -> None:
        if not is_loopback(host):
            raise KeysNeeded(host)
        if self.are_needed():
            log.warning(
                "every key is revoked: nobody is let in until `sameask keys create` makes one"
            )
        else:
            log.warning(
                "no key was ever made: whoever reaches %s, from this machine, may do everything;"
                " from the first `sameask keys create` on, every request needs a key",
                host,
            )


def _admin_key(file: Path) -> str:
    """The key that a file holds, white space around it left out. Raises AdminKeyRefused."""
    try:
        if is_writable_by_all(file):
            raise AdminKeyRefused(
                f"anybody may change {file} (SAMEASK_ADMIN_KEY_FILE): `chmod 600 {file}`"
            )
        key = file.read_text("ascii").strip()
    except OSError as error:
        raise AdminKeyRefused(
            f"can't read {file} (SAMEASK_ADMIN_KEY_FILE): {error.strerror}"
        ) from error
    except UnicodeDecodeError:
        key = ""
    if not ADMIN_KEY.fullmatch(key):
        raise AdminKeyRefused(
            f"{file} (SAMEASK_ADMIN_KEY_FILE) must hold one key of 32 to 1,024 visible ASCII characters:"
            " `openssl rand -hex 32` makes a good one"
        )
    warn_if_open(file)
    return key


def _with_implied(scopes: Sequence[str]) -> frozenset[str]:
    """The scopes of a key, and those that come with them: who may read may ask, an administrator may do everything."""
    if KeyScope.ADMIN in scopes:
        return frozenset(KeyScope)
    implied = {KeyScope.ASK} if KeyScope.READ in scopes else set()
    return frozenset(scopes) | implied


def _hashed(key: str | HashedKey) -> HashedKey:
    return HashedKey.of(key) if isinstance(key, str) else key


def _digest(key: str) -> bytes:
    """SHA-256, (32,) bytes."""
    return hashlib.sha256(key.encode()).digest()
