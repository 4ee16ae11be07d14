from __future__ import annotations

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker


@pytest.mark.parametrize(
    ("waiting", "under_way", "room"),
    [(0, 0, 15), (1, 1, 14), (3, 15, 0), (1, 15, 0), (0, 15, 1), (0, 16, 1), (1, 400, 0), (0, 400, 1)],
)
def test_room(stub_broker: StubBroker, waiting: int, under_way: int, room: int) -> None:
    from workers.load import Load

    assert Load(waiting, under_way).room(16) == room


def test_a_broker_that_cannot_tell_has_nothing_under_way(stub: StubBroker) -> None:
    from workers.load import Load, load

    class Silent(dramatiq.Broker):
        pass

    assert load(Silent(middleware=[]), "sync") == Load()


def test_in_memory_it_is_counted(stub: StubBroker) -> None:
    from workers import sync_repository
    from workers.load import load

    sync_repository.send()
    assert (load(stub, "sync").waiting, load(stub, "sync").under_way) == (1, 1)
