"""Where sites say how they are: who may, what is refused, and where it is shown."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.database import connection, now
from app.models import Cursor, Site, SiteReport
from app.replication import event_log, gauges, remote_sites, site_reports
from app.replication.event_log import Origin
from app.replication.log.local import LocalLog
from app.replication.remote_sites import Change, Declaration
from app.replication.site_reports import REPORT_LIMIT, STANDBY
from app.settings import Deletion
from tests.api.sites import add
from tests.support.deployment import ADMIN_TOKEN, event
from tests.support.face import Face
from tests.support.site_report import REPORT

ADDRESS = "/api/v4/geo/site_status"

pytestmark = pytest.mark.timeout(90)


def report(api: Face, token: str | None, data: bytes | None = None, **changes: Any) -> TestResponse:
    sent = json.dumps(site_reports.dump(REPORT) | changes).encode() if data is None else data
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return api.client.post(ADDRESS, data=sent, headers=headers, content_type="application/json")


def get(api: Face, address: str) -> Any:
    response = api.client.get(address, headers={"PRIVATE-TOKEN": ADMIN_TOKEN})
    assert response.status_code == 200, response.text
    return response.get_json()


def of(api: Face, name: str, suffix: str = "") -> Any:
    ids = {row["name"]: row["id"] for row in get(api, "/api/v4/geo_sites")}
    return get(api, f"/api/v4/geo_sites/{ids[name]}{suffix}")


def age(seconds: float) -> None:
    with connection():
        SiteReport.update(received_at=now() - timedelta(seconds=seconds)).execute()


@pytest.mark.parametrize("token", [None, "x", "geosite_" + "x" * 43, ADMIN_TOKEN])
def test_without_a_site_s_token_nothing_is_taken(api: Face, token: str | None) -> None:
    assert report(api, token).status_code == 401


def test_what_a_site_says_is_shown_of_it_and_of_no_other(api: Face) -> None:
    # Given two sites, one of which reports
    token = add(capacity=6, tags=("v*",))
    add(name="paris")
    before = of(api, "berlin", "/status")
    assert (before["container_repositories_synced_count"], before["version"]) == (None, None)
    with connection():
        Site.update(repositories="team/**").where(Site.name == "berlin").execute()
    assert report(api, token).status_code == 200

    # Then its status has GitLab's names, and its age
    shown = of(api, "berlin", "/status")
    assert (shown["container_repositories_count"], shown["container_repositories_registry_count"]) == (10, 10)
    assert (shown["container_repositories_synced_count"], shown["container_repositories_failed_count"]) == (8, 1)
    assert shown["container_repositories_synced_in_percentage"] == "80.00%"
    assert shown["container_repositories_verified_count"] == 7
    assert shown["container_repositories_verified_in_percentage"] == "70.00%"
    assert (shown["version"], shown["backfill"]["left_count"]) == ("1.0", 1)
    assert 0 <= shown["status_age_seconds"] < 60
    assert shown["last_successful_status_check_timestamp"] is not None

    # And beside what the primary limits it to stands what it is set to
    site = of(api, "berlin")
    assert (site["repositories"], site["tags"], site["container_repositories_max_capacity"]) == (["team/**"], ["v*"], 6)
    assert (site["reported"]["tags"], site["reported"]["container_repositories_max_capacity"]) == (["v*"], 4)
    assert site["backfill"]["found_count"] == 10
    other = of(api, "paris", "/status")
    assert (other["container_repositories_count"], other["status_age_seconds"]) == (None, None)
    assert of(api, "paris")["reported"] is None


def test_a_site_that_falls_silent_is_unhealthy(api: Face) -> None:
    token = add()
    assert report(api, token).status_code == 200
    with connection():
        Cursor.update(updated_at=now()).execute()
    assert of(api, "berlin", "/status")["health_status"] == "Healthy"
    age(301)
    shown = of(api, "berlin", "/status")
    assert (shown["health_status"], shown["healthy"]) == ("Unhealthy", False)
    assert "5 min old" in shown["health"]


def test_gauges_of_a_remote_site_are_of_now_or_missing(api: Face) -> None:
    def synced() -> dict[str, float]:
        with connection():
            found = {family.name: family for family in gauges.gauges()}
        assert [sample.value > 0 for sample in found["geo_site_report_age_seconds"].samples] in ([], [True])
        return {s.labels["name"]: s.value for s in found["geo_container_repositories_synced"].samples}

    token = add()
    assert "berlin" not in synced()
    report(api, token)
    age(1)
    assert synced()["berlin"] == 8
    age(301)
    assert "berlin" not in synced()


@pytest.mark.parametrize(
    ("data", "changes", "answer"),
    [
        (b"", {}, 400),
        (b"\x00", {}, 400),
        (b"[]", {}, 400),
        (None, {"synced": "<script>"}, 400),
        (None, {"name": "paris"}, 409),
        (None, {"position": "x y"}, 400),
        (b" " * (REPORT_LIMIT + 1), {}, 413),
    ],
)
def test_what_is_no_report_of_this_site_leaves_the_last_one(
    api: Face, data: bytes | None, changes: dict[str, Any], answer: int
) -> None:
    # Given a site that has reported, and another
    token = add()
    add(name="paris")
    assert report(api, token).status_code == 200
    age(10)

    # When it sends something else
    refused = report(api, token, data, **changes)

    # Then it learns what is wrong, and nothing is changed
    assert refused.status_code == answer
    assert refused.get_json()["detail"]
    assert of(api, "berlin", "/status")["container_repositories_synced_count"] == 8
    assert of(api, "paris")["reported"] is None


def test_reports_without_end_are_asked_to_wait(api: Face) -> None:
    token = add()
    assert report(api, token).status_code == 200
    again = report(api, token)
    assert (again.status_code, again.headers["Retry-After"]) == (429, "1")


def test_a_removed_site_says_nothing_any_more_and_is_not_counted(api: Face) -> None:
    token = add()
    assert report(api, token).status_code == 200
    site = of(api, "berlin")
    shown = {row["geo_node_id"] for row in get(api, "/api/v4/geo_sites/status")}
    assert site["id"] in shown
    remote_sites.apply([Change(Declaration("berlin"), None)])
    assert report(api, token).status_code == 401

    # Nothing is told of it in the primary's name
    headers = {"PRIVATE-TOKEN": ADMIN_TOKEN}
    assert api.client.get(f"/api/v4/geo_sites/{site['id']}/status", headers=headers).status_code == 404
    assert shown - {row["geo_node_id"] for row in get(api, "/api/v4/geo_sites/status")} == {site["id"]}
    with connection():
        assert "berlin" not in {
            each.labels["name"] for family in gauges.gauges() for each in family.samples if "name" in each.labels
        }


def test_how_far_a_standby_s_reader_is_stands_in_its_status(api: Face) -> None:
    # Given a site that reads a standby, and events
    token = add()
    with connection():
        site = Site.get(Site.name == "berlin")
    log = LocalLog(site.id)
    start = log.read(None, limit=1).position
    event_log.store([event(tag=f"v{number}") for number in range(3)], [], Origin("distribution", 0))
    first = log.read(start, limit=1)

    # When it reports that it has read one of them
    assert report(api, token, follows=STANDBY, position=first.position).status_code == 200

    # Then its status says how far it is, of how much, and when what it read last has happened
    shown = of(api, "berlin", "/status")
    assert (shown["cursor_last_event_id"], shown["unread_events_count"]) == (first.last_event_id, 2)
    assert shown["last_event_id"] == first.last_event_id + 2
    assert shown["cursor_last_event_timestamp"] == int(first.events[0].occurred_at.timestamp())


def test_policies_left_to_the_site_are_told_as_none(api: Face) -> None:
    add()
    add(name="paris", deletion=Deletion.OFF)
    assert (of(api, "berlin")["deletion"], of(api, "paris")["deletion"]) == (None, "off")


def test_the_pages_bear_what_a_hostile_site_says(api: Face) -> None:
    token = add()
    hostile: dict[str, Any] = {
        "headline": "<script>alert(1)</script>",
        "first_failure": "\x1b]0;x\x07",
        "oldest_pending_seconds": 2e15,
    }
    assert report(api, token, **hostile).status_code == 200
    assert of(api, "berlin", "/status")["oldest_pending_seconds"] == 3_000_000_000
    api.sign_in()
    page = api.client.get("/admin/")
    assert page.status_code == 200
    assert "<script>alert" not in page.text
