from __future__ import annotations

from collections.abc import Iterator

import pytest
from dramatiq.brokers.stub import StubBroker

from app.deployment import QUEUES
from app.replication.work import Reach


@pytest.fixture(autouse=True)
def _all_again(stub_broker: StubBroker) -> Iterator[None]:
    from workers import queues

    yield
    queues.serve(None)


@pytest.mark.parametrize(
    ("served", "reach"),
    [
        (None, Reach.ALL),
        (QUEUES, Reach.ALL),
        ({"sync", "backfill"}, Reach.ALL),
        ({"events", "sync"}, Reach.FRESH),
        ({"backfill", "verification"}, Reach.BULK),
        ({"events"}, None),
        ({"verification"}, None),
    ],
)
def test_what_a_process_takes_up_is_what_it_serves(served: set[str] | None, reach: Reach | None) -> None:
    from workers import queues

    queues.serve(served)
    assert queues.reach() is reach


def test_no_more_messages_are_taken_than_there_are_threads_for(stub_broker: StubBroker) -> None:
    from workers import queues

    # Given a worker of eight threads, then it takes as many, and of a backfill what it keeps no thread from
    assert [queues.prefetch(name, queues.threads(16)) for name in QUEUES] == [8, 8, 7, 8]

    # And one that is for the backfill keeps none
    queues.serve({"backfill"})
    assert queues.prefetch("backfill", 8) == 8
    queues.serve(None)
    assert queues.prefetch("backfill", 1) == 1


def test_every_actor_has_a_queue_that_a_worker_can_be_told_of(stub_broker: StubBroker) -> None:
    import workers  # noqa: F401 - it declares them

    ours = {actor.queue_name for actor in stub_broker.actors.values() if actor.fn.__module__.startswith("workers.")}
    assert ours == set(QUEUES)
