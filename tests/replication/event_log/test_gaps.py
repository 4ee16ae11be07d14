"""Gaps: on PostgreSQL ids commit out of order, and no event may be skipped."""

from __future__ import annotations

import threading

import pytest

from app import database
from app.database import connection
from app.models import Cursor
from app.replication import cursor, event_log
from app.replication.event_log import Origin, Position
from tests.replication.event_log.stage import gaps, ids, insert, names, read_tags
from tests.support.deployment import Deployment, event
from tests.support.sessions import Session, at_once, undone

#: A thread that waits for another transaction waits for ever; a test that hangs fails soon.
pytestmark = pytest.mark.timeout(40)


def test_a_late_event_is_processed_when_it_commits_and_others_do_not_wait(postgresql: Deployment) -> None:
    with Session() as late:
        # Given an envelope that is being stored and does not end
        late.begin()
        insert(late, "late")

        # When others come after it
        postgresql.store(event(tag="v1"))
        postgresql.store(event(tag="v2"))

        # Then they are read at once
        assert read_tags(postgresql) == ["v1", "v2"]

        # And however often the cursor looks, it does not give up on the late one
        for number in range(5):
            postgresql.store(event(tag=f"w{number}"))
            assert read_tags(postgresql) == [f"w{number}"]
            assert read_tags(postgresql) == []

        # And when the late one commits, it is read
        late.commit()
        assert read_tags(postgresql) == ["late"]
    assert read_tags(postgresql) == []
    assert gaps(postgresql) == {}


def test_an_event_whose_transaction_began_after_that_of_a_higher_one_is_not_lost(postgresql: Deployment) -> None:
    with Session() as older, Session() as younger:
        # Given two transactions; the one that began last draws the lower id and ends last
        older.begin()
        older.execute("SELECT pg_current_xact_id()")
        younger.begin()
        insert(younger, "lower")
        insert(older, "higher")
        older.commit()

        # When the cursor looks while it is still open, more than once
        assert read_tags(postgresql) == ["higher"]
        assert read_tags(postgresql) == []
        assert read_tags(postgresql) == []

        # Then it is still seen when it commits
        younger.commit()
        assert read_tags(postgresql) == ["lower"]


def test_an_event_rolled_back_closes_its_gap(postgresql: Deployment) -> None:
    with Session() as failing:
        # Given a gap that a failing transaction leaves
        failing.begin()
        failing.do(lambda: postgresql.store(*(event(tag=f"x{number}") for number in range(3))))
        postgresql.store(event(tag="v1"))
        assert read_tags(postgresql) == ["v1"]
        assert len(gaps(postgresql)) == 3

        # When it rolls back
        failing.rollback()

    # Then the next look closes the gap
    assert read_tags(postgresql) == []
    assert gaps(postgresql) == {}


def test_a_gap_is_kept_only_while_somebody_can_still_fill_it(postgresql: Deployment) -> None:
    with Session() as other:
        # Given a transaction that has nothing to do with events and does not end
        other.begin()
        other.execute("SELECT pg_current_xact_id()")

        # When ids are drawn and never committed, again and again, after it began
        for number in range(5):
            with undone():
                postgresql.store(event(tag=f"undone{number}"))
            postgresql.store(event(tag=f"v{number}"))
            assert read_tags(postgresql) == [f"v{number}"]

        # Then as many are watched as can still appear
        assert len(gaps(postgresql)) == 5

        # And none once it has ended
        other.commit()
    assert read_tags(postgresql) == []
    assert gaps(postgresql) == {}


@pytest.mark.parametrize("committed", [True, False])
def test_a_gap_of_another_cluster_is_watched_anew(postgresql: Deployment, committed: bool) -> None:
    """As after the restore of a dump in a new cluster, whose transaction ids begin low."""
    with Session() as late:
        # Given a gap that somebody can still fill, and whose fence is above all transactions that there were
        late.begin()
        insert(late, "late")
        postgresql.store(event(tag="v1"))
        assert read_tags(postgresql) == ["v1"]
        (gap,) = gaps(postgresql)
        with connection():
            Cursor.update(gaps={gap: 10**12}).where(Cursor.site == postgresql.site).execute()

        # When the cursor looks, more than once, Then it does not give up on it
        assert read_tags(postgresql) == []
        assert read_tags(postgresql) == []
        assert gaps(postgresql).keys() == {gap}

        # And it is closed when that one ends, with its event or without
        late.commit() if committed else late.rollback()
    assert read_tags(postgresql) == (["late"] if committed else [])
    assert gaps(postgresql) == {}


def test_a_sequence_set_forward_stops_nothing(postgresql: Deployment) -> None:
    # Given event ids that leap, as after a restored backup or a failover
    postgresql.store(event(tag="v1"))
    assert read_tags(postgresql) == ["v1"]
    for number, leap in enumerate((9_000, 70_000, 99_999, 5_000_000)):
        with connection():
            database.database.execute_sql(
                "SELECT setval(pg_get_serial_sequence('geo_events', 'id'), (SELECT max(id) + %s FROM geo_events))",
                (leap,),
            )
        postgresql.store(event(tag=f"w{number}"))

        # When and then: the cursor reads on, and what it watches stays within bounds
        assert read_tags(postgresql) == [f"w{number}"]
        assert 0 < len(gaps(postgresql)) <= event_log.MAX_GAP
        assert read_tags(postgresql) == []
        assert gaps(postgresql) == {}


def test_many_gaps_can_be_watched_at_once(postgresql: Deployment) -> None:
    with Session() as other:
        # Given more missing ids than one statement has parameters for, while something long holds them all open
        other.begin()
        other.execute("SELECT pg_current_xact_id()")
        tags = []
        for number in range(8):
            with connection():
                database.database.execute_sql(
                    "SELECT setval(pg_get_serial_sequence('geo_events', 'id'), nextval("
                    "pg_get_serial_sequence('geo_events', 'id')) + %s)",
                    (event_log.MAX_GAP - 100,),
                )
            postgresql.store(event(tag=f"v{number}"))
            tags += read_tags(postgresql)

        # When the cursor looks again
        postgresql.store(event(tag="last"))
        tags += read_tags(postgresql)

        # Then nothing was lost
        assert tags == [*(f"v{number}" for number in range(8)), "last"]


def test_writers_at_once_and_a_cursor_lose_nothing(postgresql: Deployment) -> None:
    # Given writers that commit, and fail, in any order, while two cursors read
    writing = threading.Event()
    writing.set()
    read: list[int] = []

    def write(place: int) -> None:
        for number in range(40):
            with undone() if number % 7 == 3 else database.transaction():
                postgresql.store(event(tag=f"t{place}-{number}", repository=f"team/app{place}"))

    def act(place: int) -> None:
        if place < 6:
            write(place)
            return
        while writing.is_set():
            read.append(cursor.advance(postgresql.fresh_site()).events)

    # When all of them run at once
    readers = [threading.Thread(target=act, args=(number,)) for number in (6, 7)]
    for reader in readers:
        reader.start()
    at_once(6, act)
    writing.clear()
    for reader in readers:
        reader.join(20)
    read.append(postgresql.mark().events)

    # Then each event that was committed was read once
    assert sum(read) == len(ids()) == 6 * 34
    marked = {name for number in range(6) for name in postgresql.references(f"team/app{number}")}
    assert marked == set(names())
    postgresql.mark()
    assert gaps(postgresql) == {}


def test_an_event_whose_transaction_began_while_a_cursor_was_reading_is_not_lost(
    postgresql: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fence of a gap must be younger than every transaction that may have drawn the missing id."""
    state = postgresql
    state.store(event(tag="first"))
    with Session() as late, Session() as prompt:
        read = event_log.read

        def read_meanwhile(position: Position, limit: int = 200) -> event_log.Batch:
            # Given that, after a cursor has begun its step and before it reads, one writer draws an id and does not
            # commit, and another draws the next one and does
            if not started:
                started.append(True)
                late.begin()
                late.do(lambda: event_log.store([event(tag="late")], [], Origin("distribution", 0)))
                prompt.do(lambda: event_log.store([event(tag="prompt")], [], Origin("distribution", 0)))
            return read(position, limit)

        started: list[bool] = []
        monkeypatch.setattr(event_log, "read", read_meanwhile)

        # When the cursor steps, and looks again before the late one commits
        state.mark()
        state.mark()
        assert set(state.references("team/app")) == {"first", "prompt"}
        late.commit()

    # Then the late one is read when it is there
    state.mark()
    assert set(state.references("team/app")) == {"first", "late", "prompt"}
