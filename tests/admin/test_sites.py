from __future__ import annotations

from dataclasses import replace

from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Site, VerificationState
from app.replication import remote_sites
from app.replication.level import Level
from app.replication.remote_sites import Change, Declaration
from tests.admin.checked import Checked
from tests.support.face import Face
from tests.support.seed import busy_day, remote_site, seed
from tests.support.site_report import REPORT


def sites(pages: Face) -> str:
    pages.sign_in()
    page = pages.client.get("/admin").text
    Checked(page)
    return page


def test_the_last_day_is_plotted_and_told_in_numbers(pages: Face) -> None:
    # Given a day of copies and failures
    rows = seed(pages.site)
    busy_day(rows.synced)
    # Then there are two plots, each with a name and in words, and the same in a table
    page = sites(pages)
    assert page.count('<figure class="plot">') == 2
    assert 'aria-label="Throughput. ' in page
    assert "failed tries" in page
    assert "From push to being there" in page
    assert "Hour by hour, in numbers" in page
    assert "copied in the last 10 minutes" in page


def test_a_day_on_which_nothing_was_done_has_no_plot(pages: Face) -> None:
    assert "<figure" not in sites(pages)


def test_what_is_being_copied_is_named_with_what_is_left(pages: Face) -> None:
    rows = seed(pages.site)
    page = sites(pages)
    assert "Being copied now" in page
    assert f'href="/admin/repositories/{rows.started.id}"' in page
    assert "1 left" in page


def test_verification_has_a_bar_that_leads_to_what_failed(pages: Face) -> None:
    # Given one repository found wanting and one found whole
    rows = seed(pages.site)
    with connection():
        for row, state in ((rows.failed, VerificationState.FAILED), (rows.synced, VerificationState.SUCCEEDED)):
            Registry.update(verification_state=state, verification_failure="v1: gone").where(
                Registry.id == row.id
            ).execute()
    page = sites(pages)
    assert 'aria-label="Verification of repositories: 1 verified, 43 queued, 1 failed"' in page
    assert "verification=failed" in page
    assert "v1: gone" in page


def test_remote_sites_are_shown_by_what_they_report(sqlite_pages: Face) -> None:
    # Given three sites with deployments of their own: one that reports, one whose report is old, one that never did
    remote_site("berlin", reported=REPORT)
    remote_site("tokyo", reported=replace(REPORT, level=Level.HEALTHY), minutes_ago=30)
    remote_site("lima")
    page = sites(sqlite_pages)
    berlin, lima, tokyo = (
        page.split(f">{name}<wbr></h2>")[1].split("</section>")[0] for name in ("berlin", "lima", "tokyo")
    )
    # Then each says whose numbers it has, and how old
    assert "In sync" in berlin
    assert 'aria-label="Repositories: 8 synced, 1 queued, 1 failed"' in berlin
    assert "7 verified" in berlin
    assert "team/app:v1 (denied)" in berlin
    assert "All numbers here are as old" not in berlin
    assert "All numbers here are as old as its last report" in tokyo
    assert "30 min old" in tokyo
    assert "It has never reported its status" in lima
    assert 'class="bar"' not in lima
    # And none leads to a list of repositories that only its own deployment has
    assert "/admin/repositories" not in berlin


def test_a_removed_site_is_only_mentioned(sqlite_pages: Face) -> None:
    remote_site("berlin", reported=REPORT)
    with connection():
        there = Declaration.of(Site.get(Site.name == "berlin"))
    remote_sites.apply([Change(there, None)])
    page = sites(sqlite_pages)
    assert "No longer a site" in page
    assert ">berlin<wbr></h2>" not in page
