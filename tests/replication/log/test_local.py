"""The log of this deployment as a remote site may read it: its scope, its resets, its waiting."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest

from app.database import connection
from app.models import Event, LogState, Site
from app.replication import cursor, event_log, remote_sites
from app.replication.log import Reading
from app.replication.log.local import LocalLog
from app.replication.log.position import Position
from app.replication.remote_sites import Change, Declaration
from tests.replication.event_log.stage import insert
from tests.support.deployment import Deployment, event
from tests.support.sessions import Session

pytestmark = pytest.mark.timeout(60)


def add(name: str = "berlin", *patterns: str) -> Site:
    remote_sites.apply([Change(None, Declaration(name, repositories=patterns))])
    with connection():
        return Site.get(Site.name == name)


@pytest.fixture
def log(state: Deployment) -> LocalLog:
    return LocalLog(add().id)


def start(log: LocalLog) -> str:
    return log.read(None, limit=10).position


def tags(reading: Reading) -> list[str | None]:
    assert reading.reset is None
    return [found.tag for found in reading.events]


def test_a_new_reader_begins_where_the_log_ends(state: Deployment, log: LocalLog) -> None:
    # Given an event from before
    state.store(event(tag="old"))

    # When somebody without a position reads
    reading = log.read(None, limit=10)

    # Then he is told where to begin, and of nothing else
    assert (reading.events, reading.reset) == ((), None)
    state.store(event(tag="new"))
    assert tags(log.read(reading.position, limit=10)) == ["new"]


def test_it_is_read_on_from_any_position_and_within_a_limit(state: Deployment, log: LocalLog) -> None:
    first = start(log)
    state.store(*(event(tag=f"v{number}") for number in range(5)))
    one = log.read(first, limit=2)
    two = log.read(one.position, limit=10)
    assert tags(one) == ["v0", "v1"]
    assert tags(two) == ["v2", "v3", "v4"]
    assert one.newest_event_id == two.last_event_id > one.last_event_id
    assert tags(log.read(first, limit=10)) == [f"v{number}" for number in range(5)]


def test_what_is_outside_the_scope_is_passed_over(state: Deployment) -> None:
    # Given a site that replicates one group but for one repository
    log = LocalLog(add("berlin", "team/**", "!team/secret").id)
    first = start(log)

    # When much happens elsewhere, and little in it
    state.store(*(event(tag=f"v{number}", repository="other/app") for number in range(30)))
    state.store(event(tag="s", repository="team/secret"), event(tag="v1"))
    reading = log.read(first, limit=7)

    # Then it is told of that alone, and need not read the rest again
    assert tags(reading) == ["v1"]
    assert tags(log.read(reading.position, limit=7)) == []


def test_a_scope_that_is_changed_holds_for_what_is_read_next(state: Deployment, log: LocalLog) -> None:
    first = start(log)
    state.store(event(tag="a", repository="team/a"), event(tag="b", repository="other/b"))
    remote_sites.apply([Change(Declaration("berlin"), Declaration("berlin", repositories=("other/*",)))])
    reading = log.read(first, limit=10)
    assert tags(reading) == ["b"]
    assert reading.terms is not None
    assert reading.terms.repositories == ("other/*",)
    assert reading.terms.reconcile_reason == "its scope changed at the primary"


def test_tags_that_a_site_leaves_out_are_passed_over(state: Deployment, log: LocalLog) -> None:
    first = start(log)
    remote_sites.apply([Change(Declaration("berlin"), Declaration("berlin", tags=("semver:^1", "stable")))])
    state.store(*(event(tag=tag) for tag in ("1.2.0", "2.0.0", "stable", "latest")), event(digest=f"sha256:{'a' * 64}"))
    reading = log.read(first, limit=10)
    assert tags(reading) == ["1.2.0", "stable", None]
    assert reading.terms is not None
    assert reading.terms.tags == ("semver:^1", "stable")
    assert reading.terms.reconcile_reason == "its scope changed at the primary"


def test_a_paused_site_is_told_of_nothing_and_misses_nothing(state: Deployment, log: LocalLog) -> None:
    first = start(log)
    with connection():
        Site.update(enabled=False).where(Site.name == "berlin").execute()
    state.store(event(tag="v1"))
    began = time.monotonic()
    reading = log.read(first, limit=10, wait=20)
    assert time.monotonic() - began < 5
    assert (tags(reading), reading.retry_after > 0) == ([], True)
    with connection():
        Site.update(enabled=True).where(Site.name == "berlin").execute()
    assert tags(log.read(reading.position, limit=10)) == ["v1"]


def test_who_waits_is_answered_when_an_event_comes(state: Deployment, log: LocalLog) -> None:
    # Given three who wait
    first = start(log)
    found: list[float] = []

    def wait() -> None:
        assert tags(log.read(first, limit=10, wait=30)) == ["v1"]
        found.append(time.monotonic())

    waiting = [threading.Thread(target=wait) for _ in range(3)]
    for each in waiting:
        each.start()

    # When an event comes
    state.store(event(tag="v1"))
    stored = time.monotonic()
    for each in waiting:
        each.join(20)

    # Then each is told soon, not at the end of its wait
    assert len(found) == 3
    assert max(found) - stored < 5


def test_who_waits_in_vain_is_answered_in_time(state: Deployment, log: LocalLog) -> None:
    began = time.monotonic()
    assert tags(log.read(start(log), limit=10, wait=0.3)) == []
    assert 0.3 <= time.monotonic() - began < 5


def test_who_waits_is_answered_when_the_process_ends(state: Deployment, log: LocalLog) -> None:
    ending = threading.Event()
    stopping = LocalLog(log._site_id, lambda: not ending.is_set())
    first = start(log)
    waiting = threading.Thread(target=lambda: stopping.read(first, limit=10, wait=60))
    waiting.start()
    ending.set()
    waiting.join(5)
    assert not waiting.is_alive()


# --- positions that lead nowhere --------------------------------------------------------------------------------------


def test_a_reader_past_whom_the_log_was_pruned_is_told_so(state: Deployment, log: LocalLog) -> None:
    # Given a site that has been away, and a log that is kept for it no longer
    first = start(log)
    state.store(event(tag="v1"), event(tag="v2"))
    state.mark()
    assert event_log.prune(timedelta(seconds=-1)) == 0
    assert event_log.prune(timedelta(seconds=-1), timedelta(seconds=-1)) == 2
    state.store(event(tag="v3"))

    # When it comes back
    reading = log.read(first, limit=10)

    # Then it is told, and may go on from the end
    assert reading.reset is not None
    assert reading.reset.reason == "pruned"
    assert reading.events == ()
    state.store(event(tag="v4"))
    assert tags(log.read(reading.position, limit=10)) == ["v4"]


def test_a_reader_who_had_read_what_was_pruned_has_missed_nothing(state: Deployment, log: LocalLog) -> None:
    state.store(event(tag="v1"))
    read = start(log)
    state.mark()
    event_log.prune(timedelta(seconds=-1), timedelta(seconds=-1))
    assert tags(log.read(read, limit=10)) == []
    state.store(event(tag="v2"))
    assert tags(log.read(read, limit=10)) == ["v2"]


def test_the_log_is_kept_for_a_site_until_it_has_read(state: Deployment, log: LocalLog) -> None:
    # Given events that our own site has read
    first = start(log)
    state.store(event(tag="v1"), event(tag="v2"))
    state.mark()

    # When the remote site has acknowledged the first
    with connection():
        site = Site.get(Site.name == "berlin")
        cursor.acknowledge(site, log.read(first, limit=1).position)

    # Then only that is pruned; and all of it once the site is removed
    assert event_log.prune(timedelta(seconds=-1)) == 1
    remote_sites.apply([Change(Declaration("berlin"), None)])
    assert event_log.prune(timedelta(seconds=-1)) == 1


def test_a_position_of_another_log_is_told_from_ours(state: Deployment, log: LocalLog) -> None:
    position = start(log)
    with connection():
        LogState.update(identity="00" * 16).execute()
    reading = log.read(position, limit=10)
    assert reading.reset is not None
    assert reading.reset.reason == "another_log"


def test_a_log_that_was_restored_from_a_backup_is_told(state: Deployment, log: LocalLog) -> None:
    # Given a reader at the end of the log
    state.store(event(tag="v1"), event(tag="v2", key="the former"))
    position = start(log)
    last = Position.decode(position).last

    # When the database is set back before that
    with connection():
        Event.delete().where(Event.id == last).execute()
    ahead = log.read(position, limit=10)

    # Then he is told; and also when the ids have gone on with other events
    assert ahead.reset is not None
    assert ahead.reset.reason == "rewritten"
    state.store(event(tag="v3", key="another"))
    with connection():
        Event.update(id=last).where(Event.event_key == "another").execute()
    beside = log.read(position, limit=10)
    assert beside.reset is not None
    assert beside.reset.reason == "rewritten"


def test_a_restored_log_without_the_event_that_was_read_last_is_told(state: Deployment, log: LocalLog) -> None:
    # Given a reader at the end of the log
    state.store(event(tag="v1"), event(tag="v2"))
    position = start(log)

    # When the database is set back before that, and goes on beyond it, and nothing has that id again
    with connection():
        Event.delete().where(Event.id == Position.decode(position).last).execute()
    state.store(event(tag="v3"))
    reading = log.read(position, limit=10)

    # Then he is told
    assert reading.reset is not None
    assert reading.reset.reason == "rewritten"


@pytest.mark.parametrize("rest", [(), ("v3",)])
def test_what_is_pruned_while_somebody_asks_is_no_rewritten_log(state: Deployment, rest: tuple[str, ...]) -> None:
    # Given a reader at the end of the log, who asks at the moment in which that is pruned
    class Pruned(LocalLog):
        def log_state(self) -> LogState:
            found = super().log_state()
            if not found.pruned_to:
                event_log.prune(timedelta(seconds=-1), timedelta(seconds=-1), limit=2)
            return found

    site = add()
    state.store(event(tag="v1"), event(tag="v2"))
    position = start(LocalLog(site.id))
    state.store(*(event(tag=tag) for tag in rest))

    # When he reads on, Then he has missed nothing
    assert tags(Pruned(site.id).read(position, limit=10)) == list(rest)


def test_a_text_that_is_no_position_is_told(log: LocalLog) -> None:
    reading = log.read("nonsense", limit=10)
    assert reading.reset is not None
    assert reading.reset.reason == "unreadable"


# --- late events ------------------------------------------------------------------------------------------------------


def test_a_late_event_is_told_and_nobody_waits_for_it(postgresql: Deployment) -> None:
    log = LocalLog(add().id)
    first = start(log)
    with Session() as late:
        # Given an envelope that is being stored and does not end
        late.begin()
        insert(late, "late")

        # When others come after it, they are told at once
        postgresql.store(event(tag="v1"))
        reading = log.read(first, limit=10)
        assert tags(reading) == ["v1"]

        # And when it ends while somebody waits, that is told too, though no newer event comes
        found: list[Reading] = []
        waiting = threading.Thread(target=lambda: found.append(log.read(reading.position, limit=10, wait=30)))
        waiting.start()
        late.commit()
        waiting.join(20)
    assert tags(found[0]) == ["late"]
    assert Position.decode(found[0].position).gaps == {}


def test_a_site_that_is_added_meanwhile_does_not_miss_a_late_event(postgresql: Deployment) -> None:
    with Session() as late:
        # Given an envelope that is being stored, and a later one
        late.begin()
        insert(late, "late")
        postgresql.store(event(tag="v1"))

        # When a reader begins
        log = LocalLog(add().id)
        first = start(log)

        # Then he is told of the late one, and so would be a cursor of ours
        late.commit()
    assert tags(log.read(first, limit=10)) == ["late"]
    with connection():
        site = Site.get(Site.name == "berlin")
    assert cursor.advance(site).events == 1


def test_a_reader_of_late_events_is_not_flooded(postgresql: Deployment) -> None:
    log = LocalLog(add().id)
    first = start(log)
    with Session() as late:
        late.begin()
        late.do(lambda: event_log.append([event(tag=f"late{number}") for number in range(30)]))
        postgresql.store(event(tag="v1"))
        position = log.read(first, limit=10).position
        late.commit()

    # When more have come late than are asked for
    found: list[str | None] = []
    for _ in range(4):
        reading = log.read(position, limit=10)
        assert len(reading.events) <= 10
        found += tags(reading)
        position = reading.position

    # Then all of them are told in turn
    assert found == [f"late{number}" for number in range(30)]
