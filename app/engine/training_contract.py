"""The contract of the service and its training child: the files in the folder of a run, and their content.

The service writes `request.json`, `labels.jsonl` and `unlabelled.jsonl`, and starts the child. The child replaces
`progress.json` as it goes on, and writes `result.json` at its end.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from app.engine.files import replace_file, write_synced
from app.engine.text import folded_digest
from app.errors import CommandError
from app.settings import TargetPrecision

REQUEST = "request.json"
LABELS = "labels.jsonl"
UNLABELLED = "unlabelled.jsonl"
PROGRESS = "progress.json"
RESULT = "result.json"
MAX_BYTES = 8 * 2**20  # of a file that holds one value

Kind = TypeVar("Kind")

RecipeName = Literal["calibration", "classifier", "encoder", "both"]
Device = Literal["auto", "cpu", "cuda"]
Outcome = Literal["passed", "failed", "not enough evidence"]
Wanting = Literal["duplicates", "different", "both"]  # the class of which labels would help


def _finite(number: Any) -> Any:
    """None for NaN and infinity, which JSON does not have and a loss that goes astray may be."""
    return None if isinstance(number, float) and not math.isfinite(number) else number


Number = Annotated[float | None, BeforeValidator(_finite)]
ShortText = Annotated[str, Field(max_length=100)]
ReleaseName = Annotated[str, Field(max_length=200)]


@dataclass(frozen=True)
class Request:
    """The task of a run. Paths are absolute."""

    champion: Path  # the live release
    release: Path  # the new one, to be published there
    recipe: RecipeName
    data_set: Path | None = None  # a folder as `split` writes it
    elsewhere: Path | None = None  # a file of pairs of other domains
    target_precision: TargetPrecision = "0.90"
    margin: float = 0.005  # a loss that nobody would mind
    device: Device = "auto"
    seed: int = 20


@dataclass(frozen=True)
class GivenLabel:
    """A label as it was given.

    One that was ended (`active` is false) or contradicted is no pair to learn from or to measure on, but its
    questions stay tied.
    """

    question1: str
    question2: str
    is_duplicate: bool
    active: bool
    contradicted: bool

    @property
    def counts(self) -> bool:
        """Whether it is a pair to learn from or to measure on."""
        if not self.active or self.contradicted:
            return False
        return folded_digest(self.question1) != folded_digest(self.question2)


@dataclass(frozen=True)
class UnlabelledPair:
    """Two stored questions, near each other, of which nobody has said whether they are duplicates."""

    id1: str
    id2: str
    question1: str
    question2: str


@dataclass(frozen=True)
class Progress:
    """The progress of a child: a phase, the step in it, and the seconds that the phase may still take."""

    phase: ShortText
    step: int | None = None
    steps: int | None = None
    loss: Number = None
    eta_seconds: Number = None


@dataclass(frozen=True)
class FigureOfBoth:
    """One figure of both releases.

    `difference` is by how much the challenger is better: of the Brier score, champion minus challenger. The
    interval holds it with 95 % confidence.
    """

    champion: float
    challenger: float
    difference: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class MeasuredSet:
    """A set of pairs on which both releases were measured; no figures where it has too few pairs of a class."""

    name: str
    pairs: int
    components: int
    figures: dict[str, FigureOfBoth]


@dataclass(frozen=True)
class Calls:
    """How many of the pairs a release calls duplicates, and how many of these rightly; None: nobody knows."""

    pairs: int
    duplicate: int
    right: int | None = None


@dataclass(frozen=True)
class ServedSet:
    """The calls of both releases on pairs as a service meets them."""

    name: str
    champion: Calls
    challenger: Calls


@dataclass(frozen=True)
class MoreLabels:
    """About how many more labels, of which class, would give the evidence."""

    pairs: int
    of: Wanting
    why: str


@dataclass(frozen=True)
class PairToLabel(UnlabelledPair):
    """A pair whose label would help, with the new release's probability."""

    probability: float


@dataclass(frozen=True)
class GateReport:
    """The gate's outcome, the sentences behind it, and the figures behind those."""

    outcome: Outcome
    reasons: Sequence[str]
    margin: float | None = None
    sets: Sequence[MeasuredSet] = field(default_factory=list)
    more_labels: MoreLabels | None = None
    to_label: Sequence[PairToLabel] = field(default_factory=list)
    served: Sequence[ServedSet] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """The result of a run: the release's name, and the gate's report."""

    release: ReleaseName
    gate: GateReport


def as_json(value: object) -> str:
    """A value of this contract in JSON, on one line."""
    kind: Any = type(value)
    return _adapter(kind).dump_json(value).decode()


def write_one(file: Path, value: object, *, durable: bool = True) -> None:
    """Put one value in the place of what a file held. Raises OSError."""
    replace_file(file, as_json(value), durable=durable)


def write_lines(file: Path, values: Iterable[object]) -> None:
    """Write one value a line; they are on the disk when this returns. Raises OSError."""
    write_synced(file, (as_json(value) + "\n" for value in values))


def read_one(file: Path, kind: type[Kind]) -> Kind:
    """The value of a file. Raises CommandError that names the file and the first field at fault."""
    return _parsed(str(file), kind, _text(file, MAX_BYTES))


def read_lines(file: Path, kind: type[Kind]) -> list[Kind]:
    """The values of a file, one a line. Raises CommandError that names the line and the first field at fault."""
    values = []
    for number, line in enumerate(_text(file).split("\n"), 1):
        if line.strip():
            values.append(_parsed(f"{file}:{number}", kind, line))
    return values


def _text(file: Path, max_bytes: int = -1) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(max_bytes).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"can't read {file}: {error}") from error


def _parsed(place: str, kind: type[Kind], content: str) -> Kind:
    """The value in the content; an error quotes no text of a question."""
    hashable: Any = kind
    try:
        value: Kind = _adapter(hashable).validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        named = f"{place}: {field}" if field else place
        raise CommandError(f"{named}: {first['msg']}") from error
    return value


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
