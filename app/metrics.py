"""Counters and histograms, rolled up in the database, and what one scrape of `web` says.

The database holds them because web and worker processes need not share a disk. Prometheus' own multiprocess files
would give each machine's share alone, and lose a worker's with its dyno.
"""

from __future__ import annotations

import atexit
import bisect
import json
import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from peewee import EXCLUDED, Insert, PeeweeException
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from app.database import DatabaseUnavailable, in_batches, transaction
from app.models import MetricValue
from app.statements import Statement, slot

log = logging.getLogger(__name__)

#: Upper bounds in seconds: from a small image on a near registry to a large one on a bad day.
LAG_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400)
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


@dataclass(frozen=True, slots=True)
class Definition:
    """A metric of ours: its help text, its labels, and for a histogram its buckets."""

    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()


#: Everything that is counted. No label may hold a repository, a tag or any other unbounded value.
DEFINITIONS: Mapping[str, Definition] = {
    "geo_webhook_requests_total": Definition("Webhook requests by answer", ("status",)),
    "geo_webhook_events_total": Definition(
        "Events in webhook requests by what became of them (accepted, duplicate, ignored, quarantined)", ("outcome",)
    ),
    "geo_webhook_duration_seconds": Definition("Time to answer a webhook request", (), REQUEST_BUCKETS),
    "geo_sync_success_total": Definition("References brought in order, by what was done", ("site", "action")),
    "geo_sync_failures_total": Definition(
        "References that could not be brought in order, by reason", ("site", "reason")
    ),
    "geo_sync_duration_seconds": Definition("Time spent on one reference", ("site", "outcome"), LAG_BUCKETS),
    "geo_replication_lag_seconds": Definition(
        "From the registry's event until the secondary serves it", ("site",), LAG_BUCKETS
    ),
    "geo_copied_bytes_total": Definition("Bytes of blobs written to the secondary", ("site",)),
    "geo_blobs_total": Definition("Blobs by how they got there (copied, mounted, skipped)", ("site", "how")),
    "geo_verifications_total": Definition(
        "Verifications of a repository by what came of them (succeeded, failed, unsure, unfinished)",
        ("site", "level", "outcome"),
    ),
    "geo_verified_references_total": Definition("References looked at by verification", ("site", "level")),
    "geo_verification_findings_total": Definition(
        "What verification found missing or damaged, by kind", ("site", "kind")
    ),
    "geo_verification_duration_seconds": Definition(
        "Time spent on the verification of one repository", ("site", "level"), LAG_BUCKETS
    ),
    "geo_registry_requests_total": Definition(
        "Requests to registries by operation and outcome", ("registry", "operation", "outcome")
    ),
    "geo_registry_request_duration_seconds": Definition(
        "Time until a registry's answer began", ("registry", "operation"), REQUEST_BUCKETS
    ),
    "geo_registry_throttling_total": Definition(
        "A registry asked us to slow down (429, 503, floor), or a request had to wait for that (waited, refused)",
        ("registry", "kind"),
    ),
    "geo_feed_requests_total": Definition("Requests of sites for events, by what they were told", ("site", "outcome")),
    "geo_pull_tokens_total": Definition("Requests of sites for tokens of the primary", ("site", "outcome")),
    "geo_follower_readings_total": Definition("Looks at the primary's event log by outcome", ("site", "outcome")),
}

_Key = tuple[str, str, str]


class Samples:
    """Additions to metrics, gathered and then written at once."""

    def __init__(self) -> None:
        self._values: dict[_Key, float] = defaultdict(float)

    def count(self, name: str, labels: Mapping[str, str], amount: float = 1) -> None:
        """Add to a counter. Nothing is written for 0, so a counter appears with its first count."""
        self._checked(name, labels)
        if amount:
            self._values[name, _canonical(labels), ""] += amount

    def observe(self, name: str, labels: Mapping[str, str], value: float) -> None:
        """Add one observation to a histogram."""
        bounds = self._checked(name, labels).buckets
        place = bisect.bisect_left(bounds, value)
        bucket = repr(float(bounds[place])) if place < len(bounds) else "+Inf"
        self._values[name, _canonical(labels), bucket] += 1
        self._values[name, _canonical(labels), "sum"] += value

    def take(self) -> Samples:
        """Everything gathered so far, which is no longer here."""
        taken = Samples()
        taken._values, self._values = self._values, defaultdict(float)
        return taken

    def merge(self, other: Samples) -> None:
        for key, value in other._values.items():
            self._values[key] += value

    def write(self) -> None:
        """Add to the database. In key order: two processes that add to the same metrics must not wait crosswise."""
        rows = [
            {"name": name, "labels": labels, "bucket": bucket, "value": value}
            for (name, labels, bucket), value in sorted(self._values.items())
        ]
        for batch in in_batches(rows):
            with transaction():
                _ADDING.each(batch)

    def __bool__(self) -> bool:
        return bool(self._values)

    @staticmethod
    def _checked(name: str, labels: Mapping[str, str]) -> Definition:
        definition = DEFINITIONS[name]
        if set(labels) != set(definition.labels):
            raise ValueError(f"{name} has the labels {definition.labels}, not {tuple(labels)}")
        return definition


def _adding() -> Insert:
    row = {name: slot(name) for name in ("name", "labels", "bucket", "value")}
    return MetricValue.insert(row).on_conflict(
        conflict_target=[MetricValue.name, MetricValue.labels, MetricValue.bucket],
        update={MetricValue.value: MetricValue.value + EXCLUDED.value},
    )


_ADDING = Statement(_adding)


class Buffer:
    """Gathers samples of hot paths and writes them every second, so that no request waits for the database.

    A process that is killed loses its last second; what must not be lost is counted in the transaction it belongs to.
    """

    def __init__(self, interval: float = 1.0) -> None:
        self._interval = interval
        self._samples = Samples()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()

    def count(self, name: str, labels: Mapping[str, str], amount: float = 1) -> None:
        with self._lock:
            self._samples.count(name, labels, amount)
            self._start()

    def observe(self, name: str, labels: Mapping[str, str], value: float) -> None:
        with self._lock:
            self._samples.observe(name, labels, value)
            self._start()

    def flush(self) -> None:
        """Write what was gathered; keep it when the database cannot take it."""
        with self._lock:
            taken = self._samples.take()
        if not taken:
            return
        try:
            taken.write()
        except (PeeweeException, DatabaseUnavailable) as error:
            log.warning("metrics are kept until the database takes them: %s", error)
            with self._lock:
                self._samples.merge(taken)

    def close(self, *, write: bool = True) -> None:
        """End the thread and write what is left, or drop it; a later sample begins anew.

        To be called before the pool is closed: SQLite crashes when a connection is closed under a statement.
        """
        with self._lock:
            thread, self._thread = self._thread, None
            self._ending.set()
        if thread is not None and thread.is_alive():
            thread.join()
        if write:
            self.flush()
            return
        with self._lock:
            self._samples.take()

    def _start(self) -> None:
        # Started by the first sample, not at import: a thread does not survive the fork into a server's workers.
        if self._thread is None or not self._thread.is_alive():
            self._ending = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._ending,), name="metrics", daemon=True)
            self._thread.start()

    def _run(self, ending: threading.Event) -> None:
        while not ending.wait(self._interval):
            self.flush()


#: The process's own. What a process gathered in its last second is written when it ends by itself.
buffer = Buffer()
atexit.register(buffer.close)


def observe_registry(registry: str, operation: str, outcome: str, seconds: float) -> None:
    """The callback that registry clients report their requests to."""
    buffer.count("geo_registry_requests_total", {"registry": registry, "operation": operation, "outcome": outcome})
    buffer.observe("geo_registry_request_duration_seconds", {"registry": registry, "operation": operation}, seconds)


def observe_throttling(registry: str, kind: str) -> None:
    """The callback that is told whenever a registry's limit is felt."""
    buffer.count("geo_registry_throttling_total", {"registry": registry, "kind": kind})


def exposition(gauges: Iterable[GaugeMetricFamily]) -> bytes:
    """The text that Prometheus scrapes: all counters and histograms of all processes, and these gauges."""
    families = [*_families(), *gauges]

    class Snapshot(Collector):
        def collect(self) -> Iterator[Metric]:
            yield from families

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Snapshot())
    return generate_latest(registry)


def _families() -> Iterator[Metric]:
    values: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in MetricValue.select().order_by(MetricValue.name, MetricValue.labels):
        values[row.name][row.labels][row.bucket] = row.value
    for name, definition in DEFINITIONS.items():
        make = _histogram if definition.buckets else _counter
        yield make(name, definition, values.get(name, {}))


def _counter(name: str, definition: Definition, values: Mapping[str, Mapping[str, float]]) -> Metric:
    family = CounterMetricFamily(name.removesuffix("_total"), definition.help, labels=definition.labels)
    for labels, buckets in values.items():
        family.add_metric(_label_values(definition, labels), buckets.get("", 0.0))
    return family


def _histogram(name: str, definition: Definition, values: Mapping[str, Mapping[str, float]]) -> Metric:
    family = HistogramMetricFamily(name, definition.help, labels=definition.labels)
    for labels, stored in values.items():
        total, buckets = 0.0, []
        for bound in (*(repr(float(b)) for b in definition.buckets), "+Inf"):
            total += stored.get(bound, 0.0)
            buckets.append((bound, total))
        family.add_metric(_label_values(definition, labels), buckets, stored.get("sum", 0.0))
    return family


def _canonical(labels: Mapping[str, str]) -> str:
    return _written(tuple(labels.items()))


@lru_cache(maxsize=1024)
def _written(labels: tuple[tuple[str, str], ...]) -> str:
    return json.dumps(dict(labels), sort_keys=True, separators=(",", ":"))


def _label_values(definition: Definition, labels: str) -> list[str]:
    known = json.loads(labels)
    return [known[name] for name in definition.labels]
