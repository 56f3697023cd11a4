"""Health: whether questions are answered, how fast, and how many wait."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import cast

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool

from app.engine.store import Collection
from app.web.meter import Meter, Period
from app.web.page import Page, ThePage

MINUTE_SECONDS = 60.0
LATELY_SECONDS = 300.0
HOUR_SECONDS = 3600.0
CHART_WIDTH = 308.0
CHART_HEIGHT = 120.0
MAX_COLLECTIONS = 50
VERDICTS = ("duplicate", "review", "new")
GIB = 2**30

router = APIRouter()


@dataclass(frozen=True)
class Queue:
    """The queue of a model: how many wait, how many may, and since when the model has been busy."""

    name: str
    waiting: int
    most: int
    busy_seconds: float


@dataclass(frozen=True)
class IndexLine:
    """One collection's index beside its store."""

    collection: Collection
    revision: int
    size: int
    ready: bool
    recall: float


@dataclass(frozen=True)
class Bar:
    """A period of a chart: its place, its height, and its figure in words."""

    x: float
    y: float
    height: float
    words: str


@dataclass(frozen=True)
class Chart:
    """Bars up to `top`, the greatest figure."""

    bars: Sequence[Bar]
    top: float
    width: float


@router.get("/page/health")
async def health_page(page: ThePage) -> HTMLResponse:
    """The screen."""
    return await page.show("health.html", "Health", **await _figures(page))


@router.get("/page/health/figures")
async def health_figures(page: ThePage) -> HTMLResponse:
    """The figures alone."""
    return page.part("health_figures.html", **await _figures(page))


async def _figures(page: Page) -> dict[str, object]:
    meter = cast(Meter, page.request.app.state.meter)
    began: float = page.request.app.state.began
    collections = await page.read(page.store.collections.page, "", MAX_COLLECTIONS)
    minutes = meter.periods(MINUTE_SECONDS)
    hour = meter.since(HOUR_SECONDS)
    disk = await run_in_threadpool(shutil.disk_usage, page.settings.data_dir)
    return {
        "readiness": await page.detector.readiness(),
        "up_hours": (monotonic() - began) / 3600,
        "lately": meter.since(LATELY_SECONDS),
        "hour": hour,
        "mix": _mix(hour, page.collection),
        "throughput": chart([period.a_second for period in minutes], "requests a second"),
        "latency": chart(_p95(minutes), "ms"),
        "queues": _queues(page),
        "indexes": [_line(page, collection) for collection in collections],
        "damaged": page.store.database.damaged,
        "quarantined": await page.read(page.store.revisions.quarantined_count),
        "contradicted": await page.read(page.store.labels.contradicted),
        "runs": await page.training_runs.page(None, 1),
        "free_gib": disk.free / GIB,
        "disk_gib": disk.total / GIB,
    }


def chart(values: Sequence[float], unit: str) -> Chart:
    """Bars of values, the latest at the right; at most an hour of minutes."""
    top = max(values, default=0.0) or 1.0
    width = CHART_WIDTH / 60
    bars: list[Bar] = []
    first = CHART_WIDTH - width * len(values)
    for number, value in enumerate(values):
        height = CHART_HEIGHT * value / top
        words = f"{value:,.1f} {unit}, {len(values) - number} min ago"
        x = round(first + width * number, 1)
        bars.append(Bar(x, round(CHART_HEIGHT - height, 1), round(height, 1), words))
    return Chart(bars, top, round(width - 1, 1))


def _mix(period: Period, collection: str) -> dict[str, int]:
    """How many questions of a collection got each verdict, where any was asked."""
    given = {verdict: period.verdicts.get((collection, verdict), 0) for verdict in VERDICTS}
    return given if any(given.values()) else {}


def _p95(periods: Sequence[Period]) -> list[float]:
    return [period.quantile(0.95) or 0.0 for period in periods]


def _queues(page: Page) -> list[Queue]:
    live = page.detector.live
    settings = page.settings
    texts = live.models.batcher
    queues = [Queue("bi-encoder", texts.waiting, settings.max_waiting_texts, texts.busy_seconds)]
    if pairs := live.models.pair_batcher:
        most = settings.max_waiting_pairs
        queues.append(Queue("pair classifier", pairs.waiting, most, pairs.busy_seconds))
    return queues


def _line(page: Page, collection: Collection) -> IndexLine:
    state = page.detector.live.state(collection.key)
    return IndexLine(collection, state.revision, state.size, state.ready, state.recall)
