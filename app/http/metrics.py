"""Prometheus metrics of one app: its own registry, so that two apps in one process do not mix."""

from collections.abc import Sequence
from contextlib import suppress
from time import perf_counter

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.detector import Detector
from app.errors import NoShadow
from app.releases.releases import Releases
from app.webhook.delivery import Webhook


class Metrics:
    """What the service counts, and a reading of the detector's and the webhook's state at each scrape."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "sameask_request_seconds",
            "Time from request to answer, by route and status.",
            ["method", "route", "status"],
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )
        self._waiting = self._gauge(
            "texts_waiting", "Texts that wait for the model or are being embedded."
        )
        self._busy = self._gauge(
            "model_busy_seconds", "How long the batch in progress has been running."
        )
        self._cached = self._gauge(
            "embeddings_cached", "Embeddings of texts asked lately that the live release keeps."
        )
        self._hits = self._gauge(
            "embedding_cache_hits", "Texts that the live release had the embedding of, so far."
        )
        self._misses = self._gauge(
            "embedding_cache_misses", "Texts that the live release had to embed, so far."
        )
        self._ready = self._gauge("ready", "1 when /readyz says ready.")
        self._questions = self._gauge("questions", "Questions stored.")
        self._indexed = self._gauge("questions_indexed", "Questions in the indexes.")
        self._recall = self._gauge(
            "index_recall", "Lowest recall@10 of an index against exact search, on a sample."
        )
        self._damaged = self._gauge(
            "rows_damaged", "Stored rows that fail their checksum and are passed over."
        )
        self._contradicted = self._gauge(
            "labels_contradicted", "Active labels of which another says the opposite."
        )
        self._quarantined = self._gauge(
            "questions_quarantined", "Stored questions that could not be embedded."
        )

        self._events_waiting = self._gauge(
            "webhook_waiting", "Events that wait for the webhook's receiver."
        )
        self._events_delivered = self._gauge(
            "webhook_delivered", "Events delivered in the last 30 days."
        )
        self._events_given_up = self._gauge(
            "webhook_given_up", "Events given up in the last 30 days."
        )

        self._live = self._gauge("release_live", "1 for the live release.", ["release"])
        self._shadow = self._gauge(
            "shadow_indexed_share",
            "Share of the questions that the release on its way has indexed.",
            ["release"],
        )

    async def render(
        self, detector: Detector, releases: Releases, webhook: Webhook
    ) -> tuple[bytes, str]:
        """The exposition document and its content type."""
        readiness = await detector.readiness()
        await self._set_releases(detector, releases)
        self._waiting.set(detector.live.batcher.waiting)
        self._busy.set(detector.live.batcher.busy_seconds)
        recent = detector.live.recent
        self._cached.set(len(recent))
        self._hits.set(recent.hits)
        self._misses.set(recent.misses)
        self._ready.set(readiness.ready)
        self._questions.set(readiness.questions)
        self._indexed.set(readiness.questions_indexed)
        self._recall.set(readiness.recall)
        self._damaged.set(detector.damaged)
        self._contradicted.set(await detector.contradicted_labels())
        self._quarantined.set(await detector.quarantined())
        events = await run_in_threadpool(webhook.count)
        self._events_waiting.set(events.waiting)
        self._events_delivered.set(events.delivered)
        self._events_given_up.set(events.given_up)
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    async def _set_releases(self, detector: Detector, releases: Releases) -> None:
        self._live.clear()
        self._live.labels(detector.live.release.name).set(1)
        self._shadow.clear()
        with suppress(NoShadow):
            shadow = await releases.shadow()
            share = shadow.questions_indexed / shadow.questions if shadow.questions else 1.0
            self._shadow.labels(shadow.release).set(share)

    def _gauge(self, name: str, description: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(f"sameask_{name}", description, labels, registry=self.registry)


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
