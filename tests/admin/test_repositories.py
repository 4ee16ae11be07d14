from __future__ import annotations

import re

import pytest

from app.database import connection
from app.models import ContainerRepository, Site, SyncState, VerificationState
from app.models import ContainerRepositoryRegistry as Registry
from tests.admin.checked import Checked
from tests.support.face import Face, csrf
from tests.support.seed import Seeded, seed


@pytest.fixture
def seeded(pages: Face) -> Seeded:
    rows = seed(pages.site)
    pages.sign_in()
    return rows


def listed(pages: Face, query: str) -> list[int]:
    """Ids of all rows of a list, page by page, in its order."""
    found: list[int] = []
    address: str | None = f"/admin/repositories{query}"
    while address is not None:
        page = pages.client.get(address).text
        found += map(int, re.findall(r'class="name" href="/admin/repositories/(\d+)"', page))
        following = re.search(r'href="([^"]+)" rel="next"', page)
        address = following.group(1).replace("&amp;", "&") if following else None
    return found


@pytest.mark.parametrize("sort", ["", "path", "state", "newest", "oldest"])
def test_each_order_lists_each_repository_once(pages: Face, seeded: Seeded, sort: str) -> None:
    with connection():
        every = sorted(row.id for row in Registry.select())
    assert sorted(listed(pages, f"?sort={sort}")) == every


def test_what_failed_comes_first_where_that_is_asked_for(pages: Face, seeded: Seeded) -> None:
    found = listed(pages, "?sort=state")
    assert found[:3] == [seeded.hostile.id, seeded.failed.id, seeded.started.id]


def test_what_was_never_synced_comes_first_of_the_oldest_and_last_of_the_newest(pages: Face, seeded: Seeded) -> None:
    oldest, newest = listed(pages, "?sort=oldest"), listed(pages, "?sort=newest")
    never = {seeded.hostile.id, seeded.started.id}
    assert never < set(oldest[:3])
    assert oldest[3] == seeded.failed.id
    assert never < set(newest[-3:])
    assert newest[-4] == seeded.failed.id


def test_a_list_is_narrowed_by_verification(pages: Face, seeded: Seeded) -> None:
    with connection():
        Registry.update(verification_state=VerificationState.FAILED).where(Registry.id == seeded.failed.id).execute()
    assert listed(pages, "?verification=failed") == [seeded.failed.id]
    assert seeded.failed.id not in listed(pages, "?verification=pending&search=team")


def test_several_sites_have_no_order_in_common(pages: Face, seeded: Seeded) -> None:
    # Given a second site of this deployment
    created = pages.site.created_at
    with connection():
        other = Site.create(name="asia", url="http://asia.example.com", created_at=created, updated_at=created)
        repository = ContainerRepository.get()
        Registry.create(site=other, container_repository=repository, created_at=created)
    # When one sorts by time without naming one, then that is said, and the list is there all the same
    page = pages.client.get("/admin/repositories?sort=newest").text
    assert "Choose a site" in page
    assert "hostile/" in page
    assert "Choose a site" not in pages.client.get("/admin/repositories?sort=newest&site=asia").text


def ask(pages: Face, wish: str, query: str, **form: str) -> tuple[str, str]:
    """Read what it will do, agree, and return both pages."""
    before = pages.client.get(f"/admin/repositories/{wish}{query}").text
    Checked(before)
    hidden = dict(re.findall(r'type="hidden" name="([a-z]+)" value="([^"]*)"', before))
    response = pages.client.post(
        f"/admin/repositories/{wish}", data={**hidden, "csrf_token": csrf(before), **form}, follow_redirects=True
    )
    assert response.status_code == 200
    return before, response.text


def test_resync_of_all_that_match_says_before_how_many_and_does_it(pages: Face, seeded: Seeded) -> None:
    # Given two repositories that failed
    before, after = ask(pages, "resync", "?state=failed")
    # Then that was said before anything was done
    assert "Resync 2 repositories?" in before
    assert "compared with the primary" in before
    # And these two are due for a full sync, and no other is
    assert "2 repositories are being compared" in after
    assert pages.row(seeded.failed.id).state == SyncState.PENDING
    assert pages.row(seeded.hostile.id).full_sync
    assert not pages.row(seeded.synced.id).full_sync
    assert sum(pages.wake.woken) == 2


def test_asking_is_not_doing(pages: Face, seeded: Seeded) -> None:
    pages.client.get("/admin/repositories/resync")
    assert not pages.row(seeded.synced.id).full_sync
    assert pages.wake.woken == []


def test_reverify_of_all_that_match_goes_as_far_as_is_asked(pages: Face, seeded: Seeded) -> None:
    before, after = ask(pages, "reverify", "?search=nginx", level="content")
    assert "Reverify 1 repository?" in before
    assert "1 repository is being looked for" in after
    row = pages.row(seeded.synced.id)
    assert (row.verification_full, row.verification_requested_level) == (True, "content")
    assert not pages.row(seeded.failed.id).verification_full


def test_all_repositories_are_called_so(pages: Face, seeded: Seeded) -> None:
    page = pages.client.get("/admin/repositories/resync").text
    assert "Resync 45 repositories?" in page
    assert "These are all repositories" in page


def test_nothing_is_asked_of_nothing(pages: Face, seeded: Seeded) -> None:
    page = pages.client.get("/admin/repositories/resync?search=nothing-like-it").text
    assert "Nothing to resync" in page
    assert '<form method="post" action="/admin/repositories/resync"' not in page


def test_an_unknown_level_is_refused(pages: Face, seeded: Seeded) -> None:
    page = pages.client.get("/admin/repositories/reverify").text
    response = pages.client.post("/admin/repositories/reverify", data={"csrf_token": csrf(page), "level": "deep"})
    assert response.status_code == 400
    assert not pages.row(seeded.synced.id).verification_full


@pytest.mark.parametrize("wish", ["resync", "reverify"])
def test_another_sites_form_asks_for_nothing(pages: Face, seeded: Seeded, wish: str) -> None:
    assert pages.client.post(f"/admin/repositories/{wish}").status_code == 403
    row = pages.row(seeded.synced.id)
    assert not row.full_sync
    assert not row.verification_full
