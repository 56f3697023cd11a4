"""The fields of a form, as texts, checked by the same rules as the fields of JSON."""

from collections.abc import Mapping
from typing import cast
from urllib.parse import parse_qsl

from fastapi import Request
from pydantic import TypeAdapter, ValidationError

from app.errors import FieldError, InvalidRequest, UnsupportedBody
from app.fields import NO_NUL, CollectionName, Limits, QuestionId, StoredId, Text, sentence
from app.settings import Settings

FORM = "application/x-www-form-urlencoded"
BYTES = "application/octet-stream"  # a piece of a file
MAX_FIELDS = 1000
MAX_TOLD = 100  # of the fields that no page can read
# Of all pages. Another name is misspelt: to pass it over would act on what is meant where it is left out.
NAMES = frozenset(
    (
        "a",
        "after",
        "b",
        "back",
        "collection",
        "csrf",
        "data_set",
        "different",
        "first",
        "force",
        "id",
        "id_column",
        "is_duplicate",
        "kind",
        "label",
        "note",
        "offer",
        "other",
        "other_id",
        "place",
        "prefix",
        "question",
        "reason",
        "recipe",
        "release",
        "run",
        "same",
        "second",
        "seen",
        "skipped",
        "target_precision",
        "text",
        "text_column",
        "undone",
        "without",
        "words",
    )
)

TEXT: TypeAdapter[str] = TypeAdapter(Text)
NEW_ID: TypeAdapter[str] = TypeAdapter(QuestionId)
STORED_ID: TypeAdapter[str] = TypeAdapter(StoredId)
COLLECTION: TypeAdapter[str] = TypeAdapter(CollectionName)


async def form_of(request: Request) -> Mapping[str, str]:
    """A request's form, by field; the last value of a field that stands twice. Raises UnsupportedBody, InvalidRequest.

    Browsers end the lines of a form's texts in CR LF, as nobody typed them: they become LF again.
    """
    known: Mapping[str, str] | None = getattr(request.state, "form", None)
    if known is None:
        known = _parsed(request.headers.get("content-type", ""), await request.body())
        request.state.form = known
    return known


def _parsed(content_type: str, body: bytes) -> Mapping[str, str]:
    media_type = content_type.partition(";")[0].strip().lower()
    if not body or media_type == BYTES:
        return {}
    if media_type != FORM:
        raise UnsupportedBody(f"the body must be a form: send `Content-Type: {FORM}`")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError as error:
        raise InvalidRequest(FieldError("form", "is no form in UTF-8")) from error
    return {name: value.replace("\r\n", "\n") for name, value in pairs}


class Fields:
    """The fields of a form or of an address. `check` tells all their errors at once."""

    def __init__(self, values: Mapping[str, str], settings: Settings) -> None:
        self._values = values
        self._limits = Limits(settings)
        self._errors: list[FieldError] = []

    def refuse_unreadable(self) -> None:
        """Raise InvalidRequest for a field that no page has, and for one with a NUL character."""
        errors = []
        for name, value in self._values.items():
            if name not in NAMES:
                errors.append(FieldError(name[:100], "is no field of a page"))
            elif "\x00" in value:
                errors.append(FieldError(name, NO_NUL))
        if errors:
            raise InvalidRequest(*errors[:MAX_TOLD])

    def __contains__(self, name: str) -> bool:
        return bool(self._values.get(name))

    def given(self, name: str) -> str:
        """A value as it is; empty where there is none."""
        return self._values.get(name, "")

    def is_blank(self, name: str) -> bool:
        """Whether nothing but white space was sent."""
        return not self.given(name).strip()

    def text(self, name: str) -> str:
        """A question's text, or a note."""
        value = self._checked(name, TEXT)
        self._limits.text(name, value)
        return value

    def new_id(self, name: str) -> str:
        """The id of a question that is to be stored."""
        return self._checked(name, NEW_ID)

    def stored_id(self, name: str) -> str:
        """The id of a stored question."""
        return self._checked(name, STORED_ID)

    def collection(self) -> str:
        """The collection; the default one if none is named."""
        if "collection" not in self:
            return "default"
        return self._checked("collection", COLLECTION)

    def truth(self, name: str) -> bool:
        """`true` or `false`."""
        value = self._values.get(name)
        if value not in ("true", "false"):
            self._errors.append(FieldError(name, "must be true or false"))
        return value == "true"

    def number(self, name: str) -> int:
        """A whole number, as an id has."""
        value = self.given(name)
        if not (value.isascii() and value.isdigit() and len(value) < 19):
            self._errors.append(FieldError(name, "must be a whole number"))
            return 0
        return int(value)

    def check(self) -> None:
        """Raise InvalidRequest if any field that was read so far has an error."""
        if self._errors:
            raise InvalidRequest(*self._errors)
        self._limits.check()

    def _checked(self, name: str, kind: TypeAdapter[str]) -> str:
        value = self.given(name)
        try:
            return kind.validate_python(value)
        except ValidationError as error:
            details = cast(Mapping[str, object], error.errors(include_url=False)[0])
            self._errors.append(FieldError(name, sentence(details)))
            return value
