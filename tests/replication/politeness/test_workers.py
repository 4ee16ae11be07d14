"""Real workers, two processes with one limit, between real registries."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from app.database import connection
from app.models import SyncAttempt
from app.registry import Anonymous, RateLimited, RegistryClient
from app.replication.politeness import Gate, Terms
from app.replication.politeness.board import Board
from app.replication.politeness.throttle import Throttle
from app.replication.shared import Shared
from tests.registry.scripted import Handler, Request, Scripted
from tests.replication.politeness.counting import Counting
from tests.support import images
from tests.support.deployment import Deployment, environment
from tests.support.processes import Process
from tests.support.proxy import Proxy
from tests.support.registries import DistributionRegistry
from tests.support.stage import Stage
from tests.support.valkey import Valkey
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push

pytestmark = pytest.mark.timeout(180)

#: Seconds for which a registry asks to be left alone.
PAUSE = 4.0


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: the database has no part in this."""
    return f"sqlite:///{tmp_path / 'geo.db'}"


@dataclass
class Workers:
    """A worker command with two processes, its registries behind proxies, its caches in a server of their own."""

    primary: DistributionRegistry
    secondary: DistributionRegistry
    before_primary: Counting
    before_secondary: Counting
    caches: Valkey
    stage: Stage
    #: Of the repositories: the registries are shared with other tests.
    prefix: str

    def push(self, repositories: range, tags: int = 8) -> None:
        """Push so many repositories, with events in the log."""
        for number in repositories:
            for tag in range(tags):
                push(self.primary, self.name(number), f"v{tag}", images.image([images.layer(3_000)]))
                self.stage.geo.event("push", self.name(number), f"v{tag}")

    def name(self, number: int) -> str:
        return f"{self.prefix}-{number}"

    def arrived(self, repositories: range, tags: int = 8) -> bool:
        newest = f"v{tags - 1}"
        return not self.stage.geo.due() and all(
            digest_of(self.secondary, self.name(number), newest) is not None for number in repositories
        )

    def attempts(self) -> list[SyncAttempt]:
        with connection():
            return list(SyncAttempt.select())

    def board(self, stack: ExitStack, proxy: Proxy) -> Board:
        shared = Shared(self.caches.url)
        stack.callback(shared.close)
        return Board(shared, proxy.url.partition("://")[2], "test")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def workers(
    tmp_path: Path,
    stack: ExitStack,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    valkey: Valkey,
    database_url: str,
    repository: str,
) -> Workers:
    before_primary, before_secondary = (stack.enter_context(Counting(each)) for each in (primary, secondary))
    caches = stack.enter_context(Valkey(tmp_path / "caches"))
    env = environment(
        primary,
        secondary,
        database_url,
        GEO_REGISTRY_REPLICATION_PRIMARY_API_URL=before_primary.url,
        GEO_SECONDARY_REGISTRY_URL=before_secondary.url,
        REDIS_URL=caches.url,
        BROKER_URL=valkey.broker_url,
        WORKER_PROCESSES="2",
        WORKER_THREADS="3",
        LOG_FORMAT="json",
        # The registries are shared by all tests here, and a new site fills itself.
        GEO_REPOSITORIES=f"{repository}*",
    )
    stage = stack.enter_context(Stage(tmp_path, env))
    return Workers(primary, secondary, before_primary, before_secondary, caches, stage, repository)


def told_without_redis(worker: Process) -> set[int]:
    """The processes of the command that have said that they go on without Redis."""
    lines = [json.loads(line) for line in worker.log_text.splitlines() if line.startswith("{") and line.endswith("}")]
    return {line["pid"] for line in lines if line["message"].startswith("Redis does not answer")}


@pytest.mark.long
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_one_answer_stops_all_processes(workers: Workers, form: str) -> None:
    # Given two busy processes
    repositories = range(10)
    workers.push(repositories)
    source = workers.before_primary
    source.rule(".", delay=0.05)
    worker = workers.stage.worker("worker")
    workers.stage.run("scheduler", "scheduler")
    wait_until(lambda: source.count("GET .*manifests/v") > 20, message=lambda: worker.log_text[-3000:])

    # When the registry refuses a single request
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=PAUSE + 2), usegmt=True)
    headers = {"Retry-After": f"{PAUSE:g}" if form == "seconds" else later}
    rule = source.rule("manifests/v", status=429, times=1, headers=headers)
    assert rule.arrived.wait(20), worker.log_text[-3000:]
    refused = time.monotonic()

    # Then both are quiet: what had been sent has come within a moment, and then nothing does for as long as it asked
    wait_until(lambda: source.arrivals[-1] > refused + PAUSE - 0.3, timeout=30)
    between = [at - refused for at in source.arrivals if 1.0 < at - refused < PAUSE - 0.3]
    assert between == []

    # And everything arrives, and no reference counts as failed for it
    wait_until(lambda: workers.arrived(repositories), timeout=60, message=lambda: worker.log_text[-3000:])
    attempts = workers.attempts()
    assert [attempt.message for attempt in attempts if attempt.outcome != "synced"] == []
    assert len({attempt.worker for attempt in attempts}) == 2, "one of the processes did nothing"


@pytest.mark.long
def test_all_processes_together_keep_the_limit(workers: Workers, stack: ExitStack) -> None:
    # Given limits of three and four that do not grow
    repositories = range(6)
    workers.push(repositories)
    for proxy, limit in ((workers.before_primary, 3), (workers.before_secondary, 4)):
        proxy.rule(".", delay=0.02)
        workers.board(stack, proxy).change(lambda _, now, limit=limit: Throttle(limit, now, now + 3600))  # type: ignore[misc]

    # When two processes bring it
    worker = workers.stage.worker("worker")
    workers.stage.run("scheduler", "scheduler")
    wait_until(lambda: workers.arrived(repositories), timeout=90, message=lambda: worker.log_text[-3000:])

    # Then neither registry ever had more at once, and as many it had
    assert workers.before_primary.most == 3
    assert workers.before_secondary.most == 4
    attempts = workers.attempts()
    assert [attempt.message for attempt in attempts if attempt.outcome != "synced"] == []
    assert len({attempt.worker for attempt in attempts}) == 2, "one of the processes did nothing"


@pytest.mark.long
def test_without_redis_halfway_everything_arrives(workers: Workers, stack: ExitStack) -> None:
    # Given a limit, and workers who are busy
    repositories = range(10)
    workers.push(repositories)
    source = workers.before_primary
    source.rule(".", delay=0.02)
    workers.board(stack, source).change(lambda _, now: Throttle(4, now, now + 3600))
    worker = workers.stage.worker("worker")
    workers.stage.run("scheduler", "scheduler")
    wait_until(lambda: source.count("GET .*manifests/v") > 10, message=lambda: worker.log_text[-3000:])

    # When Redis is killed
    workers.caches.kill()
    wait_until(lambda: len(told_without_redis(worker)) == 2, message=lambda: worker.log_text[-3000:])
    # What was let through before has come when many times as many have come after it.
    known = len(source.arrivals)
    wait_until(lambda: len(source.arrivals) > known + 24, message=lambda: worker.log_text[-3000:])
    source.reset()

    # Then everything arrives, and each of the two keeps to its half
    wait_until(lambda: workers.arrived(repositories), timeout=90, message=lambda: worker.log_text[-3000:])
    assert [attempt.message for attempt in workers.attempts() if attempt.outcome != "synced"] == []
    assert source.most <= 4


# --- one process ------------------------------------------------------------------------------------------------------


@pytest.fixture
def sqlite_env(
    tmp_path: Path, primary: DistributionRegistry, secondary: DistributionRegistry, database_url: str
) -> dict[str, str]:
    return environment(primary, secondary, database_url)


def test_some_refusals_in_a_sync_are_no_failure(
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    sqlite_env: dict[str, str],
    repository: str,
    stack: ExitStack,
) -> None:
    # Given a registry that refuses two requests for a second each
    before = stack.enter_context(Proxy(primary))
    geo = Deployment.start({**sqlite_env, "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": before.url})
    stack.callback(geo.close)
    push(primary, repository, "v1", images.image())
    before.rule("GET .*(manifests|blobs)", status=429, times=2, headers={"Retry-After": "1"})

    # When it is synced
    geo.event("push", repository, "v1")
    geo.settle()

    # Then it arrived, and nothing failed
    assert digest_of(secondary, repository, "v1") == digest_of(primary, repository, "v1")
    assert [attempt.outcome for attempt in geo.attempts(repository)] == ["synced"]


def test_a_long_pause_puts_rows_off_and_blocks_nobody(
    primary: DistributionRegistry, sqlite_env: dict[str, str], repository: str, stack: ExitStack
) -> None:
    # Given a registry that asks for a quarter of an hour
    before = stack.enter_context(Proxy(primary))
    geo = Deployment.start({**sqlite_env, "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": before.url})
    stack.callback(geo.close)
    before.rule(".", status=429, headers={"Retry-After": "900"})
    push(primary, repository, "v1", images.image())
    push(primary, f"{repository}-b", "v1", images.image())
    geo.event("push", repository, "v1")
    geo.event("push", f"{repository}-b", "v1")

    # When a worker takes them up
    began = time.monotonic()
    geo.settle()

    # Then it is asked once, and both wait until then
    assert time.monotonic() - began < 10
    assert len(before.requests) == 1
    for name in (repository, f"{repository}-b"):
        row = geo.row(name)
        assert row.retry_at is not None
        assert 850 < (row.retry_at - datetime.now(UTC)).total_seconds() < 950
    reasons = {a.reason for name in (repository, f"{repository}-b") for a in geo.attempts(name)}
    assert reasons == {"too_many_requests", "rate_limited"}


def test_a_quota_below_the_floor_pauses_the_client() -> None:
    # Given Docker Hub's headers, with little left
    def script(handler: Handler, _: Request) -> None:
        handler.reply(200, b"{}", RateLimit_Limit="100;w=21600", RateLimit_Remaining="9;w=21600")

    gate = Gate("primary", Terms(floor=10), process="test")
    with Scripted(script) as registry, RegistryClient(registry.url, Anonymous(), limiter=gate) as client:
        # When it has said so once
        client.ping()

        # Then nothing more is sent
        with pytest.raises(RateLimited, match="pause for another 300 s") as raised:
            client.ping()
        assert raised.value.retry_after == pytest.approx(300, abs=2)
        assert len(registry.seen) == 1


@pytest.mark.long
@pytest.mark.parametrize("side", ["PRIMARY", "SECONDARY"])
def test_the_cap_on_bytes_holds(
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    sqlite_env: dict[str, str],
    repository: str,
    stack: ExitStack,
    side: str,
) -> None:
    # Given a cap of 4 MB/s, and 8 MB in four blobs
    geo = Deployment.start({**sqlite_env, f"GEO_{side}_REGISTRY_MAX_BYTES_PER_SECOND": "4M", "WORKER_PROCESSES": "1"})
    stack.callback(geo.close)
    push(primary, repository, "v1", images.image([images.layer(2_000_000) for _ in range(4)]))

    # When it is copied
    geo.event("push", repository, "v1")
    began = time.monotonic()
    geo.settle()

    # Then that took about two seconds, and not less
    assert digest_of(secondary, repository, "v1") == digest_of(primary, repository, "v1")
    assert time.monotonic() - began > 1.5


def test_a_cap_that_never_holds_costs_nothing(sqlite_env: dict[str, str], stack: ExitStack) -> None:
    geo = Deployment.start({**sqlite_env, "GEO_PRIMARY_REGISTRY_MAX_BYTES_PER_SECOND": "unlimited"})
    stack.callback(geo.close)
    assert geo.context.politeness is not None
    assert geo.context.politeness.meter(geo.context.settings.primary) is None
    assert geo.context.settings.secondary is not None
    assert geo.context.politeness.meter(geo.context.settings.secondary) is None
