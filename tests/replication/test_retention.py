"""Retention: what is old is forgotten portion by portion, and what is not stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app import metrics
from app.database import connection
from app.models import MODELS, Event, QuarantinedEvent, Site, SiteReport, SyncAttempt
from app.models import ContainerRepositoryRegistry as Registry
from app.notifications import Quarantined
from app.replication import event_log, quarantine, remote_sites, retention, site_reports
from app.replication.event_log import Origin
from app.replication.lease import named
from app.replication.remote_sites import Change, Declaration
from app.retention import Retention
from tests.support.deployment import Deployment, event
from tests.support.site_report import REPORT

pytestmark = pytest.mark.timeout(60)

OLD = datetime.now(UTC) - timedelta(days=40)
VERY_OLD = datetime.now(UTC) - timedelta(days=91)


@pytest.fixture
def portions(monkeypatch: pytest.MonkeyPatch) -> int:
    """Few at a time, so that there are several portions."""
    monkeypatch.setattr(retention, "MAX_ROWS", 4)
    return 4


def remembered(state: Deployment, number: int) -> None:
    """So many events and attempts, all old, and one of each that is not."""
    state.store(*(event(tag=f"v{place}") for place in range(number + 1)))
    state.mark()
    row = state.row("team/app")
    times = {"started_at": OLD, "finished_at": OLD}
    attempt = {"registry": row, "action": "copy", "trigger": "event", "outcome": "synced", "worker": "w", **times}
    with connection():
        Event.update(created_at=OLD).where(Event.tag != "v0").execute()
        SyncAttempt.insert_many([{**attempt, "reference": f"v{place + 1}"} for place in range(number)]).execute()
        recent = datetime.now(UTC)
        SyncAttempt.create(**{**attempt, "reference": "v0", "started_at": recent, "finished_at": recent})


def left() -> tuple[list[str | None], list[str]]:
    with connection():
        return [each.tag for each in Event.select()], [each.reference for each in SyncAttempt.select()]


def test_all_that_is_old_goes_in_as_many_portions_as_it_takes(state: Deployment, portions: int) -> None:
    # Given more than one portion of each
    remembered(state, 3 * portions + 1)

    # When there is time for all of it, then nothing old is left
    assert retention.forget(Retention(), lambda: 0.0, 1.0)
    assert left() == (["v0"], ["v0"])


def test_when_the_time_is_over_the_rest_is_left_for_later(state: Deployment, portions: int) -> None:
    # Given a clock by which a portion of each takes half the time that there is
    remembered(state, 3 * portions)
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.5
        return now

    # When it is done again and again, then each time a bit of both is forgotten, and in the end it says so
    assert not retention.forget(Retention(), clock, 1.0)
    assert [len(each) for each in left()] == [portions + 1, portions + 1]
    times = 1
    while not retention.forget(Retention(), clock, 1.0):
        times += 1
        assert times < 10
    assert left() == (["v0"], ["v0"])


def test_what_a_site_has_not_read_is_kept_for_it(state: Deployment, portions: int) -> None:
    # Given old events, of which a site has not read the last ones
    remembered(state, portions)
    state.store(*(event(tag=f"unread{place}") for place in range(2 * portions)))
    with connection():
        Event.update(created_at=OLD).where(Event.tag.startswith("unread")).execute()
        assert Registry.select().count() == 1

    # When, then it is no reason to go on for ever
    assert retention.forget(Retention(), lambda: 0.0, 1.0)
    events, _ = left()
    assert events == ["v0", *(f"unread{place}" for place in range(2 * portions))]


def test_what_could_not_be_read_is_kept_for_so_long(state: Deployment, portions: int) -> None:
    # Given what came long ago, more of it than one portion, and what came long ago and came again
    quarantined(*(f"old {place}" for place in range(2 * portions)), "again", "new")
    with connection():
        QuarantinedEvent.update(created_at=VERY_OLD).where(QuarantinedEvent.excerpt != "new").execute()
        old = QuarantinedEvent.excerpt.startswith("old")
        QuarantinedEvent.update(last_seen_at=VERY_OLD).where(old).execute()

    # When it is kept for good, Then all of it is there
    assert retention.forget(Retention(quarantine=None), lambda: 0.0, 1.0)
    assert len(excerpts()) == 2 * portions + 2

    # When it is not, Then what has not come again is gone
    assert retention.forget(Retention(), lambda: 0.0, 1.0)
    assert excerpts() == ["again", "new"]


def test_no_sender_fills_the_disk(state: Deployment, portions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given more than is kept of what nobody can read
    monkeypatch.setattr(quarantine, "KEPT", 3)
    quarantined(*(f"thing {place}" for place in range(3 * portions)))

    # When, Then the newest of it stays
    assert retention.forget(Retention(quarantine=None), lambda: 0.0, 1.0)
    assert excerpts() == [f"thing {place}" for place in range(3 * portions - 3, 3 * portions)]


def test_what_a_removed_site_said_is_forgotten(state: Deployment) -> None:
    # Given reports of a site that was removed, and of one that is there and silent
    sites = [Declaration(name) for name in ("former", "berlin")]
    remote_sites.apply([Change(None, site) for site in sites])
    for site in sites:
        with connection():
            row = Site.get(Site.name == site.name)
        site_reports.keep(row, REPORT)
    remote_sites.apply([Change(sites[0], None)])
    assert retention.forget(Retention(), lambda: 0.0, 1.0)
    with connection():
        assert SiteReport.select().count() == 2
        SiteReport.update(received_at=OLD).execute()

    # When that is long ago, Then only the former's is gone
    assert retention.forget(Retention(), lambda: 0.0, 1.0)
    with connection():
        assert [report.site.name for report in SiteReport.select()] == ["berlin"]


def test_what_is_kept_for_good_is_kept(state: Deployment, portions: int) -> None:
    # Given much that is old
    remembered(state, 2 * portions)
    everything = left()

    # When an operator keeps it for good, Then it stays; and when for longer, too
    assert retention.forget(Retention(events=None, history=None), lambda: 0.0, 1.0)
    assert retention.forget(Retention(events=timedelta(days=50), history=timedelta(days=50)), lambda: 0.0, 1.0)
    assert left() == everything


def test_what_a_site_does_not_read_is_not_kept_for_ever(state: Deployment, portions: int) -> None:
    # Given old events, of which a site has read none
    state.store(*(event(tag=f"unread{place}") for place in range(2 * portions)))
    with connection():
        Event.update(created_at=OLD).execute()

    # When unread ones are kept for good, and for longer than they are old, Then they stay
    for unread in (None, timedelta(days=41)):
        assert retention.forget(Retention(unread_events=unread), lambda: 0.0, 1.0)
        assert len(left()[0]) == 2 * portions

    # When not, Then they go
    assert retention.forget(Retention(unread_events=timedelta(days=39)), lambda: 0.0, 1.0)
    assert left()[0] == []


@pytest.mark.long
def test_nothing_grows_without_end(state: Deployment) -> None:
    """Three months of the same work over and over, by a clock that is set on: as many rows after the third as after the
    second, in every table."""
    sizes = []
    for _month in range(3):
        for number in range(60):
            worked(state, number)
        with connection():
            earlier = {name: timedelta(days=31) for name in ("created_at", "finished_at", "last_seen_at")}
            for model in (Event, SyncAttempt, QuarantinedEvent):
                for name in earlier.keys() & model._meta.fields.keys():
                    for row in model.select():
                        model.update({name: getattr(row, name) - earlier[name]}).where(model.id == row.id).execute()
        while not retention.forget(Retention(), lambda: 0.0, 1.0):
            pass
        with connection():
            sizes.append({model._meta.table_name: model.select().count() for model in MODELS})

    # What is summed up now and then has at most so many rows between two sums
    summed = {"geo_reference_counts": 256, "geo_repository_counts": 256}
    for table, count in sizes[2].items():
        assert count <= max(sizes[1][table], summed.get(table, 0)), (table, sizes)


def worked(state: Deployment, number: int) -> None:
    """An event, its attempt, something unreadable, a new registry process, a measurement."""
    state.event("push", "team/app", f"v{number % 5}")
    state.mark()
    quarantined(f"thing {number}")
    state.context.instances.note([f"process {number % 7}"])
    metrics.buffer.count("geo_webhook_requests_total", {"status": "200"})
    metrics.buffer.flush()
    row, instant = state.row("team/app"), datetime.now(UTC)
    with named("catalog:1"), connection():
        SyncAttempt.create(
            registry=row,
            reference="v1",
            action="copy",
            trigger="event",
            outcome="synced",
            worker="w",
            started_at=instant,
            finished_at=instant,
        )


def quarantined(*heads: str) -> None:
    for head in heads:
        event_log.store([], [Quarantined("bad_event", head)], Origin("distribution", len(head)))


def excerpts() -> list[str]:
    with connection():
        return [each.excerpt for each in QuarantinedEvent.select().order_by(QuarantinedEvent.id)]
