"""The broker at a real Valkey: who waits is told of a message, and who serves a queue is known."""

from __future__ import annotations

from collections.abc import Iterator
from queue import Queue
from threading import Thread
from typing import Any
from unittest import mock

from dramatiq import Message
from dramatiq.broker import MessageProxy
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker

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

    # And one that has said nothing for a while is not counted any more
    key = "dramatiq:__serving__.sync"
    with mock.patch("app.attendance.time.time", return_value=2e9):
        assert sender.load("sync").threads == 0
    assert sender.client.zcard(key) == 0
    for broker in (here, there, sender):
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
