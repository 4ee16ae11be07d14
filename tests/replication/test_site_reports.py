"""Site reports: what is said comes back as it was, and what is none is refused before it is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.database import connection, now
from app.models import Cursor, Event, Site, SiteReport
from app.replication import event_log, remote_sites, site_reports, status
from app.replication.log.local import LocalLog
from app.replication.log.position import Position
from app.replication.remote_sites import Change, Declaration
from app.replication.site_reports import (
    FEED,
    PATTERNS_LIMIT,
    POSITION_LIMIT,
    STALE,
    STANDBY,
    TEXT_LIMIT,
    InvalidReport,
    PositionText,
    Reported,
)
from tests.support.deployment import Deployment
from tests.support.site_report import REPORT

pytestmark = pytest.mark.timeout(60)


def body(**changes: Any) -> bytes:
    return json.dumps(site_reports.dump(REPORT) | changes).encode()


def test_a_report_comes_back_as_it_was() -> None:
    assert site_reports.parse(body()) == REPORT
    plain = replace(REPORT, backfill=None, last_synced_at=None, first_failure=None, capacity=None, verification=None)
    assert site_reports.load(site_reports.dump(plain)) == plain


def test_what_a_newer_version_says_beside_it_is_passed_over() -> None:
    assert site_reports.parse(body(temperature=20)) == REPORT


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"synced": -1}, "`synced`"),
        ({"synced": True}, "`synced`"),
        ({"synced": "8"}, "`synced`"),
        ({"synced": 8.5}, "`synced`"),
        ({"synced": None}, "`synced`"),
        ({"synced": 10**30}, "`synced`"),
        ({"synced": 11}, "more than `total`"),
        ({"oldest_pending_seconds": float("nan")}, "`oldest_pending_seconds`"),
        ({"oldest_pending_seconds": float("inf")}, "`oldest_pending_seconds`"),
        ({"oldest_pending_seconds": True}, "`oldest_pending_seconds`"),
        ({"level": "fine"}, "`level`"),
        ({"headline": ["x"]}, "`headline`"),
        ({"headline": "x" * (TEXT_LIMIT + 1)}, "`headline`"),
        ({"enabled": 1}, "`enabled`"),
        ({"last_synced_at": "yesterday"}, "`last_synced_at`"),
        ({"last_synced_at": "2026-07-01T00:00:00"}, "`last_synced_at`"),
        ({"repositories": "team/**"}, "`repositories`"),
        ({"repositories": ["a"] * (PATTERNS_LIMIT + 1)}, "`repositories`"),
        ({"repositories": [1]}, "`repositories`"),
        ({"deletion": "all"}, "`deletion`"),
        ({"deletion": None}, "`deletion`"),
        ({"protected_tags": "stable"}, "`protected_tags`"),
        ({"verification": "all"}, "`verification`"),
        ({"position": 7}, "`position`"),
        ({"position": ""}, "`position`"),
        ({"position": "a b"}, "`position`"),
        ({"position": "A" * (POSITION_LIMIT + 1)}, "`position`"),
        ({"backfill": []}, "`backfill`"),
        ({"backfill": {"found": 1}}, "`backfill`"),
        ({"backfill": {**site_reports.dump(REPORT)["backfill"], "left": 11}}, "`backfill`"),
    ],
)
def test_a_report_with_a_mistake_is_none_and_says_which(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidReport, match=words):
        site_reports.parse(body(**changes))


@pytest.mark.parametrize("name", site_reports.dump(REPORT))
def test_a_report_that_leaves_something_out_is_none(name: str) -> None:
    document = site_reports.dump(REPORT)
    del document[name]
    with pytest.raises(InvalidReport, match=name):
        site_reports.load(document)


@pytest.mark.parametrize("text", [b"", b"[]", b"1", b"{", b"\xff", b"[" * 100_000, b'{"a":' + b"9" * 5000 + b"}"])
def test_what_is_no_report_at_all_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidReport):
        site_reports.parse(text)


def test_nothing_that_a_terminal_or_a_database_stumbles_over_is_kept() -> None:
    hostile = "\x1b[31mred\x00\n\u202egnitsiL\ud800\x9b"
    read = site_reports.parse(body(headline=hostile, first_failure=hostile, repositories=[hostile])).headline
    assert read == " [31mred   gnitsiL? "


# --- kept -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def berlin(state: Deployment) -> Site:
    remote_sites.apply([Change(None, Declaration("berlin"))])
    with connection():
        return Site.get(Site.name == "berlin")


def last(site: Site, later: float = 0.0) -> Reported | None:
    with connection():
        return site_reports.last(now() + timedelta(seconds=later)).get(site.id)


def test_the_last_report_stands_and_grows_old(berlin: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert last(berlin) is None
    assert site_reports.keep(berlin, REPORT)
    found = last(berlin)
    assert found is not None
    assert (found.report, found.stale) == (REPORT, False)

    # One more at once is not taken, which changes nothing
    assert not site_reports.keep(berlin, replace(REPORT, synced=9))
    monkeypatch.setattr(site_reports, "MIN_INTERVAL", 0.0)
    assert site_reports.keep(berlin, replace(REPORT, synced=9))
    found = last(berlin, STALE + 1)
    assert found is not None
    assert (found.report.synced, found.stale) == (9, True)


def test_one_that_this_version_cannot_read_is_none(berlin: Site) -> None:
    site_reports.keep(berlin, REPORT)
    with connection():
        SiteReport.update(document={"name": "berlin"}).execute()
    assert last(berlin) is None


def test_a_new_site_of_the_name_has_said_nothing(berlin: Site) -> None:
    site_reports.keep(berlin, REPORT)
    remote_sites.apply([Change(Declaration("berlin"), None)])
    remote_sites.apply([Change(None, Declaration("berlin"))])
    assert last(berlin) is None


# --- how far a site has read a standby --------------------------------------------------------------------------------


@pytest.fixture
def reading(state: Deployment, berlin: Site, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Positions after each of four events, as the log hands them out; berlin's cursor stands before them, and our own
    site has read them all."""
    monkeypatch.setattr(site_reports, "MIN_INTERVAL", 0.0)
    log = LocalLog(berlin.id)
    positions = [log.read(None, limit=1).position]
    for number in range(4):
        state.event("push", "team/app", f"v{number}")
        positions.append(log.read(positions[-1], limit=1).position)
    state.mark()
    return positions


def say(site: Site, position: str | None, follows: str = STANDBY) -> None:
    text = None if position is None else PositionText(position)
    assert site_reports.keep(site, replace(REPORT, follows=follows, position=text))


def read_up_to(site: Site) -> int:
    with connection():
        return int(Cursor.get(Cursor.site == site).position)


def stored() -> list[str | None]:
    with connection():
        return [event.tag for event in Event.select().order_by(Event.id)]


def prune(*, unread_too: bool = False) -> None:
    with connection():
        event_log.prune(timedelta(seconds=-1), timedelta(seconds=-1) if unread_too else timedelta(days=60))


def test_what_a_standby_s_reader_has_read_is_known_and_the_rest_is_kept(berlin: Site, reading: list[str]) -> None:
    # When it says that it has read two of four
    say(berlin, reading[2])

    # Then that is what is shown of it
    with connection():
        counted = next(site for site in status.status().sites if site.name == "berlin")
        second = Event.select().order_by(Event.id)[1]
    assert (counted.cursor_last_event_id, counted.unread_events) == (second.id, 2)
    assert counted.cursor_last_event_at == second.occurred_at
    assert counted.seen_at is not None

    # And the log keeps the others for it, until it has read them
    prune()
    assert stored() == ["v2", "v3"]
    say(berlin, reading[3])
    prune()
    assert stored() == ["v3"]


def test_a_report_holds_the_log_no_longer_than_a_follower_does(berlin: Site, reading: list[str]) -> None:
    # Given a site that keeps saying that it has read nothing
    say(berlin, reading[0])
    prune()
    assert len(stored()) == 4

    # Then what is old enough goes all the same
    prune(unread_too=True)
    assert stored() == []

    # And from where it stands the log does not lead on: it is not believed any more
    before = read_up_to(berlin)
    say(berlin, reading[1])
    assert read_up_to(berlin) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda position: replace(position, last=position.last + 10**6).encode(),
        lambda position: replace(position, log="0" * 32).encode(),
        lambda position: replace(position, mark="0" * 12).encode(),
        lambda position: position.encode()[:-9],
        lambda position: None,
    ],
    ids=["beyond the end", "another log", "another event", "cut", "not said"],
)
def test_a_position_that_leads_nowhere_is_not_believed(
    berlin: Site, reading: list[str], change: Callable[[Position], str | None]
) -> None:
    say(berlin, reading[2])
    before = read_up_to(berlin)
    say(berlin, change(Position.decode(reading[4])))
    assert read_up_to(berlin) == before
    # The rest of the report stands.
    assert last(berlin) is not None


def test_one_that_asks_for_events_moves_by_that_alone(berlin: Site, reading: list[str]) -> None:
    before = read_up_to(berlin)
    say(berlin, reading[4], FEED)
    assert read_up_to(berlin) == before


def test_a_removed_site_holds_nothing(berlin: Site, reading: list[str]) -> None:
    say(berlin, reading[0])
    remote_sites.apply([Change(Declaration("berlin"), None)])
    prune()
    assert stored() == []
    with connection():
        assert "berlin" not in {site.name for site in status.status().sites}
