"""Sessions: who signed in with which key. They are kept in memory, and end with the server, with the key, or unused.

A cookie holds 256 random bits that name a session, and nothing else; the key itself never leaves the server again.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

TOKEN_BYTES = 32
MAX_SESSIONS = 10_000  # past that the one unused for longest ends
MAX_OF_ONE_KEY = 100  # past that, of the key's: who signs in again and again ends nobody else's
IDLE_SECONDS = 12 * 3600.0
LONGEST_SECONDS = 7 * 24 * 3600.0


@dataclass
class Session:
    """One sign-in: its key, the token that each of its posts carries, and when it began and was last used."""

    key: str
    csrf: str
    began: float
    used: float


class Sessions:
    """Every session, by its token. To be used in the event loop alone."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()  # the one used last comes last

    def begin(self, key: str) -> str:
        """The token of a new session."""
        own = [token for token, session in self._sessions.items() if session.key == key]
        if len(own) >= MAX_OF_ONE_KEY:
            self.end(own[0])
        token = secrets.token_urlsafe(TOKEN_BYTES)
        now = self._clock()
        self._sessions[token] = Session(key, secrets.token_urlsafe(TOKEN_BYTES), now, now)
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return token

    def get(self, token: str | None) -> Session | None:
        """The session of this token, from now on used last; None where it has ended, or there was none."""
        session = self._sessions.get(token) if token else None
        if session is None or token is None:
            return None
        now = self._clock()
        if now - session.used > IDLE_SECONDS or now - session.began > LONGEST_SECONDS:
            self.end(token)
            return None
        session.used = now
        self._sessions.move_to_end(token)
        return session

    def end(self, token: str | None) -> None:
        """End a session, if there is one."""
        if token:
            self._sessions.pop(token, None)
