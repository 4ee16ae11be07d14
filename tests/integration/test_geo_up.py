"""`geo up` between two real registries, spoken to as an operator and a registry would."""

from __future__ import annotations

import json
import os
import signal
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.conftest import DeploymentFactory, Pair
from tests.support import images
from tests.support.compare import assert_same, same
from tests.support.postgres import Postgres
from tests.support.running import processes_of
from tests.support.skopeo import skopeo_push, write_layout
from tests.support.valkey import Valkey
from tests.support.wait import wait_until
from tests.support.wire import delete_digest, delete_tag, digest_of, push, tags


def arrives(pair: Pair, repository: str, reference: str, timeout: float = 20) -> None:
    wait_until(
        lambda: digest_of(pair.secondary, repository, reference) == digest_of(pair.primary, repository, reference),
        timeout=timeout,
        message=lambda: f"{repository}:{reference} did not arrive\n{pair.geo.log_text[-4000:]}",
    )
    assert_same(pair.primary, pair.secondary, repository, reference)


def test_a_push_arrives_and_everything_tells_of_it(deploy: DeploymentFactory) -> None:
    # Given a deployment with SQLite and the embedded broker
    pair = deploy()

    # When a multi-platform image is pushed to the primary
    push(pair.primary, "team/app", "v1", images.index([images.image(), images.image(architecture="arm64")]))

    # Then it arrives byte for byte
    arrives(pair, "team/app", "v1")

    # And the command line, the API, the metrics and the console say so
    wait_until(lambda: _states(pair) == {"team/app": 2}, message=lambda: pair.geo.geo("repositories"))
    status = json.loads(pair.geo.geo("status", "--json"))
    assert status["sites"][0]["synced"] == 1
    assert pair.geo.get("/api/v4/geo_sites").status_code == 200
    metrics = {
        sample.name: sample.value
        for family in text_string_to_metric_families(pair.geo.get("/metrics").text)
        for sample in family.samples
        if "le" not in sample.labels
    }
    assert metrics["geo_sync_success_total"] >= 1
    assert metrics["geo_replication_lag_seconds_count"] >= 1
    assert metrics["geo_copied_bytes_total"] > 0
    assert metrics["geo_container_repositories_synced"] == 1
    assert "v1" in pair.geo.geo("events")
    assert "synced" in pair.geo.geo("why", "team/app:v1")
    lines = pair.geo.geo(
        "console",
        "-c",
        "print(ContainerRepositoryRegistry.replication_enabled());"
        "print(Event.select().where(Event.replicable_name == 'container_repository').count());"
        "registry = ContainerRepositoryRegistry.first();"
        "print(registry.replicator.sync());"
        "registry.reload(); print(registry.state);"
        "sync_repository.send(registry.id); sync_repository(registry.id)",
    ).splitlines()
    assert lines[0] == "True"
    assert int(lines[1]) >= 1
    assert lines[3] == "2"


@pytest.mark.long
def test_postgresql_and_a_broker_of_ones_own(deploy: DeploymentFactory, postgres: Postgres, valkey: Valkey) -> None:
    # Given a deployment on PostgreSQL and a Valkey that somebody else runs, with two worker processes
    pair = deploy(
        DATABASE_URL=postgres.create_database(),
        REDIS_URL=valkey.url,
        BROKER_URL=valkey.broker_url,
        WORKER_PROCESSES="2",
    )

    # When several repositories are pushed to
    for number in range(5):
        push(pair.primary, f"team/app{number}", "v1", images.image())

    # Then all of them arrive
    for number in range(5):
        arrives(pair, f"team/app{number}", "v1")
    wait_until(lambda: set(_states(pair).values()) == {2}, message=lambda: pair.geo.geo("repositories"))


@pytest.mark.long
def test_an_image_pushed_by_skopeo_arrives(deploy: DeploymentFactory) -> None:
    # Given
    pair = deploy()
    layout = write_layout(pair.geo.path / "layout", images.index([images.image(), images.image(architecture="arm64")]))

    # When
    skopeo_push(pair.primary, "team/skopeo", "v1", layout)

    # Then
    arrives(pair, "team/skopeo", "v1")


@pytest.mark.long
def test_deletions_reach_the_secondary_by_name(deploy: DeploymentFactory) -> None:
    # Given two tags on one digest, and one more
    pair = deploy()
    image, other = images.image(), images.image()
    for tag in ("v1", "latest"):
        push(pair.primary, "team/app", tag, image)
    push(pair.primary, "team/app", "v2", other)
    for tag in ("v1", "latest", "v2"):
        arrives(pair, "team/app", tag)

    # When the other's digest is deleted on the primary, a Distribution 2.8 that knows no tag deletion
    delete_digest(pair.primary, "team/app", other.digest)

    # Then its tag goes from the secondary, and its siblings stay
    wait_until(lambda: set(tags(pair.secondary, "team/app")) == {"v1", "latest"}, message=lambda: pair.geo.log_text)
    assert same(pair.primary, pair.secondary, "team/app", "v1")


@pytest.mark.long
def test_a_tag_deleted_by_name_on_distribution_3(deploy: DeploymentFactory) -> None:
    # Given a primary that deletes tags by name
    pair = deploy(primary={"version": "3"}, secondary={"version": "3"})
    image = images.image()
    for tag in ("v1", "latest"):
        push(pair.primary, "team/app", tag, image)
        arrives(pair, "team/app", tag)

    # When one of two tags on the same digest is deleted
    delete_tag(pair.primary, "team/app", "latest")

    # Then only that one goes
    wait_until(lambda: set(tags(pair.secondary, "team/app")) == {"v1"}, message=lambda: pair.geo.log_text)


@pytest.mark.long
def test_events_are_taken_in_while_the_queue_is_down(deploy: DeploymentFactory, valkey: Valkey) -> None:
    # Given a deployment whose broker has died
    pair = deploy(REDIS_URL=valkey.url, BROKER_URL=valkey.broker_url)
    valkey.kill()

    # When an image is pushed, and an event is posted by hand
    push(pair.primary, "team/app", "v1", images.image())
    answer = pair.geo.post({"events": [_event("team/app", "v1")]})

    # Then the event is accepted all the same
    assert answer.status_code == 200
    assert answer.json()["accepted"] == 1

    # And when the broker is back, the image arrives
    valkey.start()
    arrives(pair, "team/app", "v1", timeout=60)


@pytest.mark.long
def test_a_secondary_that_is_away_is_caught_up_with(deploy: DeploymentFactory) -> None:
    # Given a secondary that is down
    pair = deploy()
    pair.secondary.stop()

    # When an image is pushed
    push(pair.primary, "team/app", "v1", images.image())

    # Then the failure names the tag, the registry and what to check
    wait_until(lambda: _states(pair) == {"team/app": 3}, message=lambda: pair.geo.log_text)
    failure = json.loads(pair.geo.geo("repositories", "--json"))[0]["last_sync_failure"]
    assert "team/app:v1" in failure
    assert pair.secondary.host in failure

    # And when it is back, retries bring the image there, with no further push
    pair.secondary.start()
    arrives(pair, "team/app", "v1", timeout=60)


@pytest.mark.long
def test_sync_by_hand_finds_what_no_event_told_of(deploy: DeploymentFactory) -> None:
    # Given images that were pushed before the deployment existed
    pair = deploy(primary={"notify": []})
    push(pair.primary, "team/old", "v1", images.image())
    push(pair.primary, "team/older", "v1", images.image())

    # When one repository is synced by hand, and then all
    said = pair.geo.geo("sync", "team/old")

    # Then the one is there at once, and the others when the workers are done
    assert "is synced" in said
    assert_same(pair.primary, pair.secondary, "team/old", "v1")
    pair.geo.geo("sync", "--all", "--wait")
    assert_same(pair.primary, pair.secondary, "team/older", "v1")
    assert "does not know" in pair.geo.geo("sync", "no/such/repository", status=1)
    assert "Usage" in pair.geo.geo("sync", status=2)


def test_sigterm_ends_everything(deploy: DeploymentFactory) -> None:
    # Given
    pair = deploy()
    assert len(processes_of(pair.geo.path)) > 4

    # When
    status = pair.geo.stop()

    # Then
    assert status == 0
    assert processes_of(pair.geo.path) == []


@pytest.mark.long
def test_no_process_survives_its_killed_supervisor(deploy: DeploymentFactory) -> None:
    # Given
    pair = deploy()

    # When the supervisor is killed and can stop nobody
    pair.geo.kill_leader()

    # Then all its processes end by themselves
    wait_until(lambda: processes_of(pair.geo.path) == [], timeout=30, message="an orphan is left")


@pytest.mark.long
def test_what_dies_is_started_again(deploy: DeploymentFactory) -> None:
    # Given
    pair = deploy()
    workers = _workers(pair)

    # When every worker process is killed
    for pid in workers:
        os.kill(pid, signal.SIGKILL)

    # Then others take their place, and pushes arrive
    wait_until(lambda: _workers(pair) and not set(_workers(pair)) & set(workers), timeout=30)
    push(pair.primary, "team/app", "v1", images.image())
    arrives(pair, "team/app", "v1", timeout=30)


@pytest.mark.long
@pytest.mark.parametrize("role", ["primary", "secondary"])
def test_the_registrys_configuration_can_be_printed(deploy: DeploymentFactory, role: str) -> None:
    # Given
    pair = deploy()

    # When
    text = pair.geo.geo("registry-config", role, "--webhook", "https://geo.example.com")

    # Then
    expected = "container_registry_event/events" if role == "primary" else "delete"
    assert expected in text
    assert pair.geo.geo("token", "team/app", "-a", "pull").count(".") == 2


def _states(pair: Pair) -> dict[str, int]:
    return {row["path"]: row["state"] for row in json.loads(pair.geo.geo("repositories", "--json"))}


def _workers(pair: Pair) -> list[int]:
    """Dramatiq's processes."""
    found = []
    for pid in processes_of(pair.geo.path):
        try:
            with Path(f"/proc/{pid}/cmdline").open("rb") as file:
                if b"dramatiq" in file.read():
                    found.append(pid)
        except OSError:
            continue
    return found


def _event(repository: str, tag: str) -> dict[str, object]:
    return {
        "id": str(uuid.uuid4()),
        "timestamp": datetime.now(UTC).isoformat(),
        "action": "push",
        "target": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": images.sha256(b"anything"),
            "repository": repository,
            "tag": tag,
        },
    }
