"""Reading the log: on from where it ended, and counting what is left."""

from __future__ import annotations

import pytest

from app import database
from app.database import connection
from app.models import Event
from app.replication import event_log
from app.replication.event_log import Position
from tests.replication.event_log.stage import ids
from tests.support.deployment import Deployment, event

#: A thread that waits for another transaction waits for ever; a test that hangs fails soon.
pytestmark = pytest.mark.timeout(40)


def test_reading_goes_on_where_it_ended(state: Deployment) -> None:
    # Given five events
    state.store(*(event(tag=f"v{number}") for number in range(5)))

    # When they are read two at a time
    seen: list[str | None] = []
    position = Position()
    for _ in range(4):
        with database.transaction():
            batch = event_log.read(position, 2)
        seen += [found.tag for found in batch.events]
        position = batch.position

    # Then each is seen once, in order
    assert seen == ["v0", "v1", "v2", "v3", "v4"]
    assert not batch.moved


def test_unread_counts_what_a_reader_has_not_seen(state: Deployment) -> None:
    state.store(event(tag="v1"), event(tag="v2"), event(tag="v3"))
    first = ids()[0]
    with connection():
        assert event_log.unread(Position(first)) == 2
        assert event_log.unread(Position(first + 2, {first: 1})) == 1


def test_of_a_long_log_the_ids_are_told_rather_than_counted(state: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a log of five events, one of which is gone
    state.store(*(event(tag=f"v{number}") for number in range(5)))
    first, second, *_ = ids()
    with connection():
        Event.delete().where(Event.id == second).execute()

        # When so many are counted one by one, then the number is exact
        assert (event_log.size(), event_log.unread(Position(0))) == (4, 4)

        # When that would be too many, then it is at most so many, and nothing is still nothing
        monkeypatch.setattr(event_log, "COUNTED", 2)
        assert (event_log.size(), event_log.unread(Position(0))) == (5, 5)
        assert event_log.unread(Position(first + 2)) == 2
        assert event_log.unread(Position(first + 4)) == 0
        Event.delete().execute()
        assert event_log.size() == 0
