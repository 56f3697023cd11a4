"""Who may do what: the scope of every route, and the door that asks for a key before a request's body is read.

`SCOPES` is the one place where a route's scope stands. The service does not start while a route is missing there.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fastapi.routing import RouteContext, iter_route_contexts
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import HostRefused, KeyMissing, KeyRefused, SameaskError, ScopeMissing
from app.http.problems import answer, described
from app.keys import Keys, is_loopback
from app.scopes import KeyScope

NO_KEY = None

# By a route's name, which is its function's and its `operationId`: the scope that a key must have.
SCOPES: Mapping[str, KeyScope | None] = {
    "find_duplicates": KeyScope.READ,
    "score_pairs": KeyScope.READ,
    "list_questions": KeyScope.READ,
    "read_question": KeyScope.READ,
    "list_collections": KeyScope.READ,
    "read_collection": KeyScope.READ,
    "list_labels": KeyScope.READ,
    "read_evidence": KeyScope.READ,
    "metrics": KeyScope.READ,  # how much is stored and asked is not for strangers, and Prometheus can send a key
    "upsert_questions": KeyScope.WRITE,
    "delete_question": KeyScope.WRITE,
    "create_collection": KeyScope.WRITE,
    "delete_collection": KeyScope.WRITE,
    "erase_asked": KeyScope.WRITE,
    "label_pairs": KeyScope.LABEL,
    "undo_label": KeyScope.LABEL,
    "read_review_queue": KeyScope.LABEL,  # it claims pairs for who labels them
    "skip_pair": KeyScope.LABEL,
    "start_training": KeyScope.ADMIN,
    "list_training_runs": KeyScope.ADMIN,
    "read_training_run": KeyScope.ADMIN,
    "follow_training_run": KeyScope.ADMIN,
    "cancel_training_run": KeyScope.ADMIN,
    "resume_training_run": KeyScope.ADMIN,
    "list_releases": KeyScope.ADMIN,
    "read_shadow": KeyScope.ADMIN,
    "open_shadow": KeyScope.ADMIN,
    "cancel_shadow": KeyScope.ADMIN,
    "read_live_release": KeyScope.ADMIN,
    "activate_release": KeyScope.ADMIN,
    "roll_back_release": KeyScope.ADMIN,
    "compare_release": KeyScope.ADMIN,
    "remove_release": KeyScope.ADMIN,
    "livez": NO_KEY,  # orchestrators have none
    "readyz": NO_KEY,
    "root": NO_KEY,  # the documentation is the same for every Sameask, and is where a key can be entered
    "docs": NO_KEY,
    "assets": NO_KEY,
    "openapi": NO_KEY,
}


@dataclass(frozen=True)
class Guarded:
    """A route, and the scope that a key must have for it."""

    route: RouteContext
    scope: KeyScope | None


def guarded(routes: Sequence[BaseRoute]) -> list[Guarded]:
    """Every route with its scope. Raises LookupError unless each has a name of its own and stands in SCOPES."""
    contexts = list(iter_route_contexts(routes))
    names = Counter(str(context.name) for context in contexts)
    repeated = {name for name, times in names.items() if times > 1}
    wrong = repeated | names.keys() ^ SCOPES.keys()
    if wrong:
        raise LookupError(
            f"app/http/access.py must give each route one scope, and no other: {sorted(wrong)}"
        )
    return [Guarded(context, SCOPES[str(context.name)]) for context in contexts]


class Door:
    """Decides whether a request comes in."""

    def __init__(self, keys: Keys, routes: Iterable[Guarded], own_names: Iterable[str]) -> None:
        """`own_names` are host names under which a server without keys answers, beside those of loopback."""
        self._keys = keys
        self._routes = list(routes)
        self._own_names = {name.strip().lower() for name in own_names if name.strip()}

    def route_of(self, scope: Scope) -> Guarded | None:
        """The route that will answer; None where that is 404 or 405."""
        for guarded_route in self._routes:
            match, _ = guarded_route.route.matches(scope)
            if match is Match.FULL:
                return guarded_route
        return None

    def check(self, connection: HTTPConnection, needed: KeyScope | None) -> None:
        """Let it in, if it has a key with the needed scope (None: any key), or no key is needed yet.

        Raises KeyMissing, KeyRefused, ScopeMissing, HostRefused, DataDamaged.
        """
        key = _bearer(connection)
        caller = self._keys.identify(key) if key else None
        if caller:
            if needed and needed not in caller.scopes:
                raise ScopeMissing(needed)
        elif self._keys.are_needed():
            raise KeyRefused if key else KeyMissing
        else:
            self._check_nearness(connection)

    def is_quick(self, connection: HTTPConnection) -> bool:
        """Whether `check` would read nothing that may have to be waited for."""
        return self._keys.remembers(_bearer(connection))

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


class AskForKey:
    """ASGI middleware: nothing of a request is read, and no route runs, before the app's door has let it in."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # there are none; one would need a door of its own
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            connection = HTTPConnection(scope)
            door: Door = connection.app.state.door
            route = door.route_of(scope)
            try:
                await _knock(door, connection, route)
            except SameaskError as error:
                scope["route"] = route.route if route else None  # for the metrics
                refusal = answer(error, _challenge(error))
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def is_still_let_in(connection: HTTPConnection) -> bool:
    """Whether a request that was let in would be let in now: its key may have been revoked while its answer goes on."""
    door: Door | None = getattr(connection.app.state, "door", None)
    if door is None:
        return True
    try:
        await _knock(door, connection, door.route_of(connection.scope))
    except SameaskError:
        return False
    return True


async def _knock(door: Door, connection: HTTPConnection, route: Guarded | None) -> None:
    """Raise what `Door.check` raises; in a thread, where the store has to be read for it."""
    if route and route.scope is NO_KEY:
        return
    needed = route.scope if route else None
    if door.is_quick(connection):
        door.check(connection, needed)
    else:
        await run_in_threadpool(door.check, connection, needed)


def declare(document: dict[str, Any]) -> None:
    """Write into an OpenAPI document how keys are sent, and which scope each operation needs."""
    document["components"]["securitySchemes"] = {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "`sameask keys create --scope read` makes one. A server on a loopback address asks for none"
            " until the first is made.",
        }
    }
    for methods in document["paths"].values():
        for operation in methods.values():
            scope = SCOPES[operation["operationId"]]
            if scope is not NO_KEY:
                _declare_scope(operation, scope)


def _declare_scope(operation: dict[str, Any], scope: KeyScope) -> None:
    operation["security"] = [{"key": [scope]}]
    description = operation.get("description", "")
    operation["description"] = f"{description}\n\nNeeds a key with the scope `{scope}`."
    responses = operation["responses"]
    for status, response in described(KeyMissing, KeyRefused, ScopeMissing, HostRefused).items():
        responses[str(status)] = response
    operation["responses"] = dict(sorted(responses.items()))


def _bearer(connection: HTTPConnection) -> str | None:
    """The key of the Authorization header; None where there is no such header, or one of another kind."""
    scheme, _, key = connection.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def _challenge(error: SameaskError) -> dict[str, str]:
    """The header that goes with a refusal (RFC 6750)."""
    match error:
        case KeyMissing():
            return {"WWW-Authenticate": 'Bearer realm="sameask"'}
        case KeyRefused():
            return {"WWW-Authenticate": 'Bearer realm="sameask", error="invalid_token"'}
        case ScopeMissing():
            words = f'error="insufficient_scope", scope="{error.scope}"'
            return {"WWW-Authenticate": f'Bearer realm="sameask", {words}'}
        case _:
            return {}


def _is_elsewhere(client: str) -> bool:
    """Whether a client is on another machine; one without an address (a Unix socket) is not."""
    return any(mark in client for mark in ".:") and not is_loopback(client)


def _host_name(address: str) -> str:
    """The host name in an address; empty if there is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
