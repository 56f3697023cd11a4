"""OpenAPI links: where an answer leads, and which of its values the next request takes."""

from collections.abc import Mapping
from typing import Any


def link(
    description: str, body: Mapping[str, Any] | None = None, **parameters: str
) -> dict[str, Any]:
    """A next request: its parameters, and the fields of its body, as runtime expressions."""
    made = {"description": description, "parameters": parameters, "requestBody": body}
    return {key: value for key, value in made.items() if value}


def links(**by_operation: dict[str, Any]) -> dict[str, Any]:
    """The part of a route's `responses` that names, for a status, the operations it leads to."""
    return {
        "links": {
            operation: {"operationId": operation, **made}
            for operation, made in by_operation.items()
        }
    }
