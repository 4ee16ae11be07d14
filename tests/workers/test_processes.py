"""Workers as the Dramatiq command line runs them, with a real Valkey, between two real registries."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from dramatiq.brokers.stub import StubBroker

from app.cli import main
from app.models import SyncState
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import environment
from tests.support.processes import Process
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


@pytest.mark.long
@pytest.mark.timeout(300)
def test_workers_of_their_own_keep_to_their_queues(
    stage: Stage, proxy: Proxy, primary: DistributionRegistry, secondary: DistributionRegistry
) -> None:
    # Given a backfill of more slow repositories than its own worker has threads, and a worker for what is pushed
    layer = os.urandom(200_000)
    old = [f"team/old{number}" for number in range(3)]
    for name in old:
        push(primary, name, "v1", images.image([layer]))
    rule = proxy.rule(rf"GET .*/blobs/{images.sha256(layer)}", rate=5_000)
    bulk = stage.worker("bulk", "--queues", "backfill,verification")
    fresh = stage.worker("fresh", "--queues", "events,sync")
    scheduler = stage.run("scheduler", "scheduler")
    assert rule.arrived.wait(30), scheduler.log_text

    # When something is pushed meanwhile
    push(primary, "team/fresh", "v1", images.image())
    stage.geo.event("push", "team/fresh", "v1")
    stage.send()

    # Then it arrives at once, by the worker that is there for it
    wait_until(lambda: arrived(primary, secondary, "team/fresh"), message=lambda: fresh.log_text[-3000:])
    assert not any(arrived(primary, secondary, name) for name in old)

    # And the backfill is done by the other alone
    wait_until(lambda: all(arrived(primary, secondary, name) for name in old), 90, lambda: bulk.log_text[-3000:])
    wait_until(lambda: all(_synced(bulk, name) for name in old), message=lambda: bulk.log_text[-3000:])
    assert _synced(fresh, "team/fresh")
    assert not _synced(bulk, "team/fresh")
    assert not any(_synced(fresh, name) for name in old)

    # And verified by it too
    wait_until(
        lambda: all(stage.geo.row(name).verified_at is not None for name in (*old, "team/fresh")),
        message=lambda: bulk.log_text[-3000:],
    )


def _synced(worker: Process, repository: str) -> bool:
    """Whether this worker says that it has copied something of the repository."""
    lines = [json.loads(line) for line in worker.log_text.splitlines() if line.startswith("{")]
    return any(line.get("message") == "synced" and line["container_repository_name"] == repository for line in lines)


@pytest.mark.long
def test_a_worker_of_events_alone_reads_them_and_wakes_the_others(
    stage: Stage, primary: DistributionRegistry, secondary: DistributionRegistry
) -> None:
    # Given a worker for each kind, and no scheduler that could make up for a wake
    events = stage.worker("events", "--queues", "events")
    fresh = stage.worker("fresh", "--queues", "sync")

    # When something is pushed
    push(primary, "team/app", "v1", images.image())
    stage.geo.event("push", "team/app", "v1")
    stage.send()

    # Then the one reads the event, and the other copies
    wait_until(lambda: arrived(primary, secondary, "team/app"), timeout=10, message=lambda: fresh.log_text[-3000:])
    wait_until(lambda: _synced(fresh, "team/app"), message=lambda: fresh.log_text[-3000:])
    assert not _synced(events, "team/app")


def _rights() -> list[str]:
    """The rights of a user of Redis, as the page of settings gives them."""
    text = (ROOT / "docs/settings.md").read_text()
    found = re.search(r"^ACL SETUSER geo (.+)$", text, re.MULTILINE)
    assert found is not None
    return found[1].replace("PASSWORD", "hush").split()


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_rights_that_the_documentation_names_are_enough(
    tmp_path: Path,
    stub_broker: StubBroker,
    valkey: Valkey,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
) -> None:
    # Given a server on which we are a user with those rights alone
    with valkey.client() as admin:
        admin.execute_command("ACL", "SETUSER", "geo", "reset")
        admin.execute_command("ACL", "SETUSER", "geo", *_rights())
        admin.execute_command("ACL", "LOG", "RESET")
        try:
            url = f"redis://geo:hush@{valkey.host}/0"
            env = environment(primary, secondary, f"sqlite:///{tmp_path}/geo.db", REDIS_URL=url, WORKER_PROCESSES="1")
            with Stage(tmp_path, env) as stage:
                worker = stage.worker("worker")
                stage.run("scheduler", "scheduler")

                # When images are pushed, copied and verified
                for number in range(3):
                    push(primary, f"team/app{number}", "v1", images.image([os.urandom(2_000_000)]))
                    stage.geo.event("push", f"team/app{number}", "v1")
                stage.send()
                wait_until(
                    lambda: all(stage.geo.row(f"team/app{number}").verified_at for number in range(3)),
                    message=lambda: worker.log_text[-3000:],
                )

                # And the queue is asked and looked after, and somebody looks whether all is well
                _maintain(url)
                stage.run("check", "check").wait(60)

            # Then nothing was refused
            assert admin.execute_command("ACL", "LOG") == []
        finally:
            admin.execute_command("ACL", "DELUSER", "geo")


def _maintain(url: str) -> None:
    """What Dramatiq does now and then to the messages of dead workers."""
    from workers import redis_broker

    broker = redis_broker.build(url, [])
    broker.maintenance_chance = 1_000_000
    broker.declare_queue("sync")
    broker.do_fetch("sync", 1)
    broker.load("sync")
    broker.close()
    broker.client.close()


@pytest.mark.parametrize("names", ["sync,nothing", "", ","])
def test_a_queue_that_there_is_not_is_told(names: str) -> None:
    told = CliRunner().invoke(main, ["worker", "--queues", names])
    assert told.exit_code == 2
    assert "events, sync, backfill, verification" in told.output


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
