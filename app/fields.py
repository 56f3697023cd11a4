"""The kinds of value that requests are made of, the limits on them, and the words for what is wrong with one."""

import re
from collections.abc import Mapping, Sized
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from app.engine.text import has_visible
from app.errors import FieldError, InvalidRequest
from app.settings import Settings

COLLECTION_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"
MAX_ID_CHARACTERS = 256
ID_PATTERN = r"^[^\x00-\x1f\x7f]*$"
NO_NUL_PATTERN = r"^[^\x00]*$"
NO_NUL = "must not contain a NUL character"  # PostgreSQL holds none
MAX_NUMBER = 2**63 - 1
LEAST_TARGET, GREATEST_TARGET = 0.5, 0.999  # of a precision; the least is none itself


def _without_nul(value: str) -> str:
    if "\x00" in value:
        raise ValueError(NO_NUL)
    return value


def _text(value: str) -> str:
    if not has_visible(_without_nul(value)):
        raise ValueError("must not be blank")
    return value


def _line(value: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("must not contain control characters")
    return value


def _person(value: str) -> str:
    if not _line(value).strip():
        raise ValueError("must not be blank")
    return value


def id_text(value: object) -> object:
    """A whole number as its decimal text; anything else as it is."""
    return str(value) if type(value) is int else value


def _text_or_whole_number(value: object) -> object:
    if not isinstance(text := id_text(value), str):
        raise ValueError("must be a text or a whole number")
    return text


def _or_whole_number(schema: dict[str, Any]) -> None:
    """Say in a text's schema that a whole number is taken for its decimal text."""
    text = {name: schema.pop(name) for name in ("type", "minLength", "maxLength")}
    schema["anyOf"] = [text | {"pattern": ID_PATTERN}, {"type": "integer"}]


def _id(value: str) -> str:
    _line(value)
    if value in (".", "..") or not value.strip():
        raise ValueError("must not be blank, '.' or '..'")
    return value


def _collection(value: str) -> str:
    if not re.fullmatch(COLLECTION_PATTERN, value):
        raise ValueError(
            "must be 1 to 64 of `a` to `z`, digits, `-` and `_`, and begin with a letter or a digit"
        )
    return value


def _new_id(value: str) -> str:
    segments = re.split(r"[/\\]", _id(value).lower().replace("%2e", "."))
    if any(segment in ("", ".", "..") for segment in segments):
        raise ValueError(
            "must have no empty part, `.` or `..` beside a slash: clients and proxies would ask for another path"
        )
    return value


def _target_precision(value: float) -> float:
    if not LEAST_TARGET < value <= GREATEST_TARGET:
        raise ValueError(f"must be above {LEAST_TARGET} and at most {GREATEST_TARGET}")
    return value


def _recall(value: float) -> float:
    if not 0 < value < 1:
        raise ValueError("must be above 0 and below 1")
    return value


def _url_template(value: str) -> str:
    _line(value)
    if value.count("{id}") != 1 or value.count("{") + value.count("}") != 2:
        raise ValueError("must hold `{id}` once, and no other braces")
    try:
        parts = urlsplit(value)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or any(map(str.isspace, value)):
        raise ValueError("must be an address of http or https, as `https://forum.example/t/{id}`")
    if "{id}" in parts.netloc or parts.username is not None:
        raise ValueError("must hold `{id}` behind the host, and no user name")
    return value


# The patterns are for readers of the document; the functions above hold the rule and its words.
Text = Annotated[
    str,
    Field(
        min_length=1,
        description="Any Unicode but NUL; something of it must be seen.",
        json_schema_extra={"pattern": NO_NUL_PATTERN},
    ),
    AfterValidator(_text),
]
Remark = Annotated[  # which may be blank
    str,
    Field(max_length=1000, json_schema_extra={"pattern": NO_NUL_PATTERN}),
    AfterValidator(_without_nul),
]
StoredId = (
    Annotated[  # of a question that may be there; some of before are none that would be taken now
        str,
        Field(
            min_length=1,
            max_length=MAX_ID_CHARACTERS,
            description="Any Unicode but control characters; not blank, `.` or `..`.",
            json_schema_extra={"pattern": ID_PATTERN},
        ),
        AfterValidator(_id),
    ]
)
GivenId = Annotated[  # of such a question, in a body
    str,
    Field(
        min_length=1,
        max_length=MAX_ID_CHARACTERS,
        description="Any Unicode but control characters; not blank, `.` or `..`. A whole number is its decimal text.",
        json_schema_extra=_or_whole_number,
    ),
    AfterValidator(_id),
    BeforeValidator(_text_or_whole_number),
]
QuestionId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_ID_CHARACTERS,
        description="Any Unicode but control characters; not blank. Slashes may stand in it, but no empty part, `.`"
        " or `..` beside one: it would be another path. A whole number is its decimal text.",
        json_schema_extra=_or_whole_number,
    ),
    AfterValidator(_new_id),
    BeforeValidator(_text_or_whole_number),
]
Person = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_ID_CHARACTERS,
        description="Who says so, in the client's own words: a name or an id, without control characters.",
        json_schema_extra={"pattern": ID_PATTERN},
    ),
    AfterValidator(_person),
]
CollectionName = Annotated[
    str, Field(json_schema_extra={"pattern": COLLECTION_PATTERN}), AfterValidator(_collection)
]

TargetPrecision = Annotated[
    float,
    Field(
        description="The share of right ones that the pairs called `duplicate` are to have.",
        json_schema_extra={"exclusiveMinimum": LEAST_TARGET, "maximum": GREATEST_TARGET},
    ),
    AfterValidator(_target_precision),
]
Recall = Annotated[
    float,
    Field(
        description="The share of the duplicates that `review` and `duplicate` together are to hold.",
        json_schema_extra={"exclusiveMinimum": 0, "exclusiveMaximum": 1},
    ),
    AfterValidator(_recall),
]
UrlTemplate = Annotated[
    str,
    Field(
        max_length=2000,
        description="Where a question is read: an address of http or https with `{id}` once, behind the host.",
        json_schema_extra={"pattern": r"^https?://[^/?#{}\s]+[/?#][^{}\s]*\{id\}[^{}\s]*$"},
    ),
    AfterValidator(_url_template),
]

# What pydantic finds, by its own name for it, in words for who wrote the request.
SENTENCES: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": "is no field of this request",
    "string_type": "must be a text",
    "string_unicode": "must be a text of whole Unicode characters",
    "string_too_long": "may have at most {max_length:,} characters",
    "string_too_short": "must not be empty",
    "list_type": "must be a list",
    "too_short": "must not be an empty list",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a whole number",
    "greater_than_equal": "must be at least {ge:,}",
    "less_than_equal": "may be at most {le:,}",
    "literal_error": "must be {expected}",
    "value_error": "{error}",
}


def sentence(error: Mapping[str, Any]) -> str:
    """What is wrong with a value: one of the errors of a pydantic ValidationError, in our words."""
    words = SENTENCES.get(error["type"])
    return words.format_map(error.get("ctx", {})) if words else str(error["msg"])


class Limits:
    """Collects what a request exceeds, so that one problem document names all of it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._errors: list[FieldError] = []

    def count(self, field: str, values: Sized, limit: str) -> None:
        """At most as many values as the setting `limit` says."""
        self.at_most(field, len(values), limit, "has {value:,} items")

    def text(self, field: str, text: str) -> None:
        """At most `max_characters` characters."""
        self.at_most(field, len(text), "max_characters", "has {value:,} characters")

    def at_most(self, field: str, value: int, limit: str, words: str = "is {value:,}") -> None:
        """`value` is at most what the setting `limit` says; `words` say what it is."""
        most = getattr(self._settings, limit)
        if value > most:
            detail = f"{words.format(value=value)}; at most {most:,} (SAMEASK_{limit.upper()})"
            self._errors.append(FieldError(field, detail))

    def check(self) -> None:
        """Raise InvalidRequest if anything was exceeded."""
        if self._errors:
            raise InvalidRequest(*self._errors)
