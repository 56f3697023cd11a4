"""Who may do what: the scope of every route, and the door that asks for a key before a request's body is read.

`SCOPES` is the one place where a route's scope stands. The service does not start while a route is missing there.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.routing import RouteContext, iter_route_contexts
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from app.door import Door
from app.errors import HostRefused, KeyMissing, KeyRefused, SameaskError, ScopeMissing
from app.http.problems import answer, described
from app.keys import Caller
from app.scopes import KeyScope

NO_KEY = None

# By a route's name, which is its function's and its `operationId`: the scope that a key must have.
SCOPES: Mapping[str, KeyScope | None] = {
    "find_duplicates": KeyScope.ASK,
    "score_pairs": KeyScope.ASK,
    "embed_texts": KeyScope.READ,
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
    "read_review_queue": KeyScope.LABEL,  # it reserves pairs for the person who labels them
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
    "docs": NO_KEY,  # the same for every Sameask, and where a key can be entered
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


def route_of(connection: HTTPConnection) -> Guarded | None:
    """The route that will answer; None where that is 404 or 405."""
    routes: Sequence[Guarded] = connection.app.state.guarded_routes
    for guarded_route in routes:
        match, _ = guarded_route.route.matches(connection.scope)
        if match is Match.FULL:
            return guarded_route
    return None


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
            route = route_of(connection)
            try:
                caller = await _knock(connection, route)
            except SameaskError as error:
                scope["route"] = route.route if route else None  # for the metrics
                refusal = answer(error, _challenge(error))
                await refusal(scope, receive, send)
                return
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)


async def is_still_let_in(connection: HTTPConnection) -> bool:
    """Whether a request that was let in would be let in now: its key may have been revoked while its answer goes on."""
    if not hasattr(connection.app.state, "door"):
        return True
    try:
        await _knock(connection, route_of(connection))
    except SameaskError:
        return False
    return True


async def _knock(connection: HTTPConnection, route: Guarded | None) -> Caller | None:
    """The result of `Door.check`, or its error; from a thread, where the store has to be read for it."""
    if route and route.scope is NO_KEY:
        return None
    door: Door = connection.app.state.door
    key = _bearer(connection)
    needed = route.scope if route else None
    if door.is_quick(key):
        return door.check(connection, key, needed)
    return await run_in_threadpool(door.check, connection, key, needed)


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
