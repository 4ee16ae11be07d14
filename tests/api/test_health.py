"""Probes and metrics, and what of them survives which process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from app import database, metrics, migrate
from app.web.application import create_app
from tests.support.deployment import Deployment, offline_environment
from tests.support.envelopes import envelope, push_event
from tests.support.ports import free_port
from tests.support.wait import wait_until
from tests.support.web import Web

#: GitLab's, for container repositories.
GITLAB_GAUGES = {
    "geo_container_repositories",
    "geo_container_repositories_registry",
    "geo_container_repositories_synced",
    "geo_container_repositories_failed",
    "geo_container_repositories_checksum_total",
    "geo_container_repositories_checksummed",
    "geo_container_repositories_checksum_failed",
    "geo_container_repositories_verification_total",
    "geo_container_repositories_verified",
    "geo_container_repositories_verification_failed",
}


@pytest.fixture
def geo(database_url: str) -> Iterator[Deployment]:
    deployment = Deployment.start(offline_environment(database_url))
    try:
        yield deployment
    finally:
        deployment.close()


@pytest.fixture
def client(geo: Deployment) -> Iterator[FlaskClient]:
    settings = geo.context.settings
    database.database.close_all()
    app = create_app(settings, geo.context.wake)
    yield app.test_client()
    app.extensions["geo"].close()


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of an exposition by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str) -> float:
    """The sum of all samples of this name."""
    return sum(number for (found, _), number in samples(text).items() if found == name)


@pytest.mark.parametrize("path", ["/-/health", "/-/liveness", "/-/readiness", "/metrics"])
def test_probes_need_no_token(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 200


def test_readiness_asks_for_a_migrated_database(client: FlaskClient) -> None:
    # Given a schema that is not this version's
    migrate.revert()

    # Then
    answer = client.get("/-/readiness")
    assert answer.status_code == 503
    assert "geo migrate" in answer.get_data(as_text=True)
    assert client.get("/-/liveness").status_code == 200
    assert client.get("/metrics").status_code == 503
    assert (
        client.post(
            "/api/v4/container_registry_event/events",
            json=envelope(push_event()),
            headers={"Authorization": "tests-notification-secret"},
        ).status_code
        == 503
    )
    metrics.buffer.close()

    # And asking changes nothing, until somebody migrates
    assert migrate.pending()
    migrate.migrate()
    assert client.get("/-/readiness").status_code == 200


def test_gitlabs_gauges_are_there(client: FlaskClient, geo: Deployment) -> None:
    # Given
    geo.event("push", "team/app", "v1")
    geo.mark()

    # When
    answer = client.get("/metrics")

    # Then
    assert answer.content_type.startswith("text/plain")
    found = samples(answer.text)
    site = frozenset({("name", "secondary"), ("url", "http://127.0.0.1:10")})
    assert {name for name, labels in found if labels == site} >= GITLAB_GAUGES
    assert found["geo_container_repositories", site] == 1
    assert found["geo_container_repositories_pending", site] == 1
    assert found["geo_container_repositories_synced", site] == 0
    assert found["geo_last_event_id", frozenset()] == 1


def test_no_label_names_a_repository_or_a_tag(client: FlaskClient, geo: Deployment) -> None:
    # Given events of repositories and tags with names that stand out, taken in and failed to sync
    for number in range(3):
        geo.event("push", f"unbounded/repository{number}", f"unboundedtag{number}")
    client.post(
        "/api/v4/container_registry_event/events/unboundeddialect",
        json=envelope(push_event("unbounded/other", "unboundedtag")),
        headers={"Authorization": "tests-notification-secret"},
    )
    geo.settle()

    # When
    text = client.get("/metrics").text

    # Then
    assert value(text, "geo_sync_failures_total") >= 1
    assert "unbounded" not in text
    for (name, labels), _ in samples(text).items():
        for label, content in labels:
            assert re.fullmatch(r"[a-z_]+", label), (name, label)
            assert not re.search(r"sha256|/v2/", content), (name, content)


def test_samples_wait_for_a_database_that_is_away(geo: Deployment) -> None:
    # Given a database that cannot be written
    before = _total("geo_webhook_requests_total")
    migrate.revert()
    buffer = metrics.Buffer(interval=60)
    buffer.count("geo_webhook_requests_total", {"status": "200"}, 3)

    # When it is written to, in vain, and later again
    buffer.flush()
    migrate.migrate()
    buffer.count("geo_webhook_requests_total", {"status": "200"}, 4)
    buffer.close()

    # Then nothing is lost and nothing counted twice
    assert _total("geo_webhook_requests_total") == before + 7


def test_a_buffer_can_be_used_after_it_was_closed(geo: Deployment) -> None:
    buffer = metrics.Buffer(interval=0.01)
    before = _total("geo_webhook_requests_total")
    for _ in range(2):
        buffer.count("geo_webhook_requests_total", {"status": "200"})
        buffer.close()
        buffer.close()
    assert _total("geo_webhook_requests_total") == before + 2


def _total(name: str) -> float:
    with database.connection():
        return value(metrics.exposition([]).decode(), name)


@pytest.mark.long
def test_counters_never_go_down(tmp_path: Path) -> None:
    # Given what one process counted, and a scrape of it
    env = offline_environment(f"sqlite:///{tmp_path / 'geo.db'}", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    web = Web(tmp_path, env)
    with web:
        for _ in range(5):
            assert web.post(envelope(push_event())).status_code == 200
        first = samples(web.get("/metrics").text)
        assert first["geo_webhook_events_total", frozenset({("outcome", "accepted")})] == 5

    # When it ends in good order, and another process counts
    deployment = Deployment.start(env)
    other = metrics.Samples()
    other.count("geo_copied_bytes_total", {"site": "secondary"}, 7)
    other.write()
    deployment.close()
    with web:
        assert web.post(envelope(push_event())).status_code == 200
        second = samples(web.get("/metrics").text)
        web.process.kill()
    with web:
        third = samples(web.get("/metrics").text)

    # Then no counter is lower than before
    for earlier, later in ((first, second), (second, third)):
        for key, number in earlier.items():
            if key[0].endswith(("_total", "_count", "_sum", "_bucket")):
                assert later[key] >= number, key
    assert second["geo_webhook_events_total", frozenset({("outcome", "accepted")})] == 6
    assert second["geo_copied_bytes_total", frozenset({("site", "secondary")})] == 7


@pytest.mark.long
def test_what_was_counted_in_the_last_second_is_written_at_the_end(tmp_path: Path) -> None:
    # Given a process that counts and is told to end at once
    env = offline_environment(f"sqlite:///{tmp_path / 'geo.db'}", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    web = Web(tmp_path, env)
    with web:
        for _ in range(20):
            assert web.post(envelope(push_event())).status_code == 200
        web.stop()

    # Then nothing is missing
    with web:
        text = web.get("/metrics").text
    assert samples(text)["geo_webhook_events_total", frozenset({("outcome", "accepted")})] == 20


@pytest.mark.long
def test_several_web_processes_give_one_scrape(tmp_path: Path) -> None:
    env = offline_environment(f"sqlite:///{tmp_path / 'geo.db'}", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    with Web(tmp_path, {**env, "WEB_CONCURRENCY": "2"}) as web:
        for _ in range(12):
            assert web.post(envelope(push_event())).status_code == 200
        wait_until(lambda: value(web.get("/metrics").text, "geo_webhook_requests_total") == 12)
