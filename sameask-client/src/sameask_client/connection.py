"""The address of the service, the key, and the timeouts: the arguments that both clients give httpx."""

import math
import os
import re
from typing import Any

import httpx

from sameask_client.version import __version__

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_SECONDS = 60.0
KEY_VARIABLE = "SAMEASK_KEY"
USER_AGENT = f"sameask-client/{__version__}"


def connection(url: str, key: str | None, timeout_seconds: float) -> dict[str, Any]:
    """Arguments of httpx's clients. Without a key that of SAMEASK_KEY is sent, if there is one.

    Raises ValueError, which does not repeat the key.
    """
    if not 0 < timeout_seconds < math.inf:
        raise ValueError("timeout_seconds must be a positive number")
    headers = {"User-Agent": USER_AGENT, "Accept": "application/json, */*;q=0.1"}
    return {
        "base_url": _address(url),
        "headers": headers | _credentials(key),
        # Who waits for a connection has sent nothing: it takes its turn behind the client's other requests.
        "timeout": httpx.Timeout(timeout_seconds, pool=None),
    }


def _address(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{url} is no address: {error}") from error
    if address.scheme not in ("http", "https") or not address.host:
        raise ValueError(f"{url} is no address: it must be as {DEFAULT_URL}")
    return address


def _credentials(key: str | None) -> dict[str, str]:
    """The header that carries the key; none without one."""
    key = (os.environ.get(KEY_VARIABLE, "") if key is None else key).strip()
    if re.search("[^!-~]", key):
        raise ValueError("the key must be one line of visible ASCII")
    return {"Authorization": f"Bearer {key}"} if key else {}
