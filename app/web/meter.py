"""How much was asked lately and how long it took: samples of the service's own metrics, kept for an hour."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from time import monotonic

from prometheus_client import CollectorRegistry

SAMPLE_SECONDS = 10.0
KEPT_SECONDS = 3600.0
FAMILY = "sameask_request_seconds"
ASKING = ("/duplicates", "/pair-score", "/page/ask")

Buckets = Mapping[float, float]  # by upper bound in seconds, requests that took no longer
Counts = Mapping[tuple[str, str], int]  # by collection and verdict, answers


@dataclass(frozen=True)
class Sample:
    """Everything counted up to a moment: requests that asked, by how long they took, and verdicts."""

    at: float
    buckets: Buckets
    verdicts: Counts

    @property
    def requests(self) -> float:
        """How many there were."""
        return max(self.buckets.values(), default=0.0)


@dataclass(frozen=True)
class Period:
    """The counts between two samples."""

    seconds: float
    requests: float
    buckets: Buckets
    verdicts: Counts

    @property
    def a_second(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds if self.seconds else 0.0

    def quantile(self, share: float) -> float | None:
        """Milliseconds within which this share of the requests was answered; None without requests.

        Interpolated inside a bucket, as Prometheus does.
        """
        if not self.requests:
            return None
        wanted = share * self.requests
        below = 0.0
        counted = 0.0
        for bound, count in sorted(self.buckets.items()):
            if count >= wanted:
                if bound == float("inf"):
                    return below * 1000
                inside = (wanted - counted) / (count - counted) if count > counted else 0.0
                return (below + (bound - below) * inside) * 1000
            below = bound
            counted = count
        return below * 1000


class Meter:
    """Samples of one registry, and of the verdicts that were given."""

    def __init__(
        self,
        registry: CollectorRegistry,
        verdicts: Callable[[], Counts],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._registry = registry
        self._verdicts = verdicts
        self._clock = clock
        self._samples: deque[Sample] = deque(maxlen=round(KEPT_SECONDS / SAMPLE_SECONDS) + 1)
        self._samples.append(self._read())

    async def sample(self) -> None:
        """Take a sample. To be called every SAMPLE_SECONDS."""
        self._samples.append(self._read())

    def since(self, seconds: float) -> Period:
        """The counts of so many seconds up to now, or since the server began."""
        now = self._read()
        kept = [one for one in self._samples if now.at - one.at <= seconds]
        return _between(kept[0] if kept else self._samples[-1], now)

    def periods(self, seconds: float) -> Sequence[Period]:
        """The counts of each period of so many seconds, the oldest first."""
        step = max(1, round(seconds / SAMPLE_SECONDS))
        samples = list(self._samples)[::-1][::step][::-1]
        return [_between(*pair) for pair in pairwise(samples)]

    def _read(self) -> Sample:
        buckets: dict[float, float] = {}
        for family in self._registry.collect():
            for sample in family.samples:
                if sample.name == f"{FAMILY}_bucket" and sample.labels["route"] in ASKING:
                    bound = float(sample.labels["le"])
                    buckets[bound] = buckets.get(bound, 0.0) + sample.value
        return Sample(self._clock(), buckets, dict(self._verdicts()))


def _between(before: Sample, after: Sample) -> Period:
    buckets = {
        bound: count - before.buckets.get(bound, 0.0) for bound, count in after.buckets.items()
    }
    verdicts = {
        name: count - before.verdicts.get(name, 0) for name, count in after.verdicts.items()
    }
    requests = after.requests - before.requests
    return Period(after.at - before.at, requests, buckets, verdicts)
