"""Prometheus metrics of verdicts and promises, by collection: of fifty at most, so that their number stays bounded."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from app.promises.report import Figures

VERDICTS = "sameask_verdicts"
GAUGES = {
    "is_kept": ("sameask_promise_kept", "1 where labels support the target precision, else 0."),
    "labels": ("sameask_promise_labels", "Labels that count for a promise."),
    "lacking": (
        "sameask_promise_labels_lacking",
        "About how many labels a promise lacks; NaN: no number would do.",
    ),
}


@dataclass(frozen=True)
class PromiseMetrics(Collector):
    """Verdicts and promises at the moment of a scrape."""

    figures: Figures

    def collect(self) -> Iterator[Metric]:
        """As Prometheus's client asks for it."""
        verdicts = CounterMetricFamily(
            VERDICTS,
            "Questions answered by POST /duplicates, by verdict.",
            labels=["collection", "verdict"],
        )
        for (collection, verdict), count in sorted(self.figures.verdicts.items()):
            verdicts.add_metric([collection, verdict], count)
        yield verdicts
        for field, (name, description) in GAUGES.items():
            gauge = GaugeMetricFamily(name, description, labels=["collection"])
            for state in self.figures.promises:
                value = getattr(state, field)
                gauge.add_metric([state.collection], float("nan") if value is None else value)
            yield gauge
        yield GaugeMetricFamily(
            "sameask_labels_last_day",
            "Labels given in the last 24 hours.",
            self.figures.labels_last_day,
        )
