"""The address at which the service listens: taken before anything is loaded, by one process or by several."""

import socket

from app.errors import AddressInUse, CommandError
from app.settings import Settings

BACKLOG = 2048  # connections that may wait to be accepted


def listen(settings: Settings) -> socket.socket:
    """A socket that listens at the address, and shares it with nobody. Raises AddressInUse."""
    listening = _bound(settings)
    try:
        listening.listen(BACKLOG)
    except OSError as error:
        raise _in_use(settings, listening, error) from error
    return listening


def share(settings: Settings) -> socket.socket:
    """A socket at the address that others share, in other processes of this user. It does not listen yet.

    Raises AddressInUse.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise CommandError("--replicas: this system lets no two processes listen at one port")
    return _bound(settings, socket.SO_REUSEPORT)


def authority(host: str, port: int) -> str:
    """Host and port as a URL has them: an address of IPv6 stands in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bound(settings: Settings, *options: int) -> socket.socket:
    """A socket with these options.

    The protocol is named, though there is only one: asyncio turns Nagle's algorithm off for no other socket. With it,
    an answer waits 40 ms: it is written in two parts, and the client has to acknowledge the first.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    for option in (socket.SO_REUSEADDR, *options):
        bound.setsockopt(socket.SOL_SOCKET, option, 1)
    try:
        bound.bind((settings.host, settings.port))
    except OSError as error:
        raise _in_use(settings, bound, error) from error
    return bound


def _in_use(settings: Settings, bound: socket.socket, error: OSError) -> AddressInUse:
    bound.close()
    address = authority(settings.host, settings.port)
    return AddressInUse(f"can't listen on {address} (SAMEASK_PORT): {error.strerror}")
