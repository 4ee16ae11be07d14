"""Workers as the Dramatiq command line runs them, with a real Valkey, between two real registries."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.models import SyncState
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import environment
from tests.support.proxy import Proxy, Rule
from tests.support.registries import DistributionRegistry
from tests.support.root import ROOT
from tests.support.stage import Stage
from tests.support.valkey import Valkey
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: what differs on PostgreSQL is tested without processes."""
    return f"sqlite:///{tmp_path / 'geo.db'}"


@pytest.fixture
def proxy(primary: DistributionRegistry) -> Iterator[Proxy]:
    with Proxy(primary) as proxy:
        yield proxy


@pytest.fixture
def stage(
    tmp_path: Path,
    proxy: Proxy,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    valkey: Valkey,
    database_url: str,
) -> Iterator[Stage]:
    env = environment(
        primary,
        secondary,
        database_url,
        GEO_REGISTRY_REPLICATION_PRIMARY_API_URL=proxy.url,
        REDIS_URL=valkey.url,
        BROKER_URL=valkey.broker_url,
        WORKER_PROCESSES="1",
        WORKER_THREADS="2",
        LOG_FORMAT="json",
    )
    with Stage(tmp_path, env) as stage:
        yield stage


def slow_push(stage: Stage, primary: DistributionRegistry, proxy: Proxy, rate: float) -> Rule:
    """An image in the log whose blob crawls."""
    layer = os.urandom(1_000_000)
    push(primary, "team/slow", "v1", images.image([layer]))
    stage.geo.event("push", "team/slow", "v1")
    return proxy.rule(rf"GET .*/blobs/{images.sha256(layer)}", rate=rate)


def arrived(primary: DistributionRegistry, secondary: DistributionRegistry, repository: str) -> bool:
    return digest_of(secondary, repository, "v1") == digest_of(primary, repository, "v1")


@pytest.mark.long
def test_a_worker_that_has_to_end_gives_its_row_to_another(
    stage: Stage, proxy: Proxy, primary: DistributionRegistry, secondary: DistributionRegistry
) -> None:
    # Given a worker in a copy that takes much longer than a worker may to end
    rule = slow_push(stage, primary, proxy, rate=40_000)
    first = stage.worker("first")
    stage.send()
    assert rule.arrived.wait(20), first.log_text
    assert stage.geo.row("team/slow").state == SyncState.STARTED

    # When it is told to end
    status = first.stop(timeout=20)

    # Then it has given the row back, and it counts as no failure
    assert status == 0, first.log_text
    row = stage.geo.row("team/slow")
    assert row.state == SyncState.PENDING, first.log_text
    assert row.retry_count == 0
    assert row.lease_expires_at is None

    # And another brings it to its end at once
    proxy.clear()
    stage.worker("second")
    stage.send()
    wait_until(lambda: arrived(primary, secondary, "team/slow"), timeout=10)
    assert_same(primary, secondary, "team/slow", "v1")


@pytest.mark.long
def test_a_worker_that_has_to_end_finishes_what_is_nearly_done(
    stage: Stage, proxy: Proxy, primary: DistributionRegistry, secondary: DistributionRegistry
) -> None:
    # Given a copy that takes another few seconds
    rule = slow_push(stage, primary, proxy, rate=300_000)
    worker = stage.worker("worker")
    stage.send()
    assert rule.arrived.wait(20), worker.log_text

    # When the whole process group is told to end, as platforms do
    os.killpg(worker.pid, signal.SIGTERM)

    # Then the copy is finished first, and nobody was killed
    assert worker.wait(20) == 0, worker.log_text
    assert "Killing worker process" not in worker.log_text
    assert arrived(primary, secondary, "team/slow"), worker.log_text
    assert_same(primary, secondary, "team/slow", "v1")


@pytest.mark.long
def test_a_restart_of_the_queue_loses_nothing(
    stage: Stage, valkey: Valkey, primary: DistributionRegistry, secondary: DistributionRegistry
) -> None:
    # Given a worker and a scheduler
    worker = stage.worker("worker")
    scheduler = stage.run("scheduler", "scheduler")

    # When the queue is killed and comes back while events arrive, and one more time
    names = [f"team/app{number}" for number in range(6)]
    for number, name in enumerate(names):
        push(primary, name, "v1", images.image())
        stage.geo.event("push", name, "v1")
        if number in {1, 3}:
            valkey.kill()
        if number in {2, 4}:
            valkey.start()

    # Then everything arrives
    wait_until(
        lambda: all(arrived(primary, secondary, name) for name in names),
        timeout=30,
        message=lambda: worker.log_text[-3000:] + scheduler.log_text[-2000:],
    )

    # And the next push is as quick as ever
    push(primary, "team/after", "v1", images.image())
    stage.geo.event("push", "team/after", "v1")
    wait_until(lambda: arrived(primary, secondary, "team/after"), timeout=5, message=lambda: worker.log_text[-3000:])


@pytest.mark.long
def test_a_dead_worker_does_not_keep_the_next_from_being_woken(
    stage: Stage, valkey: Valkey, proxy: Proxy, primary: DistributionRegistry, secondary: DistributionRegistry
) -> None:
    # Given a worker with all its threads in copies and as many messages fetched as it may, killed
    rule = slow_push(stage, primary, proxy, rate=1_000)
    scheduler = stage.run("scheduler", "scheduler")
    worker = stage.worker("worker")
    for _ in range(6):
        stage.send()
    assert rule.arrived.wait(20), worker.log_text
    worker.kill()

    # When something else is pushed
    stage.worker("next")
    push(primary, "team/fresh", "v1", images.image())
    stage.geo.event("push", "team/fresh", "v1")

    # Then it arrives at once
    wait_until(lambda: arrived(primary, secondary, "team/fresh"), timeout=8, message=lambda: scheduler.log_text[-2000:])


@pytest.mark.parametrize("command", ["worker", "scheduler"])
def test_without_a_queue_it_says_what_is_missing(tmp_path: Path, command: str) -> None:
    # Given nothing but what every process needs
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "GEO_NOTIFICATION_SECRET": "secret",
        "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": "http://127.0.0.1:9",
        "GEO_SECONDARY_REGISTRY_URL": "http://127.0.0.1:10",
    }

    # Then
    done = subprocess.run(
        [sys.executable, "-m", "app", command], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "REDIS_URL" in done.stderr
    assert "Traceback" not in done.stderr
