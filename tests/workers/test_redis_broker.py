"""The broker at a real Valkey: who waits is told of a message, and who serves a queue is known."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import pytest
import redis
from dramatiq import Message
from dramatiq.broker import MessageProxy
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker

from app import attendance
from tests.support.valkey import Valkey
from tests.support.wait import wait_until


def build(url: str) -> Any:
    from workers import redis_broker

    return redis_broker.build(url, [])


def _consumer(broker: RedisBroker, queue: str = "sync") -> Iterator[MessageProxy | None]:
    # As Dramatiq's own consumer thread does it, but with a poll that nobody could mistake for being told.
    return iter(broker.consume(queue, prefetch=1, timeout=60_000))


def _message(queue: str = "sync") -> Message[None]:
    return Message(queue_name=queue, actor_name="nobody", args=(), kwargs={}, options={})


def test_a_worker_is_told_of_a_message(stub_broker: StubBroker, valkey: Valkey) -> None:
    # Given a worker that waits for one
    broker = build(valkey.url)
    broker.declare_queue("sync")
    consumer = _consumer(broker)
    found: Queue[MessageProxy] = Queue()
    waiting = Thread(target=lambda: found.put(next(message for message in consumer if message is not None)))
    waiting.start()
    wait_until(lambda: int(broker.client.info("clients")["blocked_clients"]) == 1, message="nobody waits")

    # When there is one, then it has it, without another look
    sent = broker.enqueue(_message())
    assert found.get(timeout=20).message_id == sent.message_id
    waiting.join()
    broker.close()


def test_who_may_not_wait_looks_again(stub_broker: StubBroker, valkey: Valkey) -> None:
    # Given a Redis that refuses to be waited for
    broker = build(valkey.url)
    broker.client.execute_command("ACL", "SETUSER", "default", "-blmove")
    try:
        broker.declare_queue("sync")
        consumer = iter(broker.consume("sync", prefetch=1, timeout=10))

        # When nothing comes, and then something
        assert [next(consumer) for _ in range(3)] == [None, None, None]
        sent = broker.enqueue(_message())

        # Then it is found all the same
        message = next(message for message in consumer if message is not None)
        assert message.message_id == sent.message_id
    finally:
        broker.client.execute_command("ACL", "SETUSER", "default", "+blmove")
        broker.close()


def test_what_waits_longer_than_it_may_be_fetched_is_no_busy_loop(stub_broker: StubBroker, valkey: Valkey) -> None:
    # Given a worker that has as much as it may have, and more that waits
    broker = build(valkey.url)
    broker.declare_queue("sync")
    for _ in range(2):
        broker.enqueue(_message())
    consumer = iter(broker.consume("sync", prefetch=1, timeout=100))
    assert next(consumer) is not None

    # When it goes on for a while
    before = int(broker.client.info("commandstats").get("cmdstat_blmove", {}).get("calls", 0))
    assert next(consumer) is None

    # Then Redis was not asked
    assert int(broker.client.info("commandstats").get("cmdstat_blmove", {}).get("calls", 0)) == before
    broker.close()


def test_a_queue_knows_who_serves_it(stub_broker: StubBroker, valkey: Valkey) -> None:
    # Given two worker processes of different size, one of which serves verification alone
    here, there = build(valkey.url), build(valkey.url)
    for broker, queue, prefetch in ((here, "sync", 16), (there, "sync", 4), (there, "verification", 4)):
        consumer = iter(broker.consume(queue, prefetch=prefetch, timeout=10))
        next(consumer)

    # When somebody who sends asks, then he knows how many threads there are
    sender = build(valkey.url)
    assert [sender.load(queue).threads for queue in ("sync", "verification", "backfill")] == [10, 2, 0]

    # And one that has said nothing for a while is not counted any more, and forgotten by who goes on
    key = "dramatiq:__serving__.sync"
    for member in sender.client.zrange(key, 0, -1):
        sender.client.zincrby(key, -attendance.ABSENT - 1, member)
    assert sender.load("sync").threads == 0
    attendance.tell(there.client, "sync", "there", 2)
    assert sender.load("sync").threads == 2
    assert sender.client.zcard(key) == 1
    for broker in (here, there, sender):
        broker.close()


@pytest.mark.parametrize("ahead", [-3600, 3600])
def test_whose_clock_is_wrong_sees_the_others_and_is_seen(
    stub_broker: StubBroker, valkey: Valkey, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    # Given a worker
    here, there = build(valkey.url), build(valkey.url)
    attendance.tell(here.client, "sync", "here", 8)

    # When another comes on a machine whose clock is an hour off, and asks
    with monkeypatch.context() as elsewhere:
        real = time.time
        elsewhere.setattr(time, "time", lambda: real() + ahead)
        attendance.tell(there.client, "sync", "there", 2)
        seen = (there.load("sync").threads, attendance.serving(there.client, "sync"))

    # Then both see both
    assert seen == (10, 10)
    assert here.load("sync").threads == 10
    here.close()
    there.close()


def test_who_cannot_say_that_he_serves_says_it_later(
    stub_broker: StubBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a worker that says it each time, and a server whose memory is full
    monkeypatch.setattr(attendance, "EVERY", 0.0)
    with Valkey(tmp_path / "valkey") as valkey, valkey.client() as admin:
        broker = build(valkey.url)
        consumer = iter(broker.consume("verification", prefetch=4, timeout=10))
        admin.config_set("maxmemory", 1)
        with pytest.raises(redis.OutOfMemoryError):
            next(consumer)
        assert broker.load("verification").threads == 0

        # When there is room again, Then it is known of
        admin.config_set("maxmemory", 0)
        next(consumer)
        assert broker.load("verification").threads == 2

        # And likewise with a server that did not let it
        admin.flushall()
        admin.execute_command("ACL", "SETUSER", "default", "-time")
        next(consumer)
        admin.execute_command("ACL", "SETUSER", "default", "+time")
        assert broker.load("verification").threads == 0
        next(consumer)
        assert broker.load("verification").threads == 2
        broker.close()


def test_messages_are_counted_once(stub_broker: StubBroker, valkey: Valkey) -> None:
    # Given three messages, of which a worker has fetched two
    broker = build(valkey.url)
    broker.declare_queue("sync")
    for _ in range(3):
        broker.enqueue(_message())
    assert len(broker.do_fetch("sync", 2)) == 2

    # Then
    load = broker.load("sync")
    assert (load.waiting, load.under_way) == (1, 3)
    broker.close()
