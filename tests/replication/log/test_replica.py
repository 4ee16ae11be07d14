"""The log read on a real streaming standby: nothing is lost, though a standby draws no transaction ids."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import peewee
import pytest

from app import database
from app.database import connection
from app.models import ContainerRepository, Event, LogState, Site
from app.replication import event_log
from app.replication.log import LogUnavailable, Reading
from app.replication.log import state as log_state
from app.replication.log.local import LocalLog
from app.replication.log.position import UNFENCED, Position
from app.replication.log.replica import ReplicaLog
from tests.support.deployment import Deployment, event, offline_environment
from tests.support.postgres import Postgres
from tests.support.sessions import Session, at_once, undone
from tests.support.standby import Standby

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[Postgres, Standby]]:
    with Postgres() as primary, Standby(primary) as standby:
        yield primary, standby


@pytest.fixture
def standby(cluster: tuple[Postgres, Standby]) -> Standby:
    return cluster[1]


@pytest.fixture
def primary(cluster: tuple[Postgres, Standby]) -> Iterator[Deployment]:
    """A deployment on the primary, with one known repository."""
    deployment = Deployment.start(offline_environment(cluster[0].create_database()))
    with database.transaction():
        event_log.repository_ids(["team/app"], database.now())
    with connection():
        log_state.set_fence()
        log_state.state()
    try:
        yield deployment
    finally:
        deployment.close()


@pytest.fixture
def replica(primary: Deployment, standby: Standby) -> Iterator[ReplicaLog]:
    standby.replayed()
    log = ReplicaLog(standby.url(primary.context.settings.database_url.value), primary.site.name)
    try:
        yield log
    finally:
        log.close()


class Reader:
    """Reads on from where it was."""

    def __init__(self, log: ReplicaLog) -> None:
        self.log = log
        self.position = log.read(None, limit=100).position

    def tags(self) -> list[str | None]:
        reading = self.read()
        assert reading.reset is None
        return [found.tag for found in reading.events]

    def read(self) -> Reading:
        reading = self.log.read(self.position, limit=100)
        self.position = reading.position
        return reading

    @property
    def gaps(self) -> dict[int, int]:
        return dict(Position.decode(self.position).gaps)


def fence() -> None:
    with connection():
        log_state.set_fence()


def insert(session: Session, tag: str) -> None:
    session.do(lambda: event_log.append([event(tag=tag)]))


def draw() -> int:
    """An event id, nothing more."""
    row = database.database.execute_sql("SELECT nextval(pg_get_serial_sequence('geo_events', 'id'))").fetchone()
    return int(row[0])


def write_as(id_: int, tag: str) -> None:
    """Store an event under an id that was drawn before."""
    repository = ContainerRepository.get(ContainerRepository.path == "team/app")
    values = {"id": id_, "event_key": tag, "container_repository": repository, "action": "push", "tag": tag}
    Event.insert(**values, occurred_at=database.now(), created_at=database.now()).execute()


def test_events_are_read_as_they_are_replayed(primary: Deployment, standby: Standby, replica: ReplicaLog) -> None:
    # Given a reader at the end of the log
    reader = Reader(replica)
    assert reader.tags() == []

    # When events are stored on the primary, while the standby replays nothing
    standby.hold()
    try:
        primary.store(event(tag="v1"), event(tag="v2"))
        assert reader.tags() == []
    finally:
        standby.let_go()
    standby.replayed()

    # Then they are there once it does
    assert reader.tags() == ["v1", "v2"]
    assert reader.tags() == []


def test_a_late_event_is_neither_lost_nor_waited_for(
    primary: Deployment, standby: Standby, replica: ReplicaLog
) -> None:
    reader = Reader(replica)
    with Session() as late:
        # Given an envelope that is being stored and does not end
        late.begin()
        insert(late, "late")

        # When others come after it
        primary.store(event(tag="v1"))
        standby.replayed()

        # Then they are read at once, and the gap has no fence before the primary has written one down
        assert reader.tags() == ["v1"]
        assert set(reader.gaps.values()) == {UNFENCED}
        fence()
        standby.replayed()
        assert reader.tags() == []
        assert UNFENCED not in reader.gaps.values()

        # And however often it looks, it does not give up on the late one
        for number in range(5):
            primary.store(event(tag=f"w{number}"))
            fence()
            standby.replayed()
            assert reader.tags() == [f"w{number}"]
        assert len(reader.gaps) == 1

        # And when it commits, it is read
        late.commit()
        standby.replayed()
        assert reader.tags() == ["late"]
    assert reader.gaps == {}


def test_a_transaction_older_than_its_number_tells_is_not_lost(
    primary: Deployment, standby: Standby, replica: ReplicaLog
) -> None:
    """What the standby has seen so far of running transactions is no fence: this one has written nothing yet."""
    reader = Reader(replica)
    with Session() as older, Session() as younger:
        # Given two transactions; the one that began last draws the lower id and ends last
        older.begin()
        older.execute("SELECT pg_current_xact_id()")
        younger.begin()
        younger.execute("SELECT pg_current_xact_id()")
        lower = younger.do(draw)
        insert(older, "higher")
        older.commit()
        standby.replayed()

        # When the standby is read while it is still open, again and again, with fences
        assert reader.tags() == ["higher"]
        for _ in range(3):
            primary.store(event(tag="more"))
            fence()
            standby.replayed()
            assert reader.tags() == ["more"]

        # Then its gap is still open, and what it writes at last is read
        assert list(reader.gaps) == [lower]
        younger.do(lambda: write_as(lower, "lower"))
        younger.commit()
    standby.replayed()
    assert reader.tags() == ["lower"]
    assert reader.gaps == {}


def test_an_event_rolled_back_closes_its_gap(primary: Deployment, standby: Standby, replica: ReplicaLog) -> None:
    reader = Reader(replica)
    with undone():
        primary.store(event(tag="undone"))
    primary.store(event(tag="v1"))
    standby.replayed()
    assert reader.tags() == ["v1"]
    assert len(reader.gaps) == 1
    fence()
    # Something has to be written after the fence for the standby to know that its transaction has ended.
    primary.store(event(tag="v2"))
    standby.replayed()
    assert reader.tags() == ["v2"]
    assert reader.tags() == []
    assert reader.gaps == {}


def test_a_gap_of_another_cluster_is_closed(primary: Deployment, standby: Standby, replica: ReplicaLog) -> None:
    """As after the restore of a dump in a new cluster, whose transaction ids begin low."""
    # Given a gap, and a fence that is above all transactions that there were
    reader = Reader(replica)
    with undone():
        primary.store(event(tag="undone"))
    primary.store(event(tag="v1"))
    fence()
    with connection():
        LogState.update(fence=10**12).execute()
    standby.replayed()
    assert reader.tags() == ["v1"]
    assert set(reader.gaps.values()) == {10**12}

    # When the log goes on, Then it is closed
    for tag in ("v2", "v3"):
        primary.store(event(tag=tag))
        fence()
        primary.store(event(tag="more"))
        standby.replayed()
        assert reader.tags() == [tag, "more"]
    assert reader.gaps == {}


def test_an_event_that_is_not_replayed_yet_is_no_rewritten_log(
    primary: Deployment, standby: Standby, replica: ReplicaLog
) -> None:
    reader = Reader(replica)
    with Session() as late:
        # Given a standby that has replayed an event, and not yet the one before, which was committed after it
        late.begin()
        insert(late, "late")
        primary.store(event(tag="v1"))
        standby.replayed()
        standby.hold()
        try:
            late.commit()

            # When a reader comes who has read on the primary up to the one that is missing
            with connection():
                site = Site.get(~Site.primary)
            elsewhere = LocalLog(site.id).read(reader.position, limit=1)
            assert [found.tag for found in elsewhere.events] == ["late"]
            found = replica.read(elsewhere.position, limit=10)
        finally:
            standby.let_go()

    # Then it is read on
    assert (found.reset, [each.tag for each in found.events]) == (None, ["v1"])


def test_writers_at_once_and_a_reader_of_the_standby_lose_nothing(
    primary: Deployment, standby: Standby, replica: ReplicaLog
) -> None:
    # Given writers that commit, and fail, in any order, while fences are written and the standby is read
    reader = Reader(replica)
    writing = threading.Event()
    read: list[str | None] = []

    def write(place: int) -> None:
        for number in range(40):
            with undone() if number % 7 == 3 else database.transaction():
                primary.store(event(tag=f"t{place}-{number}", repository=f"team/app{place}"))

    def follow() -> None:
        while not writing.is_set():
            read.extend(reader.tags())
            fence()

    following = threading.Thread(target=follow)
    following.start()
    at_once(6, write)
    writing.set()
    following.join(30)
    fence()
    primary.store(event(tag="last"))
    standby.replayed()
    while tags := reader.tags():
        read.extend(tags)

    # Then each event that was committed was read once
    with connection():
        stored = [row.tag for row in Event.select()]
    assert sorted(filter(None, read)) == sorted(filter(None, stored))
    assert len(stored) == 6 * 34 + 1


def test_waiting_ends_when_an_event_is_replayed(primary: Deployment, standby: Standby, replica: ReplicaLog) -> None:
    # Given a reader that waits
    start = replica.read(None, limit=10).position
    found: list[Reading] = []
    waiting = threading.Thread(target=lambda: found.append(replica.read(start, limit=10, wait=30)))
    waiting.start()

    # When an event comes
    primary.store(event(tag="v1"))
    waiting.join(20)

    # Then it is told
    assert [each.tag for each in found[0].events] == ["v1"]


def test_the_standby_lists_the_repositories(primary: Deployment, standby: Standby, replica: ReplicaLog) -> None:
    primary.store(event(repository="team/other", tag="v1"))
    standby.replayed()
    assert [path for page in replica.catalog() for path in page.repositories] == ["team/app", "team/other"]


def test_a_standby_that_is_away_is_told_in_words(standby: Standby) -> None:
    log = ReplicaLog("postgresql://postgres@127.0.0.1:9/nothing", "secondary")
    with pytest.raises(LogUnavailable, match="GEO_PRIMARY_DATABASE_URL"):
        log.read(None, limit=1)


def test_nothing_can_be_written_by_this_way(primary: Deployment) -> None:
    # Given the same door, to a primary
    log = ReplicaLog(primary.context.settings.database_url.value, "secondary")
    try:
        with pytest.raises(peewee.PeeweeException, match="read-only"), log.connected():
            Event.delete().bind(log._database).execute()
    finally:
        log.close()
