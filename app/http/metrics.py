"""Prometheus metrics of one app: its own registry, so that two apps in one process do not mix."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter

from prometheus_client import CollectorRegistry, Histogram, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.detector import Detector
from app.errors import NoShadow
from app.http.dependencies import Reading
from app.http.promise_metrics import PromiseMetrics
from app.promises.promises import Promises
from app.releases.releases import Releases
from app.webhook.delivery import Webhook

# The figures that a scrape reads, by name: gauges may fall; counters only rise, until a restart or a swap.
GAUGES: Mapping[str, str] = {
    "texts_waiting": "Texts that wait for the bi-encoder or are being embedded.",
    "model_busy_seconds": "How long the bi-encoder's batch in progress has been running.",
    "pairs_waiting": "Pairs that wait for the pair classifier or are being read; 0 without one.",
    "pair_classifier_busy_seconds": "How long the pair classifier's batch in progress has been running.",
    "embeddings_cached": "Embeddings of texts asked lately that the live release keeps.",
    "ready": "1 when /readyz says ready.",
    "questions": "Questions stored.",
    "questions_indexed": "Questions in the indexes.",
    "index_recall": "Lowest recall@10 of an index against exact search, on a sample.",
    "labels_contradicted": "Active labels of which another says the opposite.",
    "questions_quarantined": "Stored questions that could not be embedded.",
    "webhook_waiting": "Events that wait for the webhook's receiver.",
    "webhook_delivered": "Events delivered in the last 30 days.",
    "webhook_given_up": "Events given up in the last 30 days.",
}
COUNTERS: Mapping[str, str] = {
    "embedding_cache_hits": "Texts that the live release had the embedding of.",
    "embedding_cache_misses": "Texts that the live release had to embed.",
    "asked_tokens": "Tokens of texts asked, as the live release's bi-encoder reads them.",
    "asked_tokens_unknown": "Of these, tokens that stand for characters or words that it can't read.",
    "rows_damaged": "Stored rows that were found to fail their checksum, and are passed over.",
}
PREFIX = "sameask_"


@dataclass(frozen=True)
class State(Collector):
    """The state of the service at the moment of a scrape."""

    values: Mapping[str, float]  # by a name of GAUGES or COUNTERS
    live: str
    shadows: Mapping[str, float]  # the share of the questions that a release on its way has indexed

    def collect(self) -> Iterator[Metric]:
        """As Prometheus's client asks for it."""
        for name, description in GAUGES.items():
            yield GaugeMetricFamily(PREFIX + name, description, self.values[name])
        for name, description in COUNTERS.items():
            yield CounterMetricFamily(PREFIX + name, description, self.values[name])
        yield _by_release("release_live", "1 for the live release.", {self.live: 1.0})
        yield _by_release(
            "shadow_indexed_share",
            "Share of the questions that the release on its way has indexed.",
            self.shadows,
        )


class Metrics:
    """The times of requests, and a reading of the service's state at each scrape."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "sameask_request_seconds",
            "Time from request to answer, by route and status.",
            ["method", "route", "status"],
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )

    async def render(
        self,
        detector: Detector,
        reading: Reading,
        promises: Promises,
        releases: Releases,
        webhook: Webhook,
    ) -> tuple[bytes, str]:
        """The exposition document and its content type."""
        values = _of_models(detector) | await _of_questions(detector, reading)
        values |= await _of_events(webhook)
        live = detector.live.release.name
        state = State(values, live, await _indexed_shares(releases))
        of_promises = PromiseMetrics(await promises.figures())
        parts = [generate_latest(part) for part in (self.registry, state, of_promises)]
        return b"".join(parts), CONTENT_TYPE_LATEST


def _of_models(detector: Detector) -> dict[str, float]:
    live = detector.live
    models = live.models
    pairs = models.pair_batcher
    return {
        "texts_waiting": models.batcher.waiting,
        "model_busy_seconds": models.batcher.busy_seconds,
        "pairs_waiting": pairs.waiting if pairs else 0,
        "pair_classifier_busy_seconds": pairs.busy_seconds if pairs else 0.0,
        "embeddings_cached": len(models.recent),
        "embedding_cache_hits": models.recent.hits,
        "embedding_cache_misses": models.recent.misses,
        "asked_tokens": models.asked.tokens,
        "asked_tokens_unknown": models.asked.unknown,
    }


async def _of_questions(detector: Detector, reading: Reading) -> dict[str, float]:
    store = reading.store
    readiness = await detector.readiness()
    return {
        "ready": readiness.ready,
        "questions": readiness.questions,
        "questions_indexed": readiness.questions_indexed,
        "index_recall": readiness.recall,
        "labels_contradicted": await reading(store.labels.contradicted),
        "questions_quarantined": await reading(store.revisions.quarantined_count),
        "rows_damaged": store.database.damaged,
    }


async def _of_events(webhook: Webhook) -> dict[str, float]:
    events = await run_in_threadpool(webhook.count)
    return {
        "webhook_waiting": events.waiting,
        "webhook_delivered": events.delivered,
        "webhook_given_up": events.given_up,
    }


async def _indexed_shares(releases: Releases) -> dict[str, float]:
    """The share of the questions that the release on its way has indexed, by its name; none, if none is."""
    with suppress(NoShadow):
        shadow = await releases.shadow()
        return {
            shadow.release: shadow.questions_indexed / shadow.questions if shadow.questions else 1.0
        }
    return {}


def _by_release(name: str, description: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(PREFIX + name, description, labels=["release"])
    for release, value in values.items():
        family.add_metric([release], value)
    return family


class MeasureRequests:
    """ASGI middleware: times each request under the template of its route, never under its path."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        start = perf_counter()
        try:
            await self._app(scope, receive, watch)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.requests.labels(scope["method"], route, status).observe(
                perf_counter() - start
            )
