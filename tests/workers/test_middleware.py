from __future__ import annotations

import re
import signal
from collections.abc import Iterator

import pytest
from dramatiq import Message
from dramatiq.broker import MessageProxy
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import SkipMessage

from app import correlation
from app.replication import work
from app.settings import Settings
from tests.support.deployment import Deployment, offline_environment
from tests.support.schema import migrated_further
from tests.support.wait import wait_until


@pytest.fixture
def heard(stub_broker: StubBroker) -> Iterator[list[int]]:
    """What reached the handler that Dramatiq would have installed."""
    before = signal.getsignal(signal.SIGTERM)
    heard: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    yield heard
    signal.signal(signal.SIGTERM, before)


def test_signals_that_come_together_count_once(
    heard: list[int], stub_broker: StubBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given
    from workers.middleware import FirstSignalOnly

    FirstSignalOnly().after_process_boot(stub_broker)

    # When a group and a parent both say it
    for _ in range(3):
        signal.raise_signal(signal.SIGTERM)

    # Then it was said once
    assert heard == [signal.SIGTERM]

    # And much later it means "at once"
    monkeypatch.setattr(FirstSignalOnly, "TOGETHER", 0.0)
    signal.raise_signal(signal.SIGTERM)
    wait_until(lambda: len(heard) == 2)


def test_a_message_runs_for_the_occasion_of_whoever_sent_it(stub: StubBroker) -> None:
    # Given the middleware, and messages of somebody, of nobody, and of somebody who sends nonsense
    from workers.middleware import Occasion

    occasion = Occasion()
    seen = []
    for sent in ("an-id", None, "no id\n"):
        message = MessageProxy(Message("events", "process_events", (), {}, {"correlation_id": sent}))

        # When they are processed
        occasion.before_process_message(stub, message)
        seen.append(correlation.current())
        assert correlation.job() == message.message_id
        occasion.after_process_message(stub, message)

        # Then nothing is left of them
        assert (correlation.current(), correlation.job()) == (None, None)
    assert seen[0] == "an-id"
    assert all(re.fullmatch("[0-9a-f]{32}", id_ or "") for id_ in seen[1:])


def test_nothing_is_done_with_a_schema_of_another_version(stub: StubBroker, state: Deployment) -> None:
    # Given a worker, and a schema that a newer version has migrated
    from workers.middleware import Occasion, OwnSchema

    stub.middleware[:0] = [Occasion(), own := OwnSchema()]
    message = MessageProxy(Message("events", "process_events", (), {}, {}))
    with migrated_further():
        # When a message comes, Then it is passed over, and nothing is left of it
        with pytest.raises(SkipMessage):
            stub.emit_before("process_message", message)
        stub.emit_after("skip_message", message)
        assert (correlation.current(), correlation.job()) == (None, None)

        # And whoever is at it already takes nothing more
        state.event("push", "team/app", "v1")
        state.mark()
        assert work.run_due(state.context) == 0
        assert state.row("team/app").attempts == 0

    # And when the schema is ours again, messages are processed
    own.before_process_message(stub, message)
    del stub.middleware[:2]
    assert work.run_due(state.context) == 1


def test_every_broker_runs_messages_so() -> None:
    from workers.broker import build
    from workers.middleware import Occasion, OwnSchema

    for url in ("redis://127.0.0.1:1/0", "amqp://127.0.0.1:1"):
        try:
            broker = build(Settings.from_env(offline_environment("sqlite:///unused/geo.db", BROKER_URL=url)))
        except ImportError:
            continue  # the driver of RabbitMQ is not installed
        # First, so that what the others say when a message fails is still of its occasion.
        assert isinstance(broker.middleware[0], Occasion)
        assert isinstance(broker.middleware[1], OwnSchema)


def test_a_wake_carries_the_id_of_whoever_asked_for_it(stub: StubBroker) -> None:
    # Given
    from workers.wake import QueueWake

    wake = QueueWake(Settings.from_env(offline_environment("sqlite:///unused/geo.db")))

    # When somebody asks, and then somebody of no occasion
    with correlation.bound("an-id"):
        wake.events()
    assert wake.join(10)
    wake.rows(1)
    assert wake.join(10)

    # Then each message says so
    sent = {name: Message.decode(stub.queues[name].get(timeout=5)) for name in ("events", "sync")}
    assert [sent[name].options.get("correlation_id") for name in ("events", "sync")] == ["an-id", None]
