"""Sessions: who signed in with which key. They stand in the store, and end with the key, in time, or unused.

A cookie holds 256 random bits that name a session, and nothing else; the key itself never leaves the server again. The
store holds digests of both: who reads it can neither come in by them nor go on with a session.
"""

import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from app.engine.store import SessionRecord, Store
from app.errors import StorageFull
from app.keys import HashedKey

TOKEN_BYTES = 32
MAX_SESSIONS = 10_000  # past that the one unused for longest ends
MAX_OF_ONE_KEY = 100  # past that, of the key's: who signs in again and again ends nobody else's
IDLE_SECONDS = 12 * 3600
LONGEST_SECONDS = 7 * 24 * 3600
NOTED_SECONDS = 60  # between notes that a session is used: each is a commit
CSRF = b"the token that each post carries"


@dataclass(frozen=True)
class Session:
    """One sign-in: its key, and the token that each of its posts carries."""

    key: HashedKey
    csrf: str


class Sessions:
    """Every session, by its token. Safe from many threads; what another process does counts at once."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        """`clock` tells Unix time, by which sessions of all servers end."""
        self._records = store.sessions
        self._clock = clock

    def begin(self, key: str) -> str:
        """The token of a new session. Raises StorageFull."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        now = int(self._clock())
        hashed = HashedKey.of(key)
        self._records.add(
            SessionRecord(_digest(token), hashed.id, hashed.digest, began=now, used=now),
            began_from=now - LONGEST_SECONDS,
            used_from=now - IDLE_SECONDS,
            most=MAX_SESSIONS,
            most_of_key=MAX_OF_ONE_KEY,
        )
        return token

    def get(self, token: str | None) -> Session | None:
        """The session of this token, from now on used last; None where it has ended, or there was none."""
        record = self._records.get(_digest(token)) if token else None
        if record is None or token is None:
            return None
        now = int(self._clock())
        if now - record.used > IDLE_SECONDS or now - record.began > LONGEST_SECONDS:
            self.end(token)
            return None
        if now - record.used >= NOTED_SECONDS:
            with suppress(StorageFull):  # it goes on, and ends a little sooner
                self._records.use(record.digest, now)
        return Session(HashedKey(record.key_id, record.key_digest), _csrf(token))

    def end(self, token: str | None) -> None:
        """End a session, if there is one."""
        if token:
            self._records.end(_digest(token))


def _digest(token: str) -> bytes:
    """SHA-256, (32,) bytes: of 256 random bits, which nobody can guess."""
    return hashlib.sha256(token.encode()).digest()


def _csrf(token: str) -> str:
    """Derived of the session's token, so that it need not be kept: who knows one can't tell the other."""
    derived = hmac.digest(token.encode(), CSRF, "sha256")
    return urlsafe_b64encode(derived).decode().rstrip("=")
