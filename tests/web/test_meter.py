"""How much was asked lately, from the service's own metrics."""

import pytest
from prometheus_client import CollectorRegistry, Histogram

from app.web.health import chart
from app.web.meter import Meter, Period
from tests.clock import Clock


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_only_what_asks_is_counted_and_only_since_then() -> None:
    registry, clock = CollectorRegistry(), Clock()
    seconds = Histogram(
        "sameask_request_seconds",
        "Time.",
        ["method", "route", "status"],
        registry=registry,
        buckets=(0.01, 0.1, 1.0),
    )
    meter = Meter(registry, dict, clock)
    for taken in (0.005, 0.05, 0.05, 0.5):
        seconds.labels("POST", "/duplicates", 200).observe(taken)
    seconds.labels("POST", "/page/ask", 200).observe(0.05)
    seconds.labels("GET", "/livez", 200).observe(9.0)
    clock.now = 10.0
    await meter.sample()
    period = meter.since(60.0)
    assert (period.requests, period.a_second) == (5, 0.5)
    clock.now = 20.0
    assert meter.since(10.0).requests == 0
    (first,) = meter.periods(10.0)
    assert first.requests == 5
    # half of five requests: 1.5 of the four in the bucket from 10 to 100 ms
    assert first.quantile(0.5) == pytest.approx(10 + 90 * 1.5 / 3)


def test_without_requests_there_is_no_quantile() -> None:
    assert Period(10.0, 0.0, {0.1: 0.0}, {}).quantile(0.95) is None


def test_what_took_longer_than_every_bucket_counts_as_the_last_bound() -> None:
    assert Period(1.0, 2.0, {0.1: 1.0, float("inf"): 2.0}, {}).quantile(0.95) == 100


def test_a_chart_ends_at_the_right() -> None:
    bars = chart([1.0, 4.0], "ms").bars
    assert [(round(bar.x, 1), bar.y, bar.height) for bar in bars] == [
        (297.7, 90.0, 30.0),
        (302.9, 0.0, 120.0),
    ]
    assert chart([], "ms").bars == []
