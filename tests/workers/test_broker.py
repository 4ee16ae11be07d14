from __future__ import annotations

import pickle

import pytest
from dramatiq import DecodeError, JSONEncoder, get_encoder
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker

from app.settings import Settings
from tests.support.deployment import offline_environment


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
        ({"REDIS_URL": "redis+sentinel://127.0.0.1:7,127.0.0.1:9/mymaster/2"}, 3),
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
    assert ours == {"process_events", "sync_repository", "backfill_repositories", "verify_repository"}
