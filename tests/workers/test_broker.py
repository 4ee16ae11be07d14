from __future__ import annotations

import pickle
from collections.abc import Iterator
from queue import Queue
from threading import Thread

import pytest
from dramatiq import DecodeError, JSONEncoder, Message, get_encoder
from dramatiq.broker import MessageProxy
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker

from app.settings import Settings
from tests.support.deployment import offline_environment
from tests.support.valkey import Valkey
from tests.support.wait import wait_until


def build(**env: str) -> RedisBroker | StubBroker:
    from workers.broker import build

    broker = build(Settings.from_env(offline_environment("sqlite:///unused/geo.db", **env)))
    assert isinstance(broker, (RedisBroker, StubBroker))
    return broker


@pytest.mark.parametrize(
    ("env", "database"),
    [
        ({"REDIS_URL": "redis://127.0.0.1:7/0"}, 1),
        ({"REDIS_URL": "redis://127.0.0.1:7"}, 1),
        ({"REDIS_URL": "redis://:secret@127.0.0.1:7/3?socket_keepalive=yes"}, 4),
        ({"REDIS_URL": "rediss://127.0.0.1:7/0"}, 1),
        ({"REDIS_URL": "unix:///run/valkey.sock?db=0"}, 1),
        ({"REDIS_URL": "unix:///run/valkey.sock"}, 1),
        ({"REDIS_URL": "redis://127.0.0.1:7/0", "BROKER_URL": "redis://127.0.0.1:8/0"}, 0),
    ],
)
def test_messages_are_in_another_database_than_the_caches(
    stub_broker: StubBroker, env: dict[str, str], database: int
) -> None:
    broker = build(**env)
    assert isinstance(broker, RedisBroker)
    options = broker.client.connection_pool.connection_kwargs
    assert options["db"] == database
    assert options.get("port", 7) == (8 if "BROKER_URL" in env else 7)
    if "secret" in env["REDIS_URL"]:
        assert options["password"] == "secret"


def test_without_a_queue_messages_stay_here(stub_broker: StubBroker) -> None:
    assert isinstance(build(), StubBroker)
    assert isinstance(build(BROKER_URL="stub://"), StubBroker)


def test_only_a_worker_waits_for_the_queue(stub_broker: StubBroker) -> None:
    # Given the broker as a web process has it
    broker = build(REDIS_URL="redis://127.0.0.1:7/0")
    assert isinstance(broker, RedisBroker)
    pool = broker.client.connection_pool
    assert _tries(broker) <= 1
    assert pool.connection_kwargs["socket_timeout"] <= 2

    # When it becomes a worker's
    from workers.middleware import Patience

    patience = next(one for one in broker.middleware if isinstance(one, Patience))
    patience.after_process_boot(broker)

    # Then it waits out a restart
    assert _tries(broker) >= 10


def _tries(broker: RedisBroker) -> int:
    retry = broker.client.get_retry()
    assert retry is not None
    return int(retry.get_retries())


def test_dramatiq_retries_delays_and_drops_nothing_by_itself(stub_broker: StubBroker) -> None:
    broker = build(REDIS_URL="redis://127.0.0.1:7/0")
    names = {type(one).__name__ for one in broker.middleware}
    assert not names & {"Retries", "AgeLimit", "TimeLimit", "Results"}


def _consumer(broker: RedisBroker, queue: str = "sync") -> Iterator[MessageProxy | None]:
    # As Dramatiq's own consumer thread does it, but with a poll that nobody could mistake for being told.
    return iter(broker.consume(queue, prefetch=1, timeout=60_000))


def _message(queue: str = "sync") -> Message[None]:
    return Message(queue_name=queue, actor_name="nobody", args=(), kwargs={}, options={})


def test_a_worker_is_told_of_a_message(stub_broker: StubBroker, valkey: Valkey) -> None:
    # Given a worker that waits for one
    broker = build(REDIS_URL=valkey.url)
    assert isinstance(broker, RedisBroker)
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
    broker = build(REDIS_URL=valkey.url)
    assert isinstance(broker, RedisBroker)
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
    broker = build(REDIS_URL=valkey.url)
    assert isinstance(broker, RedisBroker)
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


def test_what_is_queued_cannot_be_more_than_a_message(stub_broker: StubBroker) -> None:
    # Given the actors of a deployment
    import workers.events
    import workers.sync
    import workers.verification  # noqa: F401 - they declare them

    # Then messages are JSON: whoever writes to the queue has no code run by that
    assert isinstance(get_encoder(), JSONEncoder)
    with pytest.raises(DecodeError):
        get_encoder().decode(pickle.dumps({"actor_name": "process_events"}))

    # And there is nothing to ask for but a look at the database
    ours = {name for name, actor in stub_broker.actors.items() if actor.fn.__module__.startswith("workers.")}
    assert ours == {"process_events", "sync_repository", "verify_repository"}
