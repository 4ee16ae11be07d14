"""Storing events on both databases: each once, an envelope whole."""

from __future__ import annotations

from datetime import timedelta

import peewee
import pytest

from app import database
from app.database import connection
from app.models import ContainerRepository
from app.replication import event_log
from app.replication.event_log import Stored
from tests.replication.event_log.stage import ids, names
from tests.support.deployment import Deployment, event
from tests.support.sessions import Session, at_once
from tests.support.wait import wait_until

#: A thread that waits for another transaction waits for ever; a test that hangs fails soon.
pytestmark = pytest.mark.timeout(40)


def test_each_event_is_stored_once_however_often_it_is_sent(state: Deployment) -> None:
    # Given an event that was stored
    first, second = event(tag="v1", key="a"), event(tag="v2", key="b")
    assert state.store(first) == Stored(accepted=1)

    # When it comes again, beside a new one
    stored = state.store(first, second)

    # Then only the new one is taken, and both are told apart
    assert stored == Stored(accepted=1, duplicate=1)
    assert names() == ["v1", "v2"]


def test_an_event_twice_in_one_envelope_is_stored_once(state: Deployment) -> None:
    assert state.store(event(tag="v1", key="a"), event(tag="v1", key="a")) == Stored(accepted=1, duplicate=1)
    assert names() == ["v1"]


def test_an_envelope_keeps_its_order(state: Deployment) -> None:
    tags = [f"v{number:03}" for number in range(50)]
    state.store(*(event(tag=tag) for tag in tags))
    assert names() == tags


def test_an_envelope_of_more_events_than_one_transaction_takes_is_stored_whole(state: Deployment) -> None:
    # Given more events than a webhook may keep others waiting for
    events = [event(tag=f"v{number}", key=f"e{number}") for number in range(1100)]

    # When they are stored, twice
    first, again = state.store(*events), state.store(*events)

    # Then each is there once
    assert first == Stored(accepted=1100)
    assert again == Stored(duplicate=1100)
    assert len(ids()) == 1100


def test_an_envelope_is_stored_whole_or_not_at_all(state: Deployment) -> None:
    # Given an envelope whose last event the database cannot take
    bad = event(tag="v2")
    object.__setattr__(bad, "action", None)

    # When it is stored
    with pytest.raises(peewee.IntegrityError):
        state.store(event(tag="v1"), bad)

    # Then nothing of it is there, not even its repository
    assert ids() == []
    with connection():
        assert ContainerRepository.select().count() == 0


def test_duplicates_use_up_no_ids(state: Deployment) -> None:
    # Given an event that a registry repeats a thousand times
    state.store(event(tag="v1", key="a"))
    for _ in range(20):
        state.store(*(event(tag="v1", key="a") for _ in range(50)))

    # When the next one comes
    state.store(event(tag="v2", key="b"))

    # Then its id follows, without a gap that the cursor would have to watch
    first, second = ids()
    assert second == first + 1


def test_senders_at_once_store_each_event_once(state: Deployment) -> None:
    # Given eight web threads that are sent overlapping stretches of the same events, of new repositories
    events = [event(tag=f"v{n}", repository=f"team/app{n % 5}", key=f"e{n}") for n in range(40)]

    def send(place: int) -> Stored:
        return state.store(*events[place * 5 :][:20])

    # When they store them at once
    stored = at_once(8, send)

    # Then each is there once, and the senders' counts add up
    assert len(ids()) == 40
    assert sum(each.accepted for each in stored) == 40
    assert sum(each.duplicate for each in stored) == 5 * 20 + 15 + 10 + 5 - 40
    with connection():
        assert ContainerRepository.select().count() == 5


def test_ids_never_repeat(state: Deployment, database_url: str) -> None:
    # Given a cursor that has read the only events, which were then pruned
    state.store(event(tag="v1"), event(tag="v2"))
    state.mark()
    highest = ids()[-1]
    assert event_log.prune(timedelta(seconds=-1)) == 2
    assert ids() == []

    # When the process starts anew and an event comes
    database.database.close_all()
    database.configure(database_url)
    state.store(event(tag="v3"))

    # Then its id is higher than any before, and the cursor sees it
    assert ids()[0] > highest
    assert state.mark().events == 1


def test_who_brings_the_same_events_in_another_order_costs_nobody_anything(postgresql: Deployment) -> None:
    # Given one who has written the second of two events, is about to write the first, and waits for longer before he
    # looks whether others wait for him
    one, two = event(tag="v1", key="a"), event(tag="v2", key="b")
    with Session() as other:
        other.begin()
        other.execute("SET LOCAL deadlock_timeout = '60s'")
        other.do(lambda: event_log.append([two]))

        # When another brings both as they came, and they wait for each other crosswise
        with Session() as ours:
            stored = ours.start(lambda: postgresql.store(one, two))
            wait_until(lambda: waiting() == 1)
            other.do(lambda: event_log.append([one]))
            other.commit()

            # Then each is told of what it wrote, and all is there once
            assert stored.result(20) == Stored(duplicate=2)
    assert sorted(map(str, names())) == ["v1", "v2"]


def waiting() -> int:
    """How many wait for a lock."""
    with connection():
        query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        return int(database.database.execute_sql(query).fetchone()[0])
