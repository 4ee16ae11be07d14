from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.http import parse_options_header
from werkzeug.test import TestResponse

from app.api.representations import time
from app.api.resources import guard
from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, Site, SyncState, VerificationState
from tests.support.deployment import ADMIN_TOKEN
from tests.support.face import SITE, Face, face
from tests.support.seed import HOSTILE, LONG, Seeded, digest, seed

REPOSITORIES = "/api/v4/geo/container_repositories"

EVERY_GET = (
    "/api/v4/geo_sites",
    "/api/v4/geo_sites/1",
    "/api/v4/geo_sites/status",
    "/api/v4/geo_sites/1/status",
    REPOSITORIES,
    f"{REPOSITORIES}/1",
    f"{REPOSITORIES}/1/references",
    f"{REPOSITORIES}/1/attempts",
    "/api/v4/geo/quarantined_events",
)


@pytest.fixture
def sqlite_api(tmp_path: Path) -> Iterator[Face]:
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state") as started:
        yield started


@pytest.fixture
def seeded(api: Face) -> Seeded:
    return seed(api.site)


def get(api: Face, address: str, status: int = 200) -> Any:
    response = ask(api, address)
    assert response.status_code == status, response.text
    return response.get_json()


def ask(api: Face, address: str) -> TestResponse:
    return api.client.get(address, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})


def walk(api: Face, address: str) -> list[Any]:
    """Follow the `Link` header to the end."""
    found: list[Any] = []
    following: str | None = address
    while following is not None:
        response = ask(api, following)
        assert response.status_code == 200, response.text
        found += response.get_json()
        link = response.headers.get("Link")
        following = None
        if link is not None:
            target, options = parse_options_header(link)
            assert options == {"rel": "next"}
            following = target.strip("<>")
    return found


@pytest.mark.parametrize("address", EVERY_GET)
def test_nothing_is_told_without_the_admin_token(sqlite_api: Face, address: str) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"PRIVATE-TOKEN": "wrong"},
        {"PRIVATE-TOKEN": ""},
        {"Authorization": ADMIN_TOKEN},
        {"Authorization": f"Basic {ADMIN_TOKEN}"},
        {"PRIVATE-TOKEN": "tests-notification-secret"},
    ):
        response = sqlite_api.client.get(address, headers=headers)
        assert response.status_code == 401
        assert response.content_type == "application/problem+json"
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("address", EVERY_GET)
def test_while_no_token_is_set_the_api_is_closed(tmp_path: Path, address: str) -> None:
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state", GEO_ADMIN_TOKEN="") as closed:
        for headers in ({}, {"PRIVATE-TOKEN": ""}, {"Authorization": "Bearer "}):
            response = closed.client.get(address, headers=headers)
            assert response.status_code == 403
            assert "GEO_ADMIN_TOKEN" in response.get_json()["detail"]


def test_either_header_opens_it(sqlite_api: Face) -> None:
    for headers in ({"Authorization": f"Bearer {ADMIN_TOKEN}"}, {"PRIVATE-TOKEN": ADMIN_TOKEN}):
        assert sqlite_api.client.get("/api/v4/geo_sites", headers=headers).status_code == 200


def test_a_session_of_the_pages_does_not_open_it(sqlite_api: Face) -> None:
    sqlite_api.sign_in()
    assert sqlite_api.client.get("/api/v4/geo_sites").status_code == 401


def test_guesses_are_throttled(sqlite_api: Face) -> None:
    # Given as many guesses as are let pass
    def guess() -> TestResponse:
        return sqlite_api.client.get("/api/v4/geo_sites", headers={"PRIVATE-TOKEN": "guess"})

    for _ in range(guard.throttle.limit):
        assert guess().status_code == 401
    # Then the next has to wait
    response = guess()
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) > 0
    # And whoever has the token does not, though others guess from the same address
    assert ask(sqlite_api, "/api/v4/geo_sites").status_code == 200


def test_a_weak_token_has_to_wait_though_it_is_right(tmp_path: Path) -> None:
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state", GEO_ADMIN_TOKEN="monday") as weak:
        tokens = ["tuesday"] * guard.throttle.limit + ["monday"]
        answers = [weak.client.get("/api/v4/geo_sites", headers={"PRIVATE-TOKEN": token}) for token in tokens]
    assert (answers[-2].status_code, answers[-1].status_code) == (401, 429)


def test_sites_have_gitlabs_fields(api: Face) -> None:
    primary, secondary = get(api, "/api/v4/geo_sites")
    assert (primary["name"], primary["primary"], secondary["name"], secondary["primary"]) == (
        "primary",
        True,
        SITE,
        False,
    )
    assert secondary["url"] == "http://secondary.example.com:5000"
    assert (primary["current"], secondary["current"]) == (False, True)
    assert {"internal_url", "enabled", "selective_sync_type", "web_edit_url", "_links"} <= secondary.keys()
    assert get(api, f"/api/v4/geo_sites/{secondary['id']}") == secondary
    assert get(api, secondary["_links"]["status"])["geo_node_id"] == secondary["id"]
    get(api, "/api/v4/geo_sites/999", 404)


def test_the_status_of_a_secondary(api: Face, seeded: Seeded) -> None:
    primary, secondary = get(api, "/api/v4/geo_sites/status")
    # Counts add up, in GitLab's fields and beside them
    assert secondary["container_repositories_count"] == 45
    assert secondary["container_repositories_registry_count"] == 45
    assert secondary["container_repositories_synced_count"] == 41
    assert secondary["container_repositories_failed_count"] == 2
    assert secondary["container_repositories_synced_in_percentage"] == "91.11%"
    assert secondary["container_repositories_replication_enabled"] is True
    assert secondary["container_repositories_verification_total_count"] == 45
    assert secondary["container_repositories_verified_count"] == 0
    assert secondary["container_repositories_verification_failed_count"] == 0
    assert secondary["container_repositories_verified_in_percentage"] == "0.00%"
    assert secondary["status_age_seconds"] == 0
    assert secondary["references_drift_count"] == 1
    assert secondary["unread_events_count"] == 1
    assert secondary["last_event_id"] == secondary["cursor_last_event_id"] + 1
    assert isinstance(secondary["last_event_timestamp"], int)
    assert secondary["oldest_pending_seconds"] >= 25 * 60
    # A repository that fails does not make the site unhealthy, and is said
    assert (secondary["healthy"], secondary["health_status"]) == (True, "Healthy")
    assert "2 repositories fail" in secondary["health"]
    # What there is not is null, and what the other side knows too
    assert secondary["db_replication_lag_seconds"] is None
    assert secondary["container_repositories_checksummed_count"] is None
    assert primary["container_repositories_count"] == 45
    assert primary["container_repositories_synced_count"] is None
    assert primary["container_repositories_verified_count"] is None
    assert primary["container_repositories_checksum_total_count"] == 45
    assert primary["container_repositories_checksummed_count"] == 0
    assert get(api, secondary["_links"]["self"]).keys() == secondary.keys()


def test_a_deployment_without_a_scheduler_is_unhealthy(api: Face) -> None:
    status = get(api, f"/api/v4/geo_sites/{api.site.id}/status")
    assert (status["healthy"], status["health_status"]) == (False, "Unhealthy")
    assert "geo up" in status["health"]


def test_repositories_page_by_page(api: Face, seeded: Seeded) -> None:
    # When one follows the links through small pages
    paths = [row["path"] for row in walk(api, f"{REPOSITORIES}?per_page=7")]
    # Then everything was there once, in order
    assert len(paths) == 45
    assert len(set(paths)) == 45
    assert LONG in paths
    assert paths == [row["path"] for row in get(api, f"{REPOSITORIES}?per_page=100")]
    assert paths[:20] == [row["path"] for row in get(api, REPOSITORIES)]


def test_more_than_the_largest_page_gives_the_largest(sqlite_api: Face) -> None:
    seed(sqlite_api.site, synced=120)
    assert len(get(sqlite_api, f"{REPOSITORIES}?per_page=100000")) == 100


def test_repositories_are_narrowed(api: Face, seeded: Seeded) -> None:
    assert {row["path"] for row in walk(api, f"{REPOSITORIES}?state=failed&per_page=1")} == {
        "team/app",
        "hostile/strings",
    }
    assert get(api, f"{REPOSITORIES}?state=3") == get(api, f"{REPOSITORIES}?state=FAILED")
    assert {row["path"] for row in walk(api, f"{REPOSITORIES}?search=NGINX")} == {"library/nginx"}
    assert get(api, f"{REPOSITORIES}?search=%25") == []
    assert len(walk(api, f"{REPOSITORIES}?site={SITE}&state=synced&per_page=10")) == 41


@pytest.mark.parametrize(
    "query",
    [
        "state=broken",
        "state=4",
        "per_page=0",
        "per_page=-1",
        "per_page=ten",
        "per_page=%D9%A3",
        "after=!",
        "after=WzFd",
        "after=WyJhIiwgMTAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwXQ",
        "after=WyJcdTAwMDAiLCAxXQ",
        "after=WyJcdWQ4MDAiLCAxXQ",
        "search=%00",
        "search=" + "x" * 256,
    ],
)
def test_what_cannot_be_asked_is_said(api: Face, query: str) -> None:
    response = ask(api, f"{REPOSITORIES}?{query}")
    assert response.status_code == 400
    assert response.content_type == "application/problem+json"
    assert response.get_json()["detail"]


@pytest.mark.parametrize("query", ["_external=1&per_page=1", "endpoint=x&per_page=1", "_scheme=x&per_page=1"])
def test_parameters_we_do_not_know_do_no_harm(sqlite_api: Face, query: str) -> None:
    seed(sqlite_api.site)
    link = ask(sqlite_api, f"{REPOSITORIES}?{query}").headers["Link"]
    assert link.startswith(f"<{REPOSITORIES}?")


def test_a_site_with_its_scope_and_its_backfill(sqlite_api: Face) -> None:
    # Given a site that its primary limits, in the middle of a backfill
    rows = seed(sqlite_api.site, synced=2)
    with connection():
        scope = {"repositories": "team/**\n!team/x", "tags": "v*", "capacity": 8}
        granted = {"granted_repositories": "team/**", "granted_capacity": 3}
        started = now() - timedelta(minutes=1)
        Site.update(**scope, **granted, reconcile_started_at=started).where(Site.id == sqlite_api.site.id).execute()
        marked = {"full_sync": True, "full_sync_requested_at": now()}
        Registry.update(**marked).where(Registry.id == rows.synced.id).execute()

    # When it is shown
    shown = get(sqlite_api, f"/api/v4/geo_sites/{sqlite_api.site.id}")

    # Then with all of that; of the capacities the smaller holds
    assert (shown["repositories"], shown["tags"]) == (["team/**", "!team/x"], ["v*"])
    assert shown["container_repositories_max_capacity"] == 3
    assert shown["granted"] == {
        "repositories": ["team/**"],
        "tags": [],
        "container_repositories_max_capacity": 3,
        "deletion": None,
        "protected_tags": [],
        "verification": None,
    }
    assert (shown["backfill"]["found_count"], shown["backfill"]["left_count"]) == (1, 1)
    primary = get(sqlite_api, "/api/v4/geo_sites")[0]
    assert (primary["granted"], primary["backfill"], primary["reported"]) == (None, None, None)


def test_a_repository_with_its_verification(sqlite_api: Face) -> None:
    # Given one that was found wanting
    seeded = seed(sqlite_api.site, synced=2)
    with connection():
        instant = now()
        Registry.update(
            verification_state=VerificationState.FAILED,
            verification_failure="v1: a blob is missing",
            verification_checksum="a" * 64,
            verification_checksum_mismatched="b" * 64,
            checksum_mismatch=True,
            verification_retry_count=2,
            verification_retry_at=instant,
            verified_at=instant,
        ).where(Registry.id == seeded.synced.id).execute()
        Reference.update(verified_at=instant, verified_digest=digest("x")).execute()

    # Then it is shown by GitLab's names
    shown = get(sqlite_api, f"{REPOSITORIES}/{seeded.synced.id}")
    assert (shown["verification_state"], shown["verification_state_name"]) == (3, "failed")
    assert shown["verification_failure"] == "v1: a blob is missing"
    assert (shown["verification_checksum"], shown["verification_checksum_mismatched"]) == ("a" * 64, "b" * 64)
    assert (shown["checksum_mismatch"], shown["verification_retry_count"]) == (True, 2)
    assert shown["verified_at"] == shown["verification_retry_at"] == time(instant)
    assert shown["references"][0]["verified_at"] == time(instant)
    other = get(sqlite_api, f"{REPOSITORIES}/{seeded.failed.id}")
    assert (other["verification_state_name"], other["verified_at"]) == ("pending", None)


def test_a_repository_with_its_tags(api: Face, seeded: Seeded) -> None:
    shown = get(api, f"{REPOSITORIES}/{seeded.failed.id}")
    assert (shown["path"], shown["site"], shown["state"], shown["state_name"]) == ("team/app", SITE, 3, "failed")
    assert shown["retry_count"] == 4
    assert "401 Unauthorized" in shown["last_sync_failure"]
    assert shown["references_count"] == len(shown["references"]) == 6
    tag = next(r for r in shown["references"] if r["name"] == "release-2024")
    assert (tag["kind"], tag["desired_digest"], tag["observed_digest"]) == (
        "tag",
        digest("release-2024"),
        digest("old"),
    )
    assert next(r for r in shown["references"] if r["name"] == "theirs")["drift_digest"]
    assert [r["kind"] for r in shown["references"]].count("digest") == 1


def test_references_page_by_page(api: Face, seeded: Seeded) -> None:
    address = f"{REPOSITORIES}/{seeded.synced.id}/references"
    names = [row["name"] for row in walk(api, f"{address}?per_page=4")]
    assert len(names) == 30
    assert names == sorted(set(names))
    assert get(api, f"{address}?search=1.29")[0]["synced_at"].endswith("Z")
    assert get(api, f"{address}?state=failed") == []


def test_a_repository_with_many_tags_leads_to_the_others(sqlite_api: Face) -> None:
    # Given more tags than a page holds
    rows = seed(sqlite_api.site, synced=0)
    made = more_tags(rows.started, 120)
    # When one asks for the repository
    response = ask(sqlite_api, f"{REPOSITORIES}/{rows.started.id}")
    shown = response.get_json()
    # Then the first hundred are in it, and the header leads to the rest
    assert len(shown["references"]) == 100
    target, _ = parse_options_header(response.headers["Link"])
    rest = walk(sqlite_api, target.strip("<>"))
    assert {r["name"] for r in [*shown["references"], *rest]} >= made
    assert shown["references_count"] == len(shown["references"]) + len(rest)


def more_tags(row: Registry, count: int) -> set[str]:
    names = {f"many-{number:04}" for number in range(count)}
    with connection():
        Reference.insert_many(
            [{"registry": row, "name": name, "is_tag": True, "created_at": row.created_at} for name in names]
        ).execute()
    return names


def test_attempts_newest_first(api: Face, seeded: Seeded) -> None:
    address = f"{REPOSITORIES}/{seeded.failed.id}/attempts"
    found = walk(api, f"{address}?per_page=3")
    assert [row["id"] for row in found] == sorted((row["id"] for row in found), reverse=True)
    assert {row["reason"] for row in found} == {"unauthorized"}
    assert len(get(api, f"{address}?reference=latest")) == 4
    assert get(api, f"{address}?reference=stable") == []


def test_resync_marks_the_repository_and_wakes_a_worker(api: Face, seeded: Seeded) -> None:
    response = api.client.post(f"{REPOSITORIES}/{seeded.synced.id}/resync", headers={"PRIVATE-TOKEN": ADMIN_TOKEN})
    assert response.status_code == 202
    shown = response.get_json()
    assert (shown["state"], shown["full_sync"], shown["path"]) == (SyncState.PENDING, True, "library/nginx")
    assert api.row(seeded.synced.id).full_sync
    assert api.wake.woken == [1]


def test_resync_needs_the_token(api: Face, seeded: Seeded) -> None:
    assert api.client.post(f"{REPOSITORIES}/{seeded.synced.id}/resync").status_code == 401
    assert api.row(seeded.synced.id).state == SyncState.SYNCED
    assert api.wake.woken == []


def test_what_is_in_quarantine(api: Face, seeded: Seeded) -> None:
    newest, oldest = walk(api, "/api/v4/geo/quarantined_events?per_page=1")
    assert newest["id"] > oldest["id"]
    assert oldest["excerpt"] == HOSTILE
    assert newest["occurrences"] == 12


@pytest.mark.parametrize(
    "number", ["0", "999999", "2147483648", "9223372036854775808", "9" * 30, "9" * 5000, "x", "-1"]
)
@pytest.mark.parametrize("below", ["", "/references", "/attempts"])
def test_what_is_not_there(api: Face, number: str, below: str) -> None:
    response = ask(api, f"{REPOSITORIES}/{number}{below}")
    assert response.status_code == 404
    assert response.content_type == "application/problem+json"
    get(api, f"/api/v4/geo_sites/{number}", 404)


def test_a_database_that_is_not_there_is_a_503(tmp_path: Path) -> None:
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state", migrated=False) as broken:
        assert ask(broken, "/api/v4/geo_sites").status_code == 503
