"""Query parameters that a route does not know: refused, as unknown fields of a body are.

A misspelt name would else act on what is meant when it is left out: `DELETE /questions/17?colection=faq` on `default`.
"""

from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from app.errors import FieldError, InvalidRequest
from app.http.bodies import refuse_heap


class StrictRoute(APIRoute):
    """A route that refuses query parameters that it does not know, and bodies that would fill the memory.

    A dependency would be dearer, and comes after the body is read.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's own handler, after a look at the parameters and the body."""
        handle = super().get_route_handler()

        async def handle_known(request: Request) -> Response:
            _refuse_unknown_parameters(request)
            if self.body_field:
                with suppress(ClientDisconnect):  # of which FastAPI finds out, too
                    refuse_heap(await request.body())  # before FastAPI reads it
            return await handle(request)

        return handle_known


def _refuse_unknown_parameters(request: Request) -> None:
    """Raise InvalidRequest for a query parameter that the route does not know, or that stands there twice."""
    if not request.scope["query_string"]:
        return
    known = _parameters_of(request.app)[request.scope["route"].name]
    errors: list[FieldError] = []
    for name, times in Counter(name for name, _ in request.query_params.multi_items()).items():
        if name not in known:
            errors.append(FieldError(name, "is no parameter of this request"))
        elif times > 1:
            errors.append(FieldError(name, "stands more than once in this request"))
    if errors:
        raise InvalidRequest(*errors)


def _parameters_of(app: FastAPI) -> Mapping[str, frozenset[str]]:
    """The query parameters of each operation; made from the OpenAPI document, once."""
    known: dict[str, frozenset[str]] | None = getattr(app.state, "parameters", None)
    if known is None:
        known = {}
        for methods in app.openapi()["paths"].values():
            for operation in methods.values():
                known[operation["operationId"]] = _names(operation)
        app.state.parameters = known
    return known


def _names(operation: Mapping[str, Any]) -> frozenset[str]:
    parameters = operation.get("parameters", ())
    return frozenset(p["name"] for p in parameters if p["in"] == "query")
