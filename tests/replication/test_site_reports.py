"""Site reports: what is said comes back as it was, and what is none is refused before it is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.database import connection, now
from app.models import Site, SiteReport
from app.replication import remote_sites, site_reports
from app.replication.remote_sites import Change, Declaration
from app.replication.site_reports import PATTERNS_LIMIT, STALE, TEXT_LIMIT, InvalidReport, Reported
from tests.support.deployment import Deployment
from tests.support.site_report import REPORT

pytestmark = pytest.mark.timeout(60)


def body(**changes: Any) -> bytes:
    return json.dumps(site_reports.dump(REPORT) | changes).encode()


def test_a_report_comes_back_as_it_was() -> None:
    assert site_reports.parse(body()) == REPORT
    plain = replace(REPORT, backfill=None, last_synced_at=None, first_failure=None, capacity=None)
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
