"""RabbitMQ as the queue: a real server, workers as processes, and a kill in between."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dramatiq import Message
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import BrokerConnectionError

from app.settings import Settings
from tests.support import images
from tests.support.deployment import environment, offline_environment
from tests.support.ports import free_port
from tests.support.rabbitmq import RabbitMQ
from tests.support.registries import DistributionRegistry
from tests.support.stage import Stage
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    with RabbitMQ(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server


def build(url: str) -> Any:
    from workers.broker import build

    return build(Settings.from_env(offline_environment("sqlite:///unused/geo.db", BROKER_URL=url)))


def test_a_queue_knows_what_waits_and_who_serves_it(stub_broker: StubBroker, server: RabbitMQ) -> None:
    # Given a queue that nobody has used yet
    broker = build(server.url)
    try:
        load = broker.load("sync")
        assert (load.waiting, load.under_way, load.threads) == (0, 0, 0)

        # When there are messages in it, and a worker that has fetched one
        for _ in range(3):
            broker.enqueue(Message("sync", "nobody", (), {}, {}))
        wait_until(lambda: broker.load("sync").waiting == 3)
        consumer = broker.consume("sync", prefetch=1, timeout=10)
        assert next(consumer) is not None

        # Then both are known: one process, of as many threads as ours
        wait_until(lambda: broker.load("sync").waiting == 2)
        assert broker.load("sync").threads == 8
        consumer.close()
    finally:
        broker.flush("sync")
        broker.close()


def test_a_wake_after_the_connection_was_cut_arrives(stub_broker: StubBroker, server: RabbitMQ) -> None:
    # Given a sender whose connection the server has closed meanwhile
    broker = build(server.url)
    try:
        broker.enqueue(Message("sync", "nobody", (), {}, {}))
        broker.connection._impl._transport._sock.shutdown(socket.SHUT_RDWR)

        # When it sends again, then the message is there
        broker.enqueue(Message("sync", "nobody", (), {}, {}))
        wait_until(lambda: server.waiting("sync") == 2)
    finally:
        broker.flush("sync")
        broker.close()


def test_a_server_that_is_not_there_is_told_quickly(stub_broker: StubBroker) -> None:
    broker = build(f"amqp://127.0.0.1:{free_port()}")
    with pytest.raises(BrokerConnectionError):
        broker.load("sync")
    with pytest.raises(BrokerConnectionError):
        broker.enqueue(Message("sync", "nobody", (), {}, {}))


def test_a_restart_loses_nothing_and_nothing_piles_up(
    tmp_path: Path,
    stub_broker: StubBroker,
    server: RabbitMQ,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
) -> None:
    # Given a worker and a scheduler with RabbitMQ between them, and no Redis
    env = environment(
        primary,
        secondary,
        f"sqlite:///{tmp_path}/geo.db",
        BROKER_URL=server.url,
        WORKER_PROCESSES="1",
        WORKER_THREADS="4",
        LOG_FORMAT="json",
    )
    with Stage(tmp_path, env) as stage:
        worker = stage.worker("worker")
        scheduler = stage.run("scheduler", "scheduler")

        def arrived(name: str) -> bool:
            return digest_of(secondary, name, "v1") == digest_of(primary, name, "v1")

        def pushed(name: str) -> None:
            push(primary, name, "v1", images.image())
            stage.geo.event("push", name, "v1")

        pushed("team/before")
        stage.send()
        wait_until(lambda: arrived("team/before"), message=lambda: worker.log_text[-3000:])

        # When the server is killed and comes back while things are pushed
        names = [f"team/app{number}" for number in range(6)]
        for number, name in enumerate(names):
            pushed(name)
            if number == 1:
                server.kill()
            if number == 4:
                server.start()

        # Then everything arrives, by the same processes
        wait_until(
            lambda: all(arrived(name) for name in names),
            timeout=60,
            message=lambda: worker.log_text[-3000:] + scheduler.log_text[-2000:],
        )
        assert worker.running
        assert scheduler.running

        # And the next push goes its way without waiting for the scheduler
        scheduler.stop()
        wait_until(lambda: _served(server), timeout=30, message=lambda: worker.log_text[-3000:])
        pushed("team/after")
        stage.send()
        wait_until(lambda: arrived("team/after"), timeout=10, message=lambda: worker.log_text[-3000:])

        # And while no worker is there, no more messages wait than twice its threads, however often one is asked for
        from workers.scheduler import INTERVAL

        worker.stop()
        scheduler = stage.run("scheduler", "again")
        for number in range(60):
            stage.geo.event("push", f"team/more{number}", "v1")
        wait_until(lambda: server.waiting("sync") >= 6, timeout=30, message=lambda: scheduler.log_text[-2000:])
        seen, ends = [], time.monotonic() + 5 * INTERVAL
        while time.monotonic() < ends:
            seen.append(server.waiting("sync"))
        assert max(seen) <= 2 * 4


def _served(server: RabbitMQ) -> bool:
    """Whether somebody reads the queue of events."""
    return server.consumers("events") > 0
