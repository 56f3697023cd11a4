"""Everything Sameask raises on purpose, as one tree.

    SameaskError
    ├── RequestError                    the caller can mend it
    │   ├── InvalidRequest         422  names each field and its limit
    │   │   └── AnswerTooLarge          names the limit of the answer
    │   ├── InvalidJson            400
    │   ├── UnsupportedBody        415  of another type, or compressed
    │   ├── BodyTooLarge           413
    │   ├── HeadTooLarge           431
    │   ├── RequestTooSlow         408
    │   ├── BrokenRequest          400  not HTTP
    │   ├── CollectionNotFound     404
    │   ├── QuestionNotFound       404
    │   ├── LabelNotFound          404
    │   ├── OfferNotFound          404
    │   ├── TrainingRunNotFound    404
    │   ├── CollectionProtected    409
    │   ├── LabelReplaced          409
    │   ├── TrainingRunning        409  names the run
    │   ├── NothingToLearn         409
    │   ├── WrongRunState          409
    │   ├── ImportNotFound         404
    │   ├── ImportBusy             409  not now, or not this piece
    │   ├── FileRefused            415  a dropped file is not what it claims
    │   ├── KeyMissing             401
    │   ├── KeyRefused             401  unknown or revoked
    │   ├── ScopeMissing           403  names the scope
    │   ├── SpeaksForItself        403  names whom the key speaks for
    │   ├── TokenMissing           403  a page's post without its token
    │   ├── HostRefused            421
    │   ├── KeyNotFound            404
    │   ├── ReleaseNotFound        404
    │   ├── ReleaseNotLive         404  names the one that is
    │   ├── NoShadow               404
    │   ├── ReleaseUnusable        409  refused, says why
    │   ├── GateNotPassed          409
    │   ├── ReleaseProtected       409  live, a shadow, or kept for rolling back
    │   ├── ShadowBusy             409  another one is under way
    │   ├── ShadowNotReady         409
    │   ├── NothingBefore          409  nothing to roll back to
    │   └── Overloaded             429  with Retry-After
    ├── ServiceError                    the service can't, for now
    │   ├── NotReady               503  an index is catching up
    │   ├── ModelFailing           503  the model answers nobody
    │   ├── DataDamaged            503  a stored row fails its checksum
    │   ├── DatabaseUnavailable    503  PostgreSQL does not answer, or could not do it now
    │   └── StorageFull            507
    ├── StartupError                    one line on standard error, exit code 1
    │   ├── DataDirectoryUnusable
    │   ├── DataDirectoryInUse
    │   ├── DatabaseUnusable            PostgreSQL can't be reached, or refuses
    │   ├── SchemaOutdated              names the command that mends it
    │   ├── AddressInUse
    │   ├── KeysNeeded
    │   ├── AdminKeyRefused
    │   ├── WebhookRefused
    │   ├── ReleaseRefused
    │   ├── ModelRefused
    │   └── BackendRefused              what should run the model can't, here
    ├── CommandError                    a command can't go on; printed, exit code 1
    │   ├── StoreNotEmpty                   what is copied would mix with what is there
    │   ├── CopyFailed                      a copy is not what was copied; nothing of it was kept
    │   └── UnreadableFile                  a file is of no kind that is read, broken, or too much unpacked
    │       └── ColumnNotFound                  it has no such column, or several of that name
    ├── DeliveryFailed                  an event did not reach its receiver; logged, and tried again
    └── Unembeddable                    a text for which the model has no finite vector

Each class carries the HTTP status it is answered with, and the title of its problem document (RFC 9457);
nothing here knows HTTP beyond that number.
"""

from dataclasses import dataclass
from typing import ClassVar


class SameaskError(Exception):
    """The root. `str(error)` is a sentence for the person who caused it; it holds no question text."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    @property
    def is_fault(self) -> bool:
        """Whether something is wrong with the service, which its log tells of."""
        return self.status >= 500


class RequestError(SameaskError):
    """The caller can mend it."""

    status = 400
    title = "Bad request"


@dataclass(frozen=True)
class FieldError:
    """The error of one field of a request: its name, as `questions.3.text`, and a sentence that names the limit."""

    field: str
    detail: str


class InvalidRequest(RequestError):
    """One or more fields break a rule; nothing was done."""

    status = 422
    title = "Invalid request"

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{error.field} {error.detail}" for error in errors))
        self.errors = errors


class AnswerTooLarge(InvalidRequest):
    """The answer would have more bytes than the limit."""

    def __init__(self, max_bytes: int) -> None:
        why = "would be answered with too many bytes of texts"
        super().__init__(
            FieldError("questions", f"{why}; at most {max_bytes:,} (SAMEASK_MAX_ANSWER_BYTES)")
        )


class InvalidJson(RequestError):
    """The body is not JSON in UTF-8."""

    title = "Invalid JSON"

    def __init__(self) -> None:
        super().__init__("the body is not JSON in UTF-8")


class UnsupportedBody(RequestError):
    """The body says that it is of another type than JSON, or that it is compressed."""

    status = 415
    title = "Unsupported body"


class BodyTooLarge(RequestError):
    """The body has more bytes than the limit."""

    status = 413
    title = "Body too large"

    def __init__(self, max_bytes: int, limit: str = "SAMEASK_MAX_BODY_BYTES") -> None:
        super().__init__(f"the body may have at most {max_bytes:,} bytes ({limit})")


class HeadTooLarge(RequestError):
    """The request line and the headers have more bytes than the limit, or what frames the body has."""

    status = 431
    title = "Head too large"

    def __init__(self, max_bytes: int) -> None:
        super().__init__(
            f"the request line and the headers may have at most {max_bytes:,} bytes (SAMEASK_MAX_HEAD_BYTES)"
        )


class RequestTooSlow(RequestError):
    """The head or the body of a request was not there in time."""

    status = 408
    title = "Request too slow"

    def __init__(self, part: str, seconds: float) -> None:
        super().__init__(
            f"the {part} of the request did not come within {seconds:g} s (SAMEASK_MAX_{part.upper()}_SECONDS)"
        )


class BrokenRequest(RequestError):
    """The bytes of a connection can't be read as requests of HTTP/1.1."""

    title = "Broken request"

    def __init__(self, why: str) -> None:
        super().__init__(f"the request can't be read: {why}")


class CollectionNotFound(RequestError):
    """No collection has this name; collections are made explicitly."""

    status = 404
    title = "Collection not found"

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no collection {name!r}: make it with PUT /collections/{name}")


class QuestionNotFound(RequestError):
    """The collection holds no question with this id, or with any of these; the first of them are named."""

    status = 404
    title = "Question not found"
    named: ClassVar[int] = 10

    def __init__(self, collection: str, *ids: str) -> None:
        words = "question with id" if len(ids) == 1 else "questions with ids"
        more = f" and {len(ids) - self.named:,} more" if len(ids) > self.named else ""
        super().__init__(
            f"collection {collection!r} holds no {words} {', '.join(map(repr, ids[: self.named]))}{more}"
        )


class LabelNotFound(RequestError):
    """The collection holds no label with this id."""

    status = 404
    title = "Label not found"

    def __init__(self, collection: str, label_id: int) -> None:
        super().__init__(f"collection {collection!r} holds no label with id {label_id}")


class OfferNotFound(RequestError):
    """The review queue of the collection has offered no pair under this id."""

    status = 404
    title = "Offer not found"

    def __init__(self, collection: str, offer_id: int) -> None:
        super().__init__(
            f"the review queue of collection {collection!r} has offered no pair with id {offer_id}"
        )


class CollectionProtected(RequestError):
    """The default collection exists from the start and can't be deleted."""

    status = 409
    title = "Collection is protected"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"collection {name!r} always exists and can't be deleted; delete its questions instead"
        )


class LabelReplaced(RequestError):
    """The label has ended: its author said otherwise since, and that label is the one to undo."""

    status = 409
    title = "Label was replaced"

    def __init__(self, label_id: int, replaced_by: int) -> None:
        super().__init__(f"label {label_id} was replaced by label {replaced_by}: undo that one")


class TrainingRunNotFound(RequestError):
    """No training run has this id."""

    status = 404
    title = "Training run not found"

    def __init__(self, run_id: int) -> None:
        super().__init__(f"there is no training run with id {run_id}")


class TrainingRunning(RequestError):
    """A training run of the collection is queued or running."""

    status = 409
    title = "Training is running"

    def __init__(self, collection: str, run_id: int) -> None:
        super().__init__(
            f"training run {run_id} of collection {collection!r} is under way: wait for it, or cancel it"
        )
        self.run_id = run_id


class NothingToLearn(RequestError):
    """The collection has no active label."""

    status = 409
    title = "Nothing to learn"

    def __init__(self, collection: str) -> None:
        super().__init__(
            f"collection {collection!r} has no labels to learn from: label pairs with POST /labels first"
        )


class WrongRunState(RequestError):
    """The training run is in a state in which this can't be done with it."""

    status = 409
    title = "Wrong state of the training run"

    def __init__(self, run_id: int, state: str, wanted: str) -> None:
        super().__init__(f"training run {run_id} is {state}: it can't {wanted}")


class ImportNotFound(RequestError):
    """No import has this number: it is over, or the server was started again."""

    status = 404
    title = "Import not found"

    def __init__(self, number: int) -> None:
        super().__init__(
            f"there is no import {number}: it is long over, or the server was started again; what it wrote is stored"
        )


class ImportBusy(RequestError):
    """An import is in a state in which this can't be done with it."""

    status = 409
    title = "Not now"


class FileRefused(RequestError):
    """A file that was dropped can't be imported; it was not sent."""

    status = 415
    title = "Not read"


class KeyMissing(RequestError):
    """The request carries no key, and keys are needed."""

    status = 401
    title = "Key missing"

    def __init__(self) -> None:
        super().__init__(
            "this needs a key, sent as `Authorization: Bearer KEY`; `sameask keys create` makes one"
        )


class KeyRefused(RequestError):
    """The key is unknown or revoked."""

    status = 401
    title = "Key refused"

    def __init__(self) -> None:
        super().__init__("the key is unknown or revoked")


class ScopeMissing(RequestError):
    """The key is good, but not for this route."""

    status = 403
    title = "Scope missing"

    def __init__(self, scope: str) -> None:
        super().__init__(f"this needs a key with the scope '{scope}'")
        self.scope = scope


class SpeaksForItself(RequestError):
    """A key with a name labels, and undoes, in that name alone."""

    status = 403
    title = "Key speaks for itself"

    def __init__(self, name: str, other: str | None = None) -> None:
        """`other` is the name that was asked for; None: the label is somebody's whom the key's holder may not know."""
        whom = "whoever gave this label" if other is None else repr(other)
        super().__init__(
            f"the key speaks for {name!r}, not for {whom}: one with the scope 'admin', or without a name, does"
        )


class TokenMissing(RequestError):
    """A page's post carries no token of its session: it is an old page, or another server's."""

    status = 403
    title = "Page is out of date"

    def __init__(self) -> None:
        super().__init__("this page belongs to a session that has ended: load it again")


class HostRefused(RequestError):
    """A server without keys was asked under a name, or by a page, that is not of this machine."""

    status = 421
    title = "Host refused"

    def __init__(self) -> None:
        super().__init__(
            "without keys only loopback names, as in http://127.0.0.1, and their pages are answered (headers Host and"
            " Origin); SAMEASK_ALLOWED_HOSTS adds others"
        )


class KeyNotFound(RequestError):
    """No key has this id."""

    status = 404
    title = "Key not found"

    def __init__(self, key_id: str) -> None:
        super().__init__(f"there is no key with id {key_id!r}: `sameask keys list` shows them")


class ReleaseNotFound(RequestError):
    """No release has this name."""

    status = 404
    title = "Release not found"

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no release {name!r}: GET /admin/releases lists them")


class ReleaseNotLive(RequestError):
    """Vectors were asked of a release that is not live: those of two releases can't be compared."""

    status = 404
    title = "Release not live"

    def __init__(self, name: str | None, live: str) -> None:
        super().__init__(
            f"the release {name!r} is not live: {live!r} is, and `sameask` means whichever is live"
        )


class NoShadow(RequestError):
    """No release is under way beside the live one."""

    status = 404
    title = "No shadow"

    def __init__(self) -> None:
        super().__init__(
            "no release is under way beside the live one: PUT /admin/releases/shadow opens one"
        )


class ReleaseUnusable(RequestError):
    """The release is damaged, incomplete, or goes by another's name; the live one keeps serving."""

    status = 409
    title = "Release refused"

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"the release {name!r} is refused, the live one keeps serving: {why}")


class ReleaseProtected(RequestError):
    """The release can't be removed, or opened beside itself."""

    status = 409
    title = "Release is protected"

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"the release {name!r} {why}")


class GateNotPassed(RequestError):
    """The release was made of labels, and no gate is known that let it take the live one's place."""

    status = 409
    title = "Gate not passed"

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"the release {name!r} {why}: `force`, which says why, overrules that")


class ShadowBusy(RequestError):
    """Another release is under way; it has to be finished or cancelled first."""

    status = 409
    title = "Another release is under way"

    def __init__(self, name: str, phase: str) -> None:
        super().__init__(
            f"the release {name!r} is {phase}: wait for it, or DELETE /admin/releases/shadow before"
        )


class ShadowNotReady(RequestError):
    """The release is no shadow that has caught up, so there is nothing to compare the live one with."""

    status = 409
    title = "Shadow not ready"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the release {name!r} is not a shadow that has caught up: see PUT /admin/releases/shadow"
        )


class NothingBefore(RequestError):
    """No other release was live before, or none that is still there."""

    status = 409
    title = "Nothing to roll back to"

    def __init__(self) -> None:
        super().__init__("no other release that is still there was live before")


class Overloaded(RequestError):
    """The queue is full; refused before any work was done."""

    status = 429
    title = "Too many requests"

    def __init__(self, retry_after_seconds: int, detail: str) -> None:
        super().__init__(f"{detail}; try again in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class ServiceError(SameaskError):
    """The service can't answer, for now."""

    status = 503
    title = "Service unavailable"
    retry_after_seconds = 1


class NotReady(ServiceError):
    """The service is starting or ending, or the index of this collection is still catching up with the store."""

    title = "Not ready"
    is_fault = False  # each start has it


class ModelFailing(ServiceError):
    """The model fails even on the service's own probe text, or it is shutting down."""

    title = "Model failing"


class DataDamaged(ServiceError):
    """A stored row does not match its checksum: it is not served."""

    title = "Stored data damaged"


class DatabaseUnavailable(ServiceError):
    """The database can't be reached, or could not do what was asked of it now."""

    title = "Database unavailable"

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}; try again")


class StorageFull(ServiceError):
    """The disk has no room; the write was not done."""

    status = 507
    title = "Storage full"


class StartupError(SameaskError):
    """The process can't start; the command line prints the sentence and exits with 1."""


class DataDirectoryUnusable(StartupError):
    """The data directory can't be made, written or read."""


class DataDirectoryInUse(StartupError):
    """Another process holds the lock of the data directory."""


class DatabaseUnusable(StartupError):
    """The database can't be reached, or its address or what the server says of it is no good."""


class SchemaOutdated(StartupError):
    """The database's schema is not the one that this version knows."""

    def __init__(self, place: str, found: str | None, wanted: str) -> None:
        is_later = found is not None and found > wanted
        cure = "start a later version" if is_later else "run `sameask migrate`"
        super().__init__(
            f"the database {place} has the schema {found or 'of no version'}, this version needs {wanted}: {cure}"
        )


class AddressInUse(StartupError):
    """Another process listens on the address."""


class KeysNeeded(StartupError):
    """Others can reach the address, and there is no key that lets anybody in."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"others can reach {host!r} (SAMEASK_HOST), and there is no key: make one with"
            " `sameask keys create --scope admin`, or name a file that holds one in SAMEASK_ADMIN_KEY_FILE"
        )


class AdminKeyRefused(StartupError):
    """The file of the first admin key can't be read, or what it holds is too short or can't be sent."""


class WebhookRefused(StartupError):
    """The webhook's URL, its allow-lists or its secret can't be used."""


class ReleaseRefused(StartupError):
    """A release folder is incomplete, or one of its files does not match its digest."""


class ModelRefused(StartupError):
    """The base model can't be found, fails its digest, or can't be loaded safely."""


class BackendRefused(StartupError):
    """The backend that is asked for is not installed, has no instructions on this CPU, or can't run this model."""


class CommandError(SameaskError):
    """A command can't go on; its sentence is printed and the exit code is 1."""


class StoreNotEmpty(CommandError):
    """The target of a copy holds a store already."""

    def __init__(self, place: str, table: str) -> None:
        super().__init__(f"the store {place} is not empty ({table}): nothing was copied")


class CopyFailed(CommandError):
    """A copied table does not read the same as its original."""

    def __init__(self, table: str, source: str, target: str) -> None:
        super().__init__(
            f"the table {table} of {target} is not that of {source}: the copy was taken back"
        )


class UnreadableFile(CommandError):
    """A file is of no kind that is read here, breaks off, or unpacks to far more than it is."""


class ColumnNotFound(UnreadableFile):
    """A file has no column of a wanted name, or several."""


class DeliveryFailed(SameaskError):
    """The receiver of the webhook did not take an event. The sentence holds nothing of the event and of the answer."""

    def __init__(self, detail: str, *, retry_after_seconds: float = 0, final: bool = False) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds
        self.final = final


class Unembeddable(SameaskError):
    """The model has no finite vector for this text."""

    status = 422
    title = "Text can't be embedded"
