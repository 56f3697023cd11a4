"""A result -> the JSON document that it was read from."""

from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any


def as_document(result: object) -> Any:
    """A result as JSON values, its fields by name in the service's order, moments as RFC 3339 has them.

    Fields that this client does not know are left out.
    """
    if isinstance(result, datetime):
        return result.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(result, tuple):
        return [as_document(item) for item in result]
    if is_dataclass(result):
        names = [field.name for field in fields(result)]
        return {name: as_document(getattr(result, name)) for name in names}
    return result
