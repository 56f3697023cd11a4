"""The endpoint that the webhook's events go to: whether its address may be called, and one signed request to it.

An operator sets its URL, but the addresses of a name are in others' hands, and change. So the name is looked up for
every request, and each address it has is checked. The connection is made to an address that was checked: there is no
second look-up that could answer differently. Redirects are not followed, and proxies of the environment not used.
"""

import asyncio
import base64
import binascii
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

import httpx

from app import __version__
from app.errors import DeliveryFailed, WebhookRefused
from app.private_files import is_writable_by_all, warn_if_open
from app.webhook.signature import signed

TIMEOUT_SECONDS = 20.0  # the specification recommends 15 to 30
CONNECT_SECONDS = 5.0  # to one of the addresses, before the next is tried
MIN_SECRET_BYTES = 24
MAX_SECRET_BYTES = 64
SECRET_PREFIX = "whsec_"
GLOBAL_IPV6 = IPv6Network("2000::/3")  # what is not in it is not for the internet (RFC 4291)
TUNNELS = (
    IPv6Network("2002::/16"),
    IPv6Network("2001::/32"),
)  # 6to4 and Teredo lead to IPv4 addresses, and are history
DOCUMENTATION = IPv6Network("3fff::/20")
NAT64 = IPv6Network("64:ff9b::/96")

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve(host: str, port: int) -> Sequence[str]:
    """Every address that a name has. Raises OSError."""
    entries = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(socket_address[0]) for *_, socket_address in entries]
    return list(dict.fromkeys(addresses))  # each once, in the resolver's order


class Endpoint:
    """Where events go. Opened once; each `post` looks the name up anew."""

    def __init__(
        self,
        url: str,
        secret_file: Path | None,
        allowed_hosts: str | None = None,
        allow_private: str | None = None,
        *,
        resolve: Resolve = resolve,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """The arguments are settings of the like name. Raises WebhookRefused."""
        self._private = _networks(allow_private)
        self._url = _checked_url(url, _names(allowed_hosts), allow_http=bool(self._private))
        self._secret = _secret(secret_file)
        self._resolve = resolve
        self._timeout_seconds = timeout_seconds
        self._tls = httpx.create_ssl_context()  # honours SSL_CERT_FILE

    @property
    def host(self) -> str:
        """The name in the URL, which may be logged; the rest of the URL may hold a token."""
        return self._url.raw_host.decode()

    async def post(self, message_id: str, at: datetime, body: bytes) -> None:
        """Send an event; `at` is the moment of this attempt. Raises DeliveryFailed."""
        headers = {
            "Host": self._url.netloc.decode(),
            "Content-Type": "application/json",
            "User-Agent": f"Sameask/{__version__}",
            **signed(self._secret, message_id, at, body),
        }
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._post(headers, body, at)
        except TimeoutError as error:
            raise DeliveryFailed(f"no answer within {self._timeout_seconds:g} s") from error
        except httpx.ConnectError as error:
            raise DeliveryFailed(f"no connection: {error}") from error
        except httpx.TransportError as error:  # its words may repeat what the receiver sent
            raise DeliveryFailed(f"no answer: {type(error).__name__}") from error

    async def _post(self, headers: Mapping[str, str], body: bytes, at: datetime) -> None:
        """To the first address that can be reached."""
        *others, last = await self._addresses()
        for address in others:
            try:
                return await self._post_to(address, headers, body, at)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._post_to(last, headers, body, at)

    async def _post_to(
        self, address: Address, headers: Mapping[str, str], body: bytes, at: datetime
    ) -> None:
        """A transport on its own: a client would follow redirects and proxies if asked, and log the URL."""
        extensions = {"timeout": {"connect": CONNECT_SECONDS}, "sni_hostname": self.host}
        url = self._url.copy_with(host=str(address))
        request = httpx.Request("POST", url, headers=headers, content=body, extensions=extensions)
        async with httpx.AsyncHTTPTransport(verify=self._tls) as transport:
            answer = await transport.handle_async_request(request)
            await answer.aclose()  # its body says nothing to us, however long it is
        if not answer.is_success:
            after = _retry_after_seconds(answer.headers.get("Retry-After", ""), at)
            gone = answer.status_code == 410
            raise DeliveryFailed(
                f"answered {answer.status_code}", retry_after_seconds=after, final=gone
            )

    async def _addresses(self) -> list[Address]:
        """The addresses of the name, all of them checked. Raises DeliveryFailed."""
        port = self._url.port or {"https": 443, "http": 80}[self._url.scheme]
        try:
            resolved = await self._resolve(self.host, port)
        except OSError as error:
            raise DeliveryFailed(f"{self.host} can't be looked up: {error.strerror}") from error
        if not resolved:
            raise DeliveryFailed(f"{self.host} has no address")
        addresses = [_plain(ip_address(text)) for text in resolved]
        for address in addresses:
            self._check(address)
        return addresses

    def _check(self, address: Address) -> None:
        if is_public(address):
            if self._url.scheme == "http":
                raise DeliveryFailed(
                    f"{self.host} has the public address {address}, and http is for private ones"
                )
        elif not any(address in network for network in self._private):
            raise DeliveryFailed(
                f"{self.host} has the address {address}, not in SAMEASK_WEBHOOK_ALLOW_PRIVATE"
            )


def is_public(address: Address) -> bool:
    """Whether an address is one host's on the internet; forms of IPv6 that lead to IPv4 count as what they lead to."""
    address = _plain(address)
    if isinstance(address, IPv6Address) and (
        address not in GLOBAL_IPV6
        or address in DOCUMENTATION
        or any(address in tunnel for tunnel in TUNNELS)
    ):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _plain(address: Address) -> Address:
    """The IPv4 address in a mapped or NAT64 one, which is where a connection to that ends."""
    if isinstance(address, IPv6Address):
        if address in NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
        return address.ipv4_mapped or address
    return address


def _checked_url(text: str, allowed: set[bytes], *, allow_http: bool) -> httpx.URL:
    """Raises WebhookRefused; its words hold no more of the URL than the host."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise WebhookRefused("SAMEASK_WEBHOOK_URL is no URL") from error
    if (url.port or 0) > 65535:
        raise WebhookRefused("SAMEASK_WEBHOOK_URL has a port past 65535")
    if url.scheme not in ("https", "http") or not url.raw_host:
        raise WebhookRefused("SAMEASK_WEBHOOK_URL must begin with https:// and a host name")
    if url.userinfo:
        raise WebhookRefused(
            "SAMEASK_WEBHOOK_URL must hold no user and no password: events are signed instead"
        )
    if url.scheme == "http" and not allow_http:
        raise WebhookRefused(
            "SAMEASK_WEBHOOK_URL must be https; http is for addresses in SAMEASK_WEBHOOK_ALLOW_PRIVATE, which is unset"
        )
    if url.raw_host not in allowed:
        raise WebhookRefused(
            f"the host of SAMEASK_WEBHOOK_URL, {url.host}, is not in SAMEASK_WEBHOOK_ALLOWED_HOSTS"
        )
    return url.copy_with(fragment=None)


def _names(text: str | None) -> set[bytes]:
    """Host names by comma, as they are sent."""
    try:
        return {httpx.URL(scheme="https", host=name).raw_host for name in _by_comma(text)}
    except httpx.InvalidURL as error:
        raise WebhookRefused(
            "SAMEASK_WEBHOOK_ALLOWED_HOSTS must be host names, by comma"
        ) from error


def _networks(text: str | None) -> list[Network]:
    try:
        return [ip_network(network) for network in _by_comma(text)]
    except ValueError as error:
        raise WebhookRefused(f"SAMEASK_WEBHOOK_ALLOW_PRIVATE: {error}") from error


def _by_comma(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _secret(file: Path | None) -> bytes:
    """The secret in the file's text. Raises WebhookRefused; its words hold nothing of the secret."""
    if file is None:
        raise WebhookRefused(
            "SAMEASK_WEBHOOK_URL needs SAMEASK_WEBHOOK_SECRET_FILE: events are signed"
        )
    try:
        if is_writable_by_all(file):
            raise WebhookRefused(
                f"anybody may change {file} (SAMEASK_WEBHOOK_SECRET_FILE): `chmod 600 {file}`"
            )
        text = file.read_text("ascii").strip()
        secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except OSError as error:
        raise WebhookRefused(
            f"can't read {file} (SAMEASK_WEBHOOK_SECRET_FILE): {error.strerror}"
        ) from error
    except (UnicodeDecodeError, binascii.Error):
        text = ""
        secret = b""
    if (
        not text.startswith(SECRET_PREFIX)
        or not MIN_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES
    ):
        raise WebhookRefused(
            f"{file} (SAMEASK_WEBHOOK_SECRET_FILE) must hold {SECRET_PREFIX} and {MIN_SECRET_BYTES} to"
            f' {MAX_SECRET_BYTES} bytes in base64: `echo "{SECRET_PREFIX}$(openssl rand -base64 32)"` makes good ones'
        )
    warn_if_open(file)
    return secret


def _retry_after_seconds(header: str, at: datetime) -> float:
    """Seconds or a date (RFC 9110, 10.2.3); 0 where it says neither."""
    if header.strip().isdecimal():
        return float(header[:20])
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - at).total_seconds())
