from __future__ import annotations

import re

import pytest

from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import SyncState
from tests.admin.checked import Checked
from tests.support.face import Face, csrf
from tests.support.seed import LONG, Seeded, digest, seed


@pytest.fixture
def seeded(pages: Face) -> Seeded:
    rows = seed(pages.site)
    pages.sign_in()
    return rows


def addresses(rows: Seeded) -> list[str]:
    return [
        "/admin",
        "/admin/",
        "/admin/repositories",
        "/admin/repositories?state=failed&site=europe&search=e",
        "/admin/repositories?search=nothing-like-it",
        f"/admin/repositories/{rows.failed.id}",
        f"/admin/repositories/{rows.failed.id}?state=synced",
        f"/admin/repositories/{rows.started.id}",
        f"/admin/repositories/{rows.hostile.id}",
        f"/admin/repositories/{rows.failed.id}/history",
        f"/admin/repositories/{rows.failed.id}/history?reference=latest",
        f"/admin/repositories/{rows.failed.id}/history?reference=theirs",
        f"/admin/repositories/{rows.hostile.id}/history?reference=bad",
        "/admin/repositories?verification=succeeded&sort=state",
        "/admin/repositories?sort=newest",
        "/admin/repositories/resync?state=failed&search=e",
        "/admin/repositories/reverify",
        f"/admin/repositories/{rows.hostile.id}/graph?reference=bad",
        "/admin/events?repository=team/app",
        "/admin/events?repository=nobody/knows",
        "/admin/check",
        "/admin/events",
        "/admin/quarantine",
    ]


def test_every_page_is_sound_and_shows_strangers_words_as_words(pages: Face, seeded: Seeded) -> None:
    # Given repositories, tags, events and failures with hostile names
    for address in addresses(seeded):
        response = pages.client.get(address)
        # Then every page is whole, has nothing inline, labels what one fills in, and runs nothing of theirs
        assert response.status_code == 200, address
        Checked(response.text)
        assert "<script>alert" not in response.text
        assert "\u202e" not in response.text
        assert "\x07" not in response.text


def test_every_page_of_an_empty_installation_says_what_to_do_next(pages: Face) -> None:
    pages.sign_in()
    for address, words in (
        ("/admin", "/api/v4/container_registry_event/events"),
        ("/admin/repositories", "geo sync --all"),
        ("/admin/events", "/api/v4/container_registry_event/events"),
        ("/admin/quarantine", "nothing to do"),
    ):
        page = pages.client.get(address).text
        Checked(page)
        assert words in page, address


def test_pages_show_no_secret(pages: Face) -> None:
    pages.sign_in()
    for address in ("/admin", "/admin/events"):
        page = pages.client.get(address).text
        assert "tests-notification-secret" not in page
        assert "tests-admin-token" not in page


def test_the_sites_page_counts_and_judges(pages: Face, seeded: Seeded) -> None:
    page = pages.client.get("/admin").text
    assert "2 repositories fail" in page
    assert 'aria-label="Repositories: 41 synced, 2 queued, 2 failed"' in page
    assert "401 Unauthorized" in page
    assert f'href="/admin/repositories/{seeded.failed.id}"' in page


def test_all_repositories_are_reached_by_next_each_once(pages: Face, seeded: Seeded) -> None:
    # When one follows the list to its end
    seen: list[str] = []
    address: str | None = "/admin/repositories"
    while address is not None:
        page = pages.client.get(address).text
        seen += re.findall(r'href="/admin/repositories/(\d+)"', page)
        found = re.search(r'href="([^"]+)" rel="next"', page)
        address = found.group(1).replace("&amp;", "&") if found else None
    # Then each was there, once
    with connection():
        assert sorted(map(int, seen)) == sorted(row.id for row in Registry.select())


def test_the_filters_of_the_list_are_kept_from_page_to_page(pages: Face, seeded: Seeded) -> None:
    page = pages.client.get("/admin/repositories?state=synced&search=service").text
    found = re.search(r'href="([^"]+)" rel="next"', page)
    assert found
    assert "state=synced" in found.group(1)
    assert "search=service" in found.group(1)
    assert "library/" not in page


def test_a_tag_is_shown_with_both_digests_and_why_it_is_not_there(pages: Face, seeded: Seeded) -> None:
    page = pages.client.get(f"/admin/repositories/{seeded.failed.id}").text
    assert f'title="{digest("release-2024")}"' in page
    assert f'title="{digest("old")}"' in page
    assert "the same" in page
    assert "not ours" in page
    assert "to be deleted" in page
    assert "check that issuer" in page


def test_the_history_of_a_tag(pages: Face, seeded: Seeded) -> None:
    page = pages.client.get(f"/admin/repositories/{seeded.failed.id}/history?reference=latest").text
    assert page.count("copy failed") == 4
    assert digest("latest") in page
    # A tag that is gone from both sides still has one; one that never was has none.
    assert pages.client.get(f"/admin/repositories/{seeded.failed.id}/history?reference=never").status_code == 404


def test_long_names_are_shown_whole(pages: Face, seeded: Seeded) -> None:
    page = pages.client.get(f"/admin/repositories/{seeded.started.id}").text
    assert LONG in page.replace("<wbr>", "")
    assert "t" * 128 in page


def test_resync_marks_the_repository_wakes_a_worker_and_says_so(pages: Face, seeded: Seeded) -> None:
    # Given a repository in sync
    address = f"/admin/repositories/{seeded.synced.id}"
    page = pages.client.get(address).text
    # When its button is pressed
    response = pages.client.post(f"{address}/resync", data={"csrf_token": csrf(page)})
    # Then a full sync is due and somebody was woken, and the page that follows says it once
    row = pages.row(seeded.synced.id)
    assert (row.state, row.full_sync) == (SyncState.PENDING, True)
    assert pages.wake.woken == [1]
    assert response.status_code == 303
    assert "library/nginx will be compared" in pages.client.get(response.location).text
    assert "library/nginx will be compared" not in pages.client.get(response.location).text


def test_resync_does_not_disturb_a_sync_that_runs(pages: Face, seeded: Seeded) -> None:
    page = pages.client.get("/admin/repositories").text
    pages.client.post(f"/admin/repositories/{seeded.started.id}/resync", data={"csrf_token": csrf(page)})
    row = pages.row(seeded.started.id)
    assert (row.state, row.full_sync, row.lease_owner) == (SyncState.STARTED, True, "machine:7")


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/admin/repositories/999999", 404),
        ("/admin/repositories/99999999999999999999", 404),
        ("/admin/repositories/x", 404),
        ("/admin/repositories?state=broken", 400),
        ("/admin/repositories?after=rubbish", 400),
        ("/admin/repositories?search=%00", 400),
        ("/admin/repositories?site=%00", 400),
        ("/admin/events?after=WyJhIl0", 400),
        ("/admin/quarantine?after=%F0%9F%92%A9", 400),
        ("/admin/repositories?search=%25_%5C%27%22", 200),
        ("/admin/repositories?site=nowhere", 200),
        ("/admin/repositories?verification=broken", 400),
        ("/admin/repositories?sort=colour", 400),
        ("/admin/repositories?sort=state&after=WzAsICIiXQ", 200),
        ("/admin/repositories?sort=state&after=Wzk5LCAiIl0", 400),
        ("/admin/repositories?sort=newest&after=WzAsICJXeUo0SWl3Z01WMCJd", 400),
        ("/admin/repositories/resync?state=broken", 400),
        ("/admin/repositories/remove", 404),
        ("/admin/events?repository=%00", 200),
        ("/admin/repositories/99999999999999999999/graph?reference=x", 404),
    ],
)
def test_what_people_type_into_addresses(pages: Face, address: str, status: int) -> None:
    pages.sign_in()
    response = pages.client.get(address)
    assert response.status_code == status
    assert response.mimetype == "text/html"
