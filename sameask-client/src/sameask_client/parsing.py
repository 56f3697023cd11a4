"""JSON of an answer -> a frozen dataclass, by the types of its fields.

Fields that the class does not know are passed over, so that a newer service can be asked. A field that is missing takes
its default, so that an older one can; where there is no default, or a value is of another type, NotSameask is raised.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Hashable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, cast

import httpx

from sameask_client.errors import NotSameask

T = TypeVar("T")
Reader = Callable[[Any], Any]


def read_answer(kind: type[T], response: httpx.Response) -> T:
    """The answer's JSON as a value of the type. Raises NotSameask for what is none."""
    try:
        value = response.json()
    except ValueError as error:
        raise NotSameask("the answer is not one of Sameask's: it is no JSON") from error
    return read(kind, value)


def read(kind: type[T], value: object) -> T:
    """A JSON value as a value of the type. Raises NotSameask for what is none."""
    try:
        return cast(T, _reader_of(cast(Hashable, kind))(value))
    except ValueError as error:
        raise NotSameask(f"the answer is not one of Sameask's: {error}") from error


@cache
def _reader_of(kind: Any) -> Reader:
    """The function that reads a JSON value as a value of this type; it raises ValueError."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _object_reader(cast(type, kind))
    if origin in (typing.Union, types.UnionType):
        return _optional_reader(_reader_of(parts[0]))
    if origin is tuple:
        return _tuple_reader(_reader_of(parts[0]))
    if origin is typing.Literal:
        return _scalar_reader(str)  # a newer service may know more words
    if origin is Mapping:
        return _scalar_reader(dict)
    if kind is datetime:
        return _read_time
    if kind is float:
        return _read_float
    return _scalar_reader(kind)


def _read_time(value: Any) -> datetime:
    return datetime.fromisoformat(_scalar_reader(str)(value))


def _object_reader(kind: type) -> Reader:
    hints = typing.get_type_hints(kind)
    readers = {field.name: _reader_of(hints[field.name]) for field in dataclasses.fields(kind)}

    def read_object(value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"{kind.__name__} is no object")
        fields: dict[str, Any] = {}
        for name, read_field in readers.items():
            if name in value:
                fields[name] = read_field(value[name])
        try:
            return kind(**fields)
        except TypeError as error:
            raise ValueError(f"{kind.__name__} lacks a field") from error

    return read_object


def _optional_reader(read_value: Reader) -> Reader:
    return lambda value: None if value is None else read_value(value)


def _tuple_reader(read_item: Reader) -> Reader:
    def read_items(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError("a list is missing")
        return tuple(map(read_item, value))

    return read_items


def _scalar_reader(kind: type) -> Reader:
    def read_scalar(value: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"a {kind.__name__} is missing")
        return value

    return read_scalar


def _read_float(value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError("a number is missing")
    return float(value)
