"""The curves of the evidence as drawings: precision with its interval, and recall, against threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.engine.collection_thresholds import Point
from app.promises.report import Report

LEFT = 40.0
RIGHT = 354.0
TOP = 30.0
BOTTOM = 180.0
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its place and its words."""

    place: float
    words: str


@dataclass(frozen=True)
class Curve:
    """Points as SVG has them, and where the threshold and the target stand; None where there is none."""

    precision: str
    band: str
    recall: str
    threshold_x: float | None
    target_y: float | None
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    words: str


def curve_of(report: Report) -> Curve | None:
    """The drawing; None where no label counts yet."""
    points = [point for point in report.curve if point.labels]
    if not points or not report.labels.counted:
        return None
    low = [(point.threshold, point.precision_low) for point in points]
    high = [(point.threshold, point.precision_high) for point in points]
    duplicate = report.thresholds.duplicate
    target = report.collection.target_precision
    return Curve(
        precision=_line([(point.threshold, point.precision) for point in points]),
        band=_line([*low, *high[::-1]]),
        recall=_line([(point.threshold, point.recall) for point in points]),
        threshold_x=None if duplicate is None else _x(duplicate),
        target_y=None if target is None else _y(target),
        x_ticks=[Tick(_x(value), f"{value:g}") for value in TICKS],
        y_ticks=[Tick(_y(value), f"{value:g}") for value in TICKS],
        words=_words(points[0], points[-1]),
    )


def _words(first: Point, last: Point) -> str:
    """The content of the drawing in words, for those who don't see it."""
    precision = f"Precision goes from {first.precision:.2f} at threshold {first.threshold:.2f}"
    to = f"{last.precision:.2f} at {last.threshold:.2f}"
    return f"{precision} to {to}; recall from {first.recall:.2f} to {last.recall:.2f}."


def _line(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_x(x)},{_y(y)}" for x, y in points)


def _x(value: float) -> float:
    return round(LEFT + (RIGHT - LEFT) * value, 1)


def _y(value: float) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * value, 1)
