"""The data set of written questions in: clusters of one question, its paraphrases, and its near-misses.

The data set lies beside this module, in `data/written/`; its README.md is its card.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

from app.engine.rows import read_rows
from app.engine.text import folded_pair_digest
from app.errors import CommandError

WRITTEN = Path(__file__).parent / "data" / "written"
COMMENT = "#"
QUESTION = "Q:"
PARAPHRASE = "="
NEAR_MISS = "!"
TWIN = "~"
ACROSS = "across.tsv"  # pairs of different clusters that were read
SAME = "same"
KINDS = frozenset(
    {
        *(
            "negation",
            "number",
            "entity",
            "direction",
            "time",
            "actor",
            "object",
            "action",
            "antonym",
            "question",
        ),
        *("scope", "condition", "comparison", "cause", "place"),
    }
)

Side = Literal["train", "calibration", "report"]


@dataclass(frozen=True)
class NearMiss:
    """A question that looks like another and asks something else; its twin asks the same as it does."""

    kind: str  # what differs: one of KINDS
    text: str
    twin: str | None = None


@dataclass(frozen=True)
class Cluster:
    """A question, others that ask the same, and near-misses, each of which differs from all of these.

    Of two near-misses of one cluster nobody says whether they differ from each other.
    """

    domain: str
    question: str
    paraphrases: tuple[str, ...]
    near_misses: tuple[NearMiss, ...]

    @property
    def same(self) -> tuple[str, ...]:
        """The question and its paraphrases."""
        return (self.question, *self.paraphrases)

    @property
    def texts(self) -> list[str]:
        """The question, its paraphrases, and each near-miss with its twin."""
        texts = [*self.same]
        for near in self.near_misses:
            texts.append(near.text)
            if near.twin:
                texts.append(near.twin)
        return texts


def read_clusters(side: Side, folder: Path = WRITTEN) -> list[Cluster]:
    """The clusters of one side, by domain and in the order of the files.

    Raises CommandError, naming file and line, for a line or a cluster out of form.
    """
    files = sorted((folder / side).glob("*.txt"))
    if not files:
        raise CommandError(f"{folder / side} has no written clusters")
    clusters: list[Cluster] = []
    for file in files:
        clusters += _read_file(file)
    return clusters


@cache
def read_across(folder: Path = WRITTEN) -> frozenset[bytes]:
    """Pairs of different clusters that ask the same, as both of two readers said; by `folded_pair_digest`.

    Raises CommandError for a broken file.
    """
    rows = read_rows(folder / ACROSS, ["question1", "question2", "read_as"])
    pairs = [row.values for row in rows if row.values[2] == SAME]
    return frozenset(folded_pair_digest(str(one), str(other)) for one, other, _ in pairs)


def _read_file(file: Path) -> list[Cluster]:
    """The clusters of one domain's file, which blank lines part."""
    try:
        lines = file.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"can't read {file}: {error}") from error
    clusters: list[Cluster] = []
    block: list[str] = []
    for number, line in enumerate([*lines, ""], 1):
        if line.strip() and not line.startswith(COMMENT):
            block.append(line)
        elif block:
            clusters.append(_cluster(file, number - len(block), block))
            block = []
    return clusters


def _cluster(file: Path, first: int, lines: Sequence[str]) -> Cluster:
    """A cluster from its lines; `first` is the number of the first of them."""
    if not lines[0].startswith(QUESTION):
        raise CommandError(f"{file}:{first}: a cluster begins with {QUESTION}")
    paraphrases: list[str] = []
    near_misses: list[NearMiss] = []
    for number, line in enumerate(lines[1:], first + 1):
        mark, _, rest = line.partition(" ")
        kind, bar, text = rest.partition("|")
        if mark == PARAPHRASE and rest.strip():
            paraphrases.append(rest.strip())
        elif mark == NEAR_MISS and bar and kind.strip() in KINDS and text.strip():
            near_misses.append(NearMiss(kind.strip(), text.strip()))
        elif mark == TWIN and rest.strip() and near_misses and near_misses[-1].twin is None:
            near_misses[-1] = replace(near_misses[-1], twin=rest.strip())
        else:
            raise CommandError(f"{file}:{number}: no paraphrase, near-miss or twin: {line[:60]!r}")
    if not paraphrases or not near_misses:
        raise CommandError(f"{file}:{first}: a cluster needs a paraphrase and a near-miss")
    return Cluster(
        file.stem, lines[0].removeprefix(QUESTION).strip(), tuple(paraphrases), tuple(near_misses)
    )
