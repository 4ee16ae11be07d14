"""The event log on both databases: each event once, none skipped."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import peewee
import pytest

from app import database
from app.database import connection
from app.models import ContainerRepository, Cursor, Event, QuarantinedEvent
from app.notifications import Quarantined
from app.replication import cursor, event_log
from app.replication.event_log import Origin, Position, Stored
from tests.support.deployment import Deployment, event, offline_environment
from tests.support.postgres import Postgres
from tests.support.sessions import Session, at_once, undone

#: A thread that waits for another transaction waits for ever; a test that hangs fails soon.
pytestmark = pytest.mark.timeout(40)

ORIGIN = Origin("distribution", 100)


@pytest.fixture
def postgresql(postgres: Postgres) -> Iterator[Deployment]:
    """A deployment on PostgreSQL alone: only there do ids commit out of order."""
    url = postgres.create_database()
    deployment = Deployment.start(offline_environment(url))
    # Given a known repository: two who make the same new one wait for each other, as they must.
    with database.transaction():
        event_log.repository_ids(["team/app"], database.now())
    try:
        yield deployment
    finally:
        deployment.close()
        postgres.drop_database(url)


def ids() -> list[int]:
    with connection():
        return [row.id for row in Event.select().order_by(Event.id)]


def names() -> list[str | None]:
    with connection():
        return [row.tag for row in Event.select().order_by(Event.id)]


# --- storing ----------------------------------------------------------------------------------------------------------


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


# --- quarantine -------------------------------------------------------------------------------------------------------


def test_what_cannot_be_read_is_kept_and_counted(state: Deployment) -> None:
    # Given an envelope with one good event and two of rubbish
    rubbish = [Quarantined("bad_event", '{"id": 1}'), Quarantined("bad_event", '{"id": 2}')]

    # When it is stored, and repeated by the registry
    first = event_log.store([event(tag="v1", key="a")], rubbish, ORIGIN)
    event_log.store([event(tag="v1", key="a")], rubbish, ORIGIN)

    # Then the rubbish is there once each, counted, and the good one too
    assert first == Stored(accepted=1, quarantined=2)
    with connection():
        kept = list(QuarantinedEvent.select().order_by(QuarantinedEvent.id))
    assert [row.occurrences for row in kept] == [2, 2]
    assert {row.excerpt for row in kept} == {'{"id": 1}', '{"id": 2}'}
    assert len(ids()) == 1


def test_the_same_rubbish_from_many_senders_is_counted_by_all(state: Deployment) -> None:
    rubbish = [Quarantined("bad_event", f'{{"id": {number}}}') for number in range(10)]

    def send(place: int) -> None:
        event_log.store([], [*rubbish[place:], *rubbish[:place]], ORIGIN)

    at_once(8, send)
    with connection():
        assert [row.occurrences for row in QuarantinedEvent.select()] == [8] * 10


def test_headers_of_any_length_do_not_keep_an_envelope_out(state: Deployment) -> None:
    origin = Origin("x" * 300, 5, content_type="y" * 3000, remote_address="z" * 3000)
    assert event_log.store([], [Quarantined("bad_event", "?")], origin) == Stored(quarantined=1)


# --- reading ----------------------------------------------------------------------------------------------------------


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


def read_tags(deployment: Deployment) -> list[str | None]:
    """What one look of the cursor reads, by tag."""
    with connection():
        before = Cursor.get(Cursor.site == deployment.site)
        position = Position(before.position, {int(gap): xmax for gap, xmax in before.gaps.items()})
    with database.transaction():
        tags = [found.tag for found in event_log.read(position).events]
    cursor.advance(deployment.fresh_site())
    return tags


def insert(session: Session, tag: str) -> None:
    """Store an event in the transaction that is open in `session`.

    Not by `store`: nested, it would make a savepoint, whose transaction id of its own hides what is to be tested.
    """
    session.do(lambda: event_log.append([event(tag=tag)]))


def gaps(deployment: Deployment) -> dict[str, int]:
    with connection():
        known: dict[str, int] = Cursor.get(Cursor.site == deployment.site).gaps
        return known


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


# --- pruning ----------------------------------------------------------------------------------------------------------


def test_pruning_keeps_what_a_site_has_not_read(state: Deployment) -> None:
    # Given two events read and one not
    state.store(event(tag="v1"), event(tag="v2"))
    state.mark()
    state.store(event(tag="v3"))

    # When everything old enough is pruned, and all is
    event_log.prune(timedelta(seconds=-1))

    # Then the unread one stays
    assert names() == ["v3"]


def test_pruning_keeps_what_is_young_and_goes_by_portions(state: Deployment) -> None:
    state.store(*(event(tag=f"v{number}") for number in range(5)))
    state.mark()
    assert event_log.prune(timedelta(hours=1)) == 0
    assert event_log.prune(timedelta(seconds=-1), limit=3) == 3
    assert names() == ["v3", "v4"]


def test_pruning_keeps_what_comes_after_a_gap(postgresql: Deployment) -> None:
    with Session() as late:
        # Given a cursor that has read beyond an event that is not committed yet
        late.begin()
        insert(late, "late")
        postgresql.store(event(tag="v1"))
        assert read_tags(postgresql) == ["v1"]

        # When the log is pruned
        event_log.prune(timedelta(seconds=-1))
        late.commit()

    # Then the late event is still read
    assert read_tags(postgresql) == ["late"]


def test_without_a_site_everything_old_is_pruned(state: Deployment) -> None:
    with connection():
        Cursor.delete().execute()
    state.store(event(tag="v1"))
    assert event_log.prune(timedelta(seconds=-1)) == 1


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
