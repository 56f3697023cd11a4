"""What tests of guards share: the pairs on which one must fire and those on which it must not."""

from pathlib import Path

from app.engine.guards import GUARDS
from app.engine.guards.alignment import align
from app.engine.guards.difference import Difference
from app.engine.guards.reading import read

ROOT = Path(__file__).parent.parent.parent.parent
PAIRS = ROOT / "tests" / "data" / "guards"


def difference(guard: str, first: str, second: str) -> Difference | None:
    """What one guard sees in two texts."""
    return GUARDS[guard](align(read(first), read(second)))


def sentence(guard: str, first: str, second: str) -> str | None:
    """What one guard says of two texts."""
    seen = difference(guard, first, second)
    return seen.reason().sentence if seen else None


def fires(guard: str) -> tuple[float, float]:
    """Precision and recall of a guard's firing on its set of pairs."""
    right = wrong = missed = 0
    for row in (PAIRS / f"{guard}.tsv").read_text("utf-8").splitlines()[1:]:
        first, second, must_fire = row.split("\t")
        does_fire = difference(guard, first, second) is not None
        right += does_fire and must_fire == "1"
        wrong += does_fire and must_fire == "0"
        missed += not does_fire and must_fire == "1"
    return right / (right + wrong), right / (right + missed)
