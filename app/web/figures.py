"""Figures of releases side by side, each with its interval: of the sets of pairs that all of them were measured on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.releases.releases import Listed

FIGURES: Mapping[str, str] = {
    "average_precision": "average precision",
    "recall_at_precision.0.90": "recall at precision 0.90",
    "brier": "Brier score, less is better",
}
LEFT, WIDTH = 12.0, 416.0  # of the scale, in its drawing
ROW_HEIGHT = 16


@dataclass(frozen=True)
class Figure:
    """One figure of one release, with its interval, and where these stand in the drawing."""

    value: float
    low: float
    high: float
    y: int
    pairs: int | None  # that it was measured on

    @property
    def x(self) -> float:
        return _place(self.value)

    @property
    def x_low(self) -> float:
        return _place(self.low)

    @property
    def x_high(self) -> float:
        return _place(self.high)


@dataclass(frozen=True)
class FigureRow:
    """One figure on one set of pairs: that of each release, None where it has none."""

    name: str
    pairs_from: str
    of_releases: Sequence[Figure | None]

    @property
    def pairs(self) -> int | None:
        """How many pairs all of them were measured on; None where releases left out others, that they learnt from."""
        counts = {figure.pairs for figure in self.of_releases if figure}
        return counts.pop() if len(counts) == 1 else None


@dataclass(frozen=True)
class FigureTable:
    """The releases, and the rows under them."""

    releases: Sequence[Listed]
    rows: Sequence[FigureRow]


def table_of(releases: Sequence[Listed]) -> FigureTable:
    """Every figure on every set that a release reports on, and at least two of them where there are so many."""
    measured = [_by_set(release.metrics) for release in releases]
    names = dict.fromkeys(name for of_release in measured for name in of_release)
    needed = min(2, len(releases))
    rows: list[FigureRow] = []
    for name in names:
        of_set = [of_release.get(name) for of_release in measured]
        present = [one for one in of_set if one]
        if len(present) < needed:
            continue
        for figure, words in FIGURES.items():
            values = [_figure(one, figure, place) for place, one in enumerate(of_set)]
            if any(values):
                rows.append(FigureRow(words, name, values))
    return FigureTable(releases, rows)


def _by_set(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The sets of pairs that a release reports on, by where their pairs are from."""
    report = metrics.get("report")
    sets = report if isinstance(report, list) else []
    return {str(one.get("pairs_from")): one for one in sets if isinstance(one, dict)}


def _figure(of_set: Mapping[str, Any] | None, name: str, place: int) -> Figure | None:
    """A figure of the probability. Metrics are a release's own file, so nothing in them is taken for granted."""
    if not of_set:
        return None
    group, _, target = name.partition(".")
    value = of_set.get("probability", {}).get(group)
    if target and isinstance(value, dict):
        value = value.get(target)
    interval = of_set.get("intervals", {}).get("probability", {}).get(name)
    if not isinstance(value, float | int) or not isinstance(interval, list) or len(interval) != 2:
        return None
    low, high = map(float, interval)
    pairs = of_set.get("pairs")
    return Figure(
        float(value), low, high, 10 + ROW_HEIGHT * place, pairs if isinstance(pairs, int) else None
    )


def _place(value: float) -> float:
    """The place on the scale of a value from 0 to 1."""
    return round(LEFT + WIDTH * min(max(value, 0.0), 1.0), 1)
