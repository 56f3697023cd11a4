"""The client's results have every field that the service documents, so that nothing is passed over for good."""

import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from types import ModuleType
from typing import Any

import pytest

from app.main import create_app
from app.settings import Settings
from sameask_client import (
    asking,
    collections,
    embeddings,
    health,
    labels,
    promises,
    questions,
    releases,
    training_runs,
)
from sameask_client.following import Stream
from sameask_client.operation import Listing, Operation

Schema = Mapping[str, Any]

MODULES = (
    asking,
    collections,
    embeddings,
    health,
    labels,
    promises,
    questions,
    releases,
    training_runs,
)
TEXT = {"metrics"}  # is no JSON


@pytest.fixture
def document(settings: Settings) -> Schema:
    """What the service documents."""
    return create_app(settings).openapi()


def test_results_have_every_documented_field(document: Schema) -> None:
    schemas = document["components"]["schemas"]
    compared = 0
    for name, response in _responses(document):
        kind = _result(name)
        if kind is None:
            continue
        compared += 1
        assert list(_missing(_resolved(response, schemas), kind, schemas)) == [], name
    assert compared > 20


def test_a_misplaced_field_would_be_seen() -> None:
    number = {"type": "integer"}
    schema = {"type": "object", "properties": dict.fromkeys(("revision", "collection"), number)}
    assert list(_missing(schema, questions.Deleted, {})) == ["Deleted: its order"]


def test_a_missing_field_would_be_seen() -> None:
    number = {"type": "integer"}
    properties = dict.fromkeys(("collection", "revision", "later"), number)
    schema = {"type": "object", "properties": properties}
    assert list(_missing(schema, questions.Deleted, {})) == ["Deleted.later"]


def _responses(document: Schema) -> Iterator[tuple[str, Schema]]:
    """Each operation, and the schema of its good answer, where that is JSON."""
    for methods in document["paths"].values():
        for operation in methods.values():
            for status in ("200", "202"):
                content = operation["responses"].get(status, {}).get("content", {})
                if "application/json" in content and operation["operationId"] not in TEXT:
                    yield operation["operationId"], content["application/json"]["schema"]


def _result(operation: str) -> Any:
    """The type that a method's answer is read as; None for a list, whose items another method reads too."""
    described = next(getattr(m, operation) for m in MODULES if _owns(m, operation))
    returned = typing.get_type_hints(described)["return"]
    origin, (kind, *_) = typing.get_origin(returned), typing.get_args(returned)
    assert origin in (Operation, Listing, Stream)
    return kind if origin is Operation else None


def _owns(module: ModuleType, name: str) -> bool:
    return getattr(getattr(module, name, None), "__module__", None) == module.__name__


def _missing(schema: Schema, kind: Any, schemas: Mapping[str, Schema]) -> Iterator[str]:
    """Fields that the schema has and the dataclass has not, or in another order, there and in what they hold.

    Constants say nothing. The order is that in which `as_document` writes.
    """
    kind = _held(kind)
    if not isinstance(kind, type) or not is_dataclass(kind):
        return
    hints = typing.get_type_hints(kind)
    known = [field.name for field in fields(kind)]
    properties = _plain(schema, schemas)["properties"]
    if [name for name in properties if name in known] != [
        name for name in known if name in properties
    ]:
        yield f"{kind.__name__}: its order"
    for name, value in properties.items():
        if name in known:
            yield from _missing(value, hints[name], schemas)
        elif "const" not in value:
            yield f"{kind.__name__}.{name}"


def _plain(schema: Schema, schemas: Mapping[str, Schema]) -> Schema:
    """The schema of an object or a value: without null, and of a list that of its items."""
    schema = _resolved(schema, schemas)
    if "anyOf" in schema:
        return _plain(schema["anyOf"][0], schemas)
    if schema.get("type") == "array":
        return _plain(schema.get("items", {}), schemas)
    return schema


def _held(kind: Any) -> Any:
    """The type without None, and of a tuple that of its items."""
    while not is_dataclass(kind) and typing.get_args(kind):
        kind = typing.get_args(kind)[0]
    return kind


def _resolved(schema: Schema, schemas: Mapping[str, Schema]) -> Schema:
    reference = schema.get("$ref")
    return schemas[reference.rpartition("/")[2]] if reference else schema
