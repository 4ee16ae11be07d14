"""Wakes at a real Valkey: how many are sent, and what happens when it is away."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from dramatiq import Broker, Message
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import Middleware

from app.settings import Settings
from tests.support.deployment import offline_environment
from tests.support.ports import free_port
from tests.support.sessions import at_once
from tests.support.valkey import Valkey


def settings(broker_url: str, threads: int = 8, processes: int = 1) -> Settings:
    return Settings.from_env(
        offline_environment(
            "sqlite:///unused/geo.db",
            BROKER_URL=broker_url,
            WORKER_THREADS=str(threads),
            WORKER_PROCESSES=str(processes),
        )
    )


class Gate(Middleware):
    """Lets messages out only while it is open."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()

    def before_enqueue(self, broker: Broker, message: Message[Any], delay: int | None) -> None:
        assert self.open.wait(20)


class Wiring:
    """The actors, sending to a broker of the test's own."""

    def __init__(self, broker: RedisBroker) -> None:
        self.broker = broker
        self.gate = Gate()
        broker.add_middleware(self.gate)

    def sent(self, queue: str) -> int:
        return int(self.broker.client.hlen(f"dramatiq:{queue}.msgs"))


@pytest.fixture
def wiring(stub_broker: StubBroker, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wiring]:
    yield from _wire(valkey.broker_url, monkeypatch)


def _wire(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wiring]:
    from workers import backfill_repositories, process_events, sync_repository
    from workers.broker import build

    broker = build(settings(url))
    assert isinstance(broker, RedisBroker)
    for actor in (process_events, sync_repository, backfill_repositories):
        broker.declare_queue(actor.queue_name)
        monkeypatch.setattr(actor, "broker", broker)
    yield Wiring(broker)
    broker.close()
    broker.client.close()


def make_wake(limits: Settings) -> Any:
    from workers.wake import QueueWake

    return QueueWake(limits)


def test_a_wake_is_a_message(wiring: Wiring) -> None:
    # When
    wake = make_wake(settings("stub://"))
    wake.events()
    wake.rows(3)

    # Then
    assert wake.join(10)
    assert wiring.sent("events") == 1
    assert wiring.sent("sync") == 3


def test_what_is_asked_for_meanwhile_is_one_message(wiring: Wiring) -> None:
    # Given a queue that is slow to take the first
    wake = make_wake(settings("stub://"))
    wiring.gate.open.clear()
    wake.events()

    # When a thousand more are asked for, by many at once
    at_once(10, lambda _: [wake.events() for _ in range(100)])
    wiring.gate.open.set()

    # Then they are one message, and nobody waited
    assert wake.join(10)
    assert wiring.sent("events") == 2


def test_no_more_are_under_way_than_twice_the_threads(wiring: Wiring) -> None:
    # Given many rows, and many who ask
    limits = settings("stub://", threads=3, processes=2)
    wakes = [make_wake(limits) for _ in range(4)]
    for wake in wakes:
        wake.rows(100_000)
        assert wake.join(10)

    # When they go on asking
    for _ in range(5):
        for wake in wakes:
            wake.rows(100_000)
            wake.events()
            assert wake.join(10)

    # Then nearly all room is used and no more
    assert 11 <= wiring.sent("sync") <= 12
    assert 1 <= wiring.sent("events") <= 12


def test_a_backfill_wakes_the_threads_that_may_take_it(wiring: Wiring) -> None:
    # Given two processes of three threads, each of which keeps one for what is pushed
    limits = settings("stub://", threads=3, processes=2)
    wake = make_wake(limits)

    # When there is more to do than they can, and one of them is at it
    wake.bulk(100, busy=1)
    assert wake.join(10)

    # Then the others are woken
    assert wiring.sent("backfill") == 3
    assert wiring.sent("sync") == 0

    # And a few although all seem busy: a dead worker's rows count for a while
    wiring.broker.client.delete("dramatiq:backfill", "dramatiq:backfill.msgs")
    wake.bulk(100, busy=50)
    assert wake.join(10)
    assert wiring.sent("backfill") == 2


def test_workers_on_other_machines_are_woken_too(wiring: Wiring) -> None:
    # Given three workers of eight threads, and a sender whose own settings know of one
    limits = settings("stub://", threads=8, processes=1)
    for number in range(3):
        wiring.broker.client.zadd("dramatiq:__serving__.sync", {f"worker{number}:8": time.time()})

    # When
    wake = make_wake(limits)
    wake.rows(1000)
    assert wake.join(10)

    # Then all of them are
    assert wiring.sent("sync") == 3 * 16 - 1


def test_messages_of_a_dead_worker_do_not_keep_others_from_being_woken(wiring: Wiring) -> None:
    # Given a worker that fetched as much as it may, and will never say anything again
    limits = settings("stub://", threads=2, processes=1)
    wake = make_wake(limits)
    wake.rows(100)
    assert wake.join(10)
    fetched = wiring.broker.do_fetch("sync", 100)
    assert len(fetched) == 3

    # When rows are due
    for _ in range(3):
        wake.rows(100)
        assert wake.join(10)

    # Then one wake waits for whoever is there
    assert wiring.broker.client.llen("dramatiq:sync") == 1
    assert wiring.sent("sync") == 4


def test_a_wake_without_a_queue_is_dropped_and_the_next_is_not(
    stub_broker: StubBroker, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Given a queue that is down
    with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        for wiring in _wire(server.broker_url, monkeypatch):
            server.stop()
            wake = make_wake(settings("stub://"))

            # When
            wake.events()
            wake.rows(1)

            # Then it is given up soon, with nothing left to send
            assert wake.join(10)
            server.start()
            assert wiring.sent("events") == 0

            # And one that is asked for later arrives
            wake.events()
            assert wake.join(10)
            assert wiring.sent("events") == 1


@pytest.mark.long
def test_a_queue_that_never_answers_keeps_nobody_waiting(
    stub_broker: StubBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a queue that takes connections and says nothing
    with socket.create_server(("127.0.0.1", 0)) as hole:
        for _ in _wire(f"redis://127.0.0.1:{hole.getsockname()[1]}/1", monkeypatch):
            wake = make_wake(settings("stub://"))

            # Then asking takes no time
            started = time.monotonic()
            for _ in range(1000):
                wake.events()
                wake.rows(5)
            assert time.monotonic() - started < 0.5
            assert not wake.join(0.01)

            # And the thread that sends gives up
            assert wake.join(30)


def test_without_any_broker_messages_do_not_pile_up(stub: StubBroker) -> None:
    # Given a process without REDIS_URL, whose messages nobody reads
    limits = settings("stub://", threads=2, processes=1)
    wake = make_wake(limits)

    # When it wakes as often as there are pushes
    for _ in range(50):
        wake.events()
        wake.rows(10)
        assert wake.join(10)

    # Then it keeps no more than a few
    assert stub.queues["events"].qsize() <= 4
    assert stub.queues["sync"].qsize() <= 4


def test_a_port_that_nobody_listens_on_is_noticed_quickly(
    stub_broker: StubBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in _wire(f"redis://127.0.0.1:{free_port()}/1", monkeypatch):
        wake = make_wake(settings("stub://"))
        wake.events()
        assert wake.join(2)
