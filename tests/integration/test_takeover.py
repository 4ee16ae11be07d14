"""A worker that is killed, or stopped and continued, in the middle of a copy."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.models import SyncState
from app.replication.lease import TTL
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import environment
from tests.support.proxy import Proxy, Rule
from tests.support.registries import DistributionRegistry
from tests.support.stage import Stage, freeze, thaw
from tests.support.valkey import Valkey
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

#: Seconds after a worker's death in which its repository must be in order.
PROMISED = 90.0


@dataclass
class Theatre:
    """Two registries behind proxies, and a stage between them."""

    primary: DistributionRegistry
    secondary: DistributionRegistry
    source: Proxy
    target: Proxy
    stage: Stage

    def push(self, repository: str, tag: str) -> tuple[str, bytes]:
        """Push an image with an event in the log; its digest and its one large layer."""
        layer = os.urandom(2_000_000)
        digest = push(self.primary, repository, tag, images.image([layer]))
        self.stage.geo.event("push", repository, tag)
        return digest, layer

    def arrived(self, repository: str, tag: str) -> bool:
        return digest_of(self.secondary, repository, tag) == digest_of(self.primary, repository, tag)

    def state(self, repository: str) -> int:
        return self.stage.geo.row(repository).state


@pytest.fixture
def theatre(
    tmp_path: Path,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    valkey: Valkey,
    database_url: str,
) -> Iterator[Theatre]:
    with Proxy(primary) as source, Proxy(secondary) as target:
        env = environment(
            primary,
            secondary,
            database_url,
            GEO_REGISTRY_REPLICATION_PRIMARY_API_URL=source.url,
            GEO_SECONDARY_REGISTRY_URL=target.url,
            REDIS_URL=valkey.url,
            BROKER_URL=valkey.broker_url,
            WORKER_PROCESSES="1",
            WORKER_THREADS="2",
            LOG_FORMAT="json",
        )
        with Stage(tmp_path, env) as stage:
            yield Theatre(primary, secondary, source, target, stage)


def held(theatre: Theatre, layer: bytes, **options: float) -> Rule:
    """The first request for this blob meets this; those after it do not."""
    return theatre.source.rule(rf"GET .*/blobs/{images.sha256(layer)}", times=1, **options)


def test_a_killed_worker_is_taken_over_in_time(theatre: Theatre) -> None:
    # Given a worker in the middle of a copy
    stage = theatre.stage
    scheduler = stage.run("scheduler", "scheduler")
    first = stage.worker("first")
    _, layer = theatre.push("team/app", "v1")
    rule = held(theatre, layer, rate=50_000)
    stage.send()
    assert rule.arrived.wait(30), first.log_text
    wait_until(lambda: theatre.target.count("POST .*/blobs/uploads") > 0)

    # When it is killed with all its processes, and another is there
    first.kill()
    killed_at = time.monotonic()
    assert theatre.state("team/app") == SyncState.STARTED
    second = stage.worker("second")

    # Then the other has brought it to its end in time
    wait_until(
        lambda: theatre.state("team/app") == SyncState.SYNCED,
        timeout=PROMISED - (time.monotonic() - killed_at),
        message=lambda: second.log_text[-3000:] + scheduler.log_text[-2000:],
    )
    assert_same(theatre.primary, theatre.secondary, "team/app", "v1")
    assert stage.geo.row("team/app").retry_count == 0


def test_a_worker_that_was_stopped_writes_nothing_any_more(theatre: Theatre) -> None:
    # Given a worker that is stopped in the middle of a copy
    stage = theatre.stage
    stage.run("scheduler", "scheduler")
    first = stage.worker("first")
    old, layer = theatre.push("team/app", "v1")
    rule = held(theatre, layer, rate=200_000)
    stage.send()
    assert rule.arrived.wait(30), first.log_text
    freeze(first)

    # When another has taken over after the lease, and has copied a newer image under the same tag
    second = stage.worker("second")
    wait_until(
        lambda: theatre.state("team/app") == SyncState.SYNCED,
        timeout=TTL + 30,
        message=lambda: second.log_text[-3000:],
    )
    assert_same(theatre.primary, theatre.secondary, "team/app", "v1")
    new, _ = theatre.push("team/app", "v1")
    assert new != old
    stage.send()
    wait_until(lambda: theatre.arrived("team/app", "v1"), timeout=30, message=lambda: second.log_text[-3000:])
    wait_until(lambda: theatre.state("team/app") == SyncState.SYNCED)
    second.stop(20)
    theatre.target.clear()

    # And the first goes on, and is given all the time to end in good order
    thaw(first)
    assert first.stop(30) == 0, first.log_text

    # Then it has put no manifest and deleted none, and the newer image stands
    assert theatre.target.count("(PUT|DELETE) .*/manifests/") == 0
    assert theatre.state("team/app") == SyncState.SYNCED
    assert digest_of(theatre.secondary, "team/app", "v1") == new
    assert_same(theatre.primary, theatre.secondary, "team/app", "v1")
