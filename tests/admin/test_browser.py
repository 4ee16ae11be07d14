"""The pages in a real browser: they fit, break no rule of their own, and can be worked with by people."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect
from werkzeug.serving import make_server

from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import SyncState, VerificationState
from tests.integration.conftest import DeploymentFactory, Pair
from tests.support import images
from tests.support.deployment import ADMIN_TOKEN
from tests.support.face import Face, face
from tests.support.seed import Seeded, busy_day, remote_site, seed
from tests.support.site_report import REPORT
from tests.support.wait import wait_until
from tests.support.wire import delete_digest, digest_of, push

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

Scheme = Literal["light", "dark"]

#: A phone, a tablet, a desk.
WIDTHS = (390, 820, 1400)

#: Milliseconds that a page has for what people wait for: several times its own refresh.
PATIENCE = 60_000

#: The smallest that a finger hits (WCAG 2.2, 2.5.8), in pixels.
TARGET = 24


@dataclass(frozen=True, slots=True)
class Served:
    """The pages of a bad week, on a port."""

    url: str
    rows: Seeded
    pages: Face


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    path = tmp_path_factory.mktemp("served")
    with face(f"sqlite:///{path}/geo.db", path / "state") as pages:
        rows = seed(pages.site)
        busy_day(rows.synced)
        remote_site("berlin", reported=REPORT)
        remote_site("tokyo", reported=replace(REPORT, headline="A headline that is rather long"), minutes_ago=30)
        with connection():
            failed = {"verification_state": VerificationState.FAILED, "verification_failure": "v1: a blob is not there"}
            Registry.update(**failed).where(Registry.id == rows.failed.id).execute()
        server = make_server("127.0.0.1", 0, pages.app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, name="pages")
        thread.start()
        try:
            yield Served(f"http://127.0.0.1:{server.server_port}", rows, pages)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@contextmanager
def opened(
    browser: Browser, url: str, *, width: int = 1400, scheme: Scheme = "light", script: bool = True
) -> Iterator[Page]:
    """A page of somebody who has signed in."""
    context = browser.new_context(
        base_url=url, viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=script
    )
    try:
        page = context.new_page()
        page.goto("/admin")
        page.get_by_label("Admin token").fill(ADMIN_TOKEN)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Sites", level=1)).to_be_visible()
        yield page
    finally:
        context.close()


def addresses(rows: Seeded) -> list[str]:
    repository = f"/admin/repositories/{rows.failed.id}"
    return [
        *("/admin", "/admin/repositories", "/admin/repositories?state=failed&sort=state", "/admin/events"),
        *("/admin/repositories?search=nothing", "/admin/repositories/reverify", "/admin/quarantine", "/admin/check"),
        *(repository, f"{repository}/history", f"{repository}/history?reference=latest"),
        f"{repository}/graph?reference=latest",
        f"/admin/repositories/{rows.started.id}",
        f"/admin/repositories/{rows.hostile.id}",
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_fits_and_breaks_no_rule(chromium: Browser, served: Served, width: int, scheme: Scheme) -> None:
    with opened(chromium, served.url, width=width, scheme=scheme) as page:
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        for address in addresses(served.rows):
            # When it is looked at
            page.goto(address)
            # Then nothing has to be scrolled sideways, and everything to be pressed can be hit
            beyond = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert beyond <= 0, f"{address} is {beyond} px too wide at {width} px"
            small = page.evaluate(
                """least => [...document.querySelectorAll("button, select, input:not([type=hidden]), .button, nav a")]
                    .filter(each => each.checkVisibility() && !each.closest(".unseen") && !each.matches(".unseen"))
                    .filter(each => each.getBoundingClientRect().height < least)
                    .map(each => each.outerHTML)""",
                TARGET,
            )
            assert small == [], address
        # And the browser had nothing to say against any of them: no policy was broken, no script failed
        assert said == []


def test_the_findings_of_the_check_fit_on_a_phone(chromium: Browser, served: Served) -> None:
    with opened(chromium, served.url, width=390) as page:
        page.goto("/admin/check")
        page.get_by_role("button", name="Look at everything now").click()
        expect(page.get_by_text("Looked at just now")).to_be_visible(timeout=PATIENCE)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_keyboard_alone_will_do(chromium: Browser, served: Served) -> None:
    with opened(chromium, served.url) as page:
        # When one tabs into a page, the first thing leads past the navigation
        page.goto("/admin/repositories")
        page.keyboard.press("Tab")
        skip = page.get_by_role("link", name="Skip to the content")
        expect(skip).to_be_focused()
        expect(skip).to_be_in_viewport()
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "content"
        # Then the next are the filters, in their order, and Enter applies them
        page.keyboard.press("Tab")
        expect(page.get_by_label("Path contains")).to_be_focused()
        page.keyboard.type("nginx")
        page.keyboard.press("Enter")
        expect(page.get_by_role("link", name="library/nginx")).to_be_visible()
        expect(page.get_by_role("link", name="team/app")).to_have_count(0)


def test_everything_works_without_javascript(chromium: Browser, served: Served) -> None:
    with opened(chromium, served.url, width=390, script=False) as page:
        # Given the list narrowed to one repository
        page.goto("/admin/repositories")
        page.get_by_label("Path contains").fill("service-007")
        page.get_by_role("button", name="Filter").click()
        expect(page.get_by_role("row")).to_have_count(2)
        # When a verification of all that match is asked for
        page.get_by_role("link", name="Reverify all that match").click()
        expect(page.get_by_role("heading", name="Reverify 1 repository?")).to_be_visible()
        page.get_by_label("How far").select_option("content")
        page.get_by_role("button", name="Reverify 1 repository").click()
        # Then it is said to be done, on the list that was left
        expect(page.get_by_role("status")).to_contain_text("1 repository is being looked for")
        assert "search=service-007" in page.url
        # And one signs out as well
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_text("You are signed out.")).to_be_visible()


def test_a_page_that_refreshes_leaves_alone_whoever_works_in_it(chromium: Browser, served: Served) -> None:
    with opened(chromium, served.url) as page:
        # Given somebody who opened the numbers behind the plots
        page.goto("/admin")
        page.evaluate("window.same = true")
        hours = page.locator("details.hours").first
        hours.locator("summary").click()
        expect(page.get_by_role("link", name="hostile/strings")).to_have_count(1)
        # When what it told of as failing is due again
        with connection():
            Registry.update(state=SyncState.PENDING, last_sync_failure=None).where(
                Registry.id == served.rows.hostile.id
            ).execute()
        # Then the page shows it by itself, and what was open stays open and in focus
        expect(page.get_by_role("link", name="hostile/strings")).to_have_count(0, timeout=PATIENCE)
        assert page.evaluate("window.same")
        expect(hours.locator("table")).to_be_visible()
        expect(hours.locator("summary")).to_be_focused()


@pytest.fixture
def replicated(deploy: DeploymentFactory) -> Pair:
    """Two repositories of which one has lost its image on the secondary, behind our back."""
    pair = deploy(GEO_VERIFICATION="off", GEO_VERIFICATION_INTERVAL="off")
    image = images.image()
    push(pair.primary, "team/app", "v1", image)
    push(pair.primary, "team/other", "v1", images.image())
    for repository in ("team/app", "team/other"):
        wait_until(
            lambda repository=repository: digest_of(pair.secondary, repository, "v1") is not None,  # type: ignore[misc]
            timeout=40,
            message=lambda: pair.geo.log_text[-4000:],
        )
    wait_until(lambda: '"state": 2' in pair.geo.geo("repositories", "--json"), timeout=20)
    delete_digest(pair.secondary, "team/app", image.digest)
    return pair


def test_sign_in_filter_resync_and_watch_it_finish(chromium: Browser, replicated: Pair) -> None:
    pair = replicated
    with opened(chromium, pair.geo.url) as page:
        # Given the list, narrowed to the repository that lost its image
        page.get_by_role("link", name="Repositories").click()
        page.get_by_label("Path contains").fill("app")
        page.get_by_role("button", name="Filter").click()
        expect(page.get_by_role("link", name="team/other")).to_have_count(0)
        assert digest_of(pair.secondary, "team/app", "v1") is None
        # When a resync is asked for
        page.get_by_role("button", name="Resync team/app on").click()
        expect(page.get_by_role("status")).to_contain_text("team/app will be compared")
        page.evaluate("window.same = true")
        # Then the page, never loaded anew, comes to show the copy that the comparison found due
        done = page.get_by_role("row", name="copy synced").filter(has_text="full")
        expect(done).to_be_visible(timeout=PATIENCE)
        expect(page.locator("dl.figures .state").first).to_have_text("synced", timeout=PATIENCE)
        assert page.evaluate("window.same")
        # And the image is there again
        assert digest_of(pair.secondary, "team/app", "v1") == digest_of(pair.primary, "team/app", "v1")


def test_the_graph_and_the_check_of_a_real_deployment(chromium: Browser, replicated: Pair) -> None:
    with opened(chromium, replicated.geo.url) as page:
        # Given a repository whose image is gone from the secondary
        page.goto("/admin/repositories?search=team/app")
        page.get_by_role("link", name="team/app").click()
        # When one looks what its tag is made of, then what is missing can be seen
        page.get_by_role("link", name="What v1 is made of").click()
        expect(page.get_by_text("missing", exact=True).first).to_be_visible()
        # And the check finds everything else in order
        page.get_by_role("link", name="Check").click()
        page.get_by_role("button", name="Look at everything now").click()
        expect(page.get_by_text("Looked at just now")).to_be_visible(timeout=PATIENCE)
        expect(page.locator(".finding.error")).to_have_count(0)
        expect(page.locator(".fine")).to_contain_text("reachable and migrated")
