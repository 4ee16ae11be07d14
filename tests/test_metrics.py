"""Metrics: what all processes add up, and what one scrape says."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app import database, metrics, migrate
from app.database import connection
from app.metrics import DEFINITIONS, Buffer, Samples, exposition
from app.models import MetricValue
from app.replication.gauges import gauges
from tests.support.deployment import Deployment, offline_environment
from tests.support.processes import clean_environment
from tests.support.root import ROOT
from tests.support.sessions import at_once, undone

pytestmark = pytest.mark.timeout(60)


#: What a label may be: none of these grows with repositories, tags or users.
BOUNDED = {"site", "reason", "outcome", "action", "how", "status", "registry", "operation", "kind", "name", "url"}
BOUNDED |= {"level"}


@pytest.fixture
def state(database_url: str) -> Iterator[Deployment]:
    deployment = Deployment.start(offline_environment(database_url))
    yield deployment
    deployment.close()


def scrape() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of one scrape, read by Prometheus' own parser."""
    with connection():
        text = exposition(gauges()).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counters_add_up_over_threads_and_processes(state: Deployment, database_url: str) -> None:
    # Given another process that counts
    code = (
        "import sys; from app import database; from app.metrics import Samples;"
        " database.configure(sys.argv[1])\n"
        "for _ in range(30):\n"
        "    samples = Samples(); samples.count('geo_sync_success_total', {'site': 'b', 'action': 'copy'});"
        " samples.observe('geo_replication_lag_seconds', {'site': 'b'}, 0.3); samples.write()\n"
    )
    arguments = [sys.executable, "-c", code, database_url]
    with subprocess.Popen(arguments, cwd=ROOT, env=clean_environment()) as other:
        # When six threads count here meanwhile, in every order
        def count(place: int) -> None:
            for _ in range(30):
                samples = Samples()
                for site in ("a", "b") if place % 2 else ("b", "a"):
                    samples.count("geo_sync_success_total", {"site": site, "action": "copy"})
                    samples.observe("geo_replication_lag_seconds", {"site": site}, 0.3)
                samples.write()

        at_once(6, count)
    assert other.returncode == 0

    # Then nothing is lost
    samples = scrape()
    assert samples["geo_sync_success_total", (("action", "copy"), ("site", "a"))] == 180
    assert samples["geo_sync_success_total", (("action", "copy"), ("site", "b"))] == 210
    assert samples["geo_replication_lag_seconds_count", (("site", "b"),)] == 210
    assert samples["geo_replication_lag_seconds_sum", (("site", "b"),)] == pytest.approx(63)


def test_a_histogram_is_cumulative_and_complete(state: Deployment) -> None:
    # Given observations below, on, between and above the bounds
    samples = Samples()
    for value in (0.0, 0.1, 0.11, 4, 86_400, 1e6):
        samples.observe("geo_replication_lag_seconds", {"site": "a"}, value)
    samples.write()

    # When they are scraped
    found = scrape()

    # Then each bucket counts what is at most its bound
    def bucket(bound: str) -> float:
        return found["geo_replication_lag_seconds_bucket", (("le", bound), ("site", "a"))]

    assert [bucket(b) for b in ("0.1", "0.25", "3.0", "5.0", "14400.0", "86400.0", "+Inf")] == [2, 3, 3, 4, 4, 5, 6]
    assert found["geo_replication_lag_seconds_count", (("site", "a"),)] == 6


def test_large_counters_still_count(state: Deployment) -> None:
    # Given a terabyte
    for amount in (2**40, 1, 1):
        samples = Samples()
        samples.count("geo_copied_bytes_total", {"site": "a"}, amount)
        samples.write()

    # Then the next bytes are not lost in its rounding
    assert scrape()["geo_copied_bytes_total", (("site", "a"),)] == 2**40 + 2


def test_counts_of_a_transaction_that_fails_do_not_count(state: Deployment) -> None:
    samples = Samples()
    samples.count("geo_sync_success_total", {"site": "a", "action": "copy"})
    with undone():
        samples.write()
    with connection():
        assert MetricValue.select().count() == 0


def test_a_scrape_of_everything_is_well_formed(state: Deployment) -> None:
    # Given one sample of everything that there is, with labels that need quoting
    samples = Samples()
    for name, definition in DEFINITIONS.items():
        labels = dict.fromkeys(definition.labels, 'a "quoted\\" line\nwith a break')
        if definition.buckets:
            samples.observe(name, labels, 0.2)
        else:
            samples.count(name, labels, 3)
    samples.write()
    state.event("push", "team/app", "v1")
    state.mark()

    # When it is scraped
    with connection():
        text = exposition(gauges()).decode()
    families = list(text_string_to_metric_families(text))

    # Then Prometheus reads it, each family once and with help
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert all(family.documentation for family in families)
    for name, definition in DEFINITIONS.items():
        (family,) = [f for f in families if f.name == name.removesuffix("_total")]
        assert family.type == ("histogram" if definition.buckets else "counter")
        assert family.samples

    # And no label grows with repositories or tags
    for family in families:
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} <= BOUNDED
            assert "team/app" not in sample.labels.values()
    found = scrape()
    secondary = (("name", "secondary"), ("url", "http://127.0.0.1:10"))
    assert found["geo_container_repositories", secondary] == 1
    assert found["geo_container_repositories_pending", secondary] == 1


def test_a_sample_with_other_labels_is_a_mistake() -> None:
    samples = Samples()
    with pytest.raises(ValueError, match="labels"):
        samples.count("geo_sync_success_total", {"site": "a", "action": "copy", "repository": "team/app"})
    with pytest.raises(ValueError, match="labels"):
        samples.observe("geo_replication_lag_seconds", {}, 1)
    with pytest.raises(KeyError):
        samples.count("geo_unheard_of_total", {})
    assert not samples


def test_the_buffer_keeps_what_the_database_cannot_take(state: Deployment, database_url: str) -> None:
    # Given a buffer and a database that is not there
    buffer = Buffer(interval=3600)
    labels = {"outcome": "accepted"}
    with connection():
        database.database.execute_sql("ALTER TABLE geo_metric_values RENAME TO away")
    buffer.count("geo_webhook_events_total", labels, 2)
    buffer.flush()

    # When it is there again, then nothing is lost and nothing counted twice
    with connection():
        database.database.execute_sql("ALTER TABLE away RENAME TO geo_metric_values")
    buffer.count("geo_webhook_events_total", labels)
    buffer.flush()
    buffer.flush()
    assert scrape()["geo_webhook_events_total", (("outcome", "accepted"),)] == 3


def test_a_buffer_writes_by_itself_and_survives_many_threads(state: Deployment) -> None:
    buffer = Buffer(interval=0.02)

    def count(_: int) -> None:
        for _ in range(500):
            buffer.count("geo_webhook_events_total", {"outcome": "accepted"})

    at_once(4, count)
    written = threading.Event()
    for _ in range(500):
        buffer.flush()
        with connection():
            total = sum(row.value for row in MetricValue.select())
        if total == 2000:
            written.set()
            break
    assert written.is_set()


def test_registry_requests_are_counted_by_side(state: Deployment) -> None:
    metrics.buffer.flush()
    metrics.observe_registry("primary", "get_manifest", "ok", 0.02)
    metrics.observe_registry("primary", "get_manifest", "not_found", 0.02)
    metrics.buffer.flush()
    found = scrape()
    key = (("operation", "get_manifest"), ("outcome", "not_found"), ("registry", "primary"))
    assert found["geo_registry_requests_total", key] == 1
    assert migrate.pending() == []
