"""The door of a running server: whose key a request carries, and whether one without a key is let in.

JSON's door (`app.http.access`) and that of the pages (`app.web.access`) differ in how a key comes, and in how a refusal
is told; both ask here.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from app.errors import HostRefused, KeyMissing, KeyRefused, ScopeMissing
from app.keys import Caller, HashedKey, Keys, is_loopback
from app.scopes import KeyScope


class Door:
    """Decides whether a request comes in."""

    def __init__(self, keys: Keys, own_names: Iterable[str]) -> None:
        """`own_names` are host names under which a server without keys answers, beside those of loopback."""
        self._keys = keys
        self._own_names = {name.strip().lower() for name in own_names if name.strip()}

    def caller(self, connection: HTTPConnection, key: str | HashedKey | None) -> Caller | None:
        """Who asks: the holder of the key; None where no key is needed yet.

        Raises KeyMissing, KeyRefused, HostRefused, DataDamaged.
        """
        caller = self._keys.identify(key) if key else None
        if caller:
            return caller
        if self._keys.are_needed():
            raise KeyRefused if key else KeyMissing
        self._check_nearness(connection)
        return None

    def check(
        self, connection: HTTPConnection, key: str | None, needed: KeyScope | None
    ) -> Caller | None:
        """Let it in, if its key has the needed scope (None: any key), or no key is needed yet; returns who asks.

        Raises what `caller` raises, and ScopeMissing.
        """
        caller = self.caller(connection, key)
        if caller and needed and needed not in caller.scopes:
            raise ScopeMissing(needed)
        return caller

    def is_quick(self, key: str | HashedKey | None) -> bool:
        """Whether `caller` would read nothing that may have to be waited for."""
        return self._keys.remembers(key)

    def _check_nearness(self, connection: HTTPConnection) -> None:
        """Without keys: only from this machine (`uvicorn` may listen elsewhere than the settings say), and for no page
        of another server (its own name may lead to 127.0.0.1, or its script may post here; browsers say so)."""
        if connection.client and _is_elsewhere(connection.client.host):
            raise KeyMissing
        hosts = [f"//{host}" for host in connection.headers.getlist("host")]
        origins = connection.headers.getlist("origin")
        for address in hosts + origins:
            name = _host_name(address)
            if not is_loopback(name) and name not in self._own_names:
                raise HostRefused


def _is_elsewhere(client: str) -> bool:
    """Whether a client is on another machine; one without an address (a Unix socket) is not."""
    return any(mark in client for mark in ".:") and not is_loopback(client)


def _host_name(address: str) -> str:
    """The host name in an address; empty if there is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
