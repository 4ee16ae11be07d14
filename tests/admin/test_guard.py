from __future__ import annotations

from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from app.admin import guard
from app.database import database
from app.models import SyncState
from tests.support.face import Face, csrf, face
from tests.support.seed import seed

PAGES = (
    "/admin",
    "/admin/repositories",
    "/admin/repositories/1",
    "/admin/events",
    "/admin/quarantine",
    "/admin/check",
    "/admin/repositories/resync",
    "/admin/nowhere",
)


@pytest.mark.parametrize("path", PAGES)
def test_nobody_sees_a_page_without_signing_in(sqlite_pages: Face, path: str) -> None:
    response = sqlite_pages.client.get(path)
    assert response.status_code == 303
    assert response.location.startswith("/admin/sign-in")


@pytest.mark.parametrize("path", [*PAGES, "/admin/sign-in"])
def test_without_an_admin_token_the_pages_are_closed_and_say_so(tmp_path: Path, path: str) -> None:
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state", GEO_ADMIN_TOKEN="") as closed:
        response = closed.client.get(path)
        assert response.status_code == 403
        assert "GEO_ADMIN_TOKEN" in response.text
        assert closed.client.post("/admin/sign-in", data={"token": ""}).status_code == 403


def test_signing_in_leads_to_the_page_that_was_wanted(sqlite_pages: Face) -> None:
    wanted = sqlite_pages.client.get("/admin/repositories?state=failed")
    page = sqlite_pages.client.get(wanted.location).text
    assert 'name="next" value="/admin/repositories?state=failed"' in page
    assert sqlite_pages.sign_in(next="/admin/repositories?state=failed").location == "/admin/repositories?state=failed"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example",
        "//evil.example/admin",
        "/admin/../metrics",
        "/admin\\@evil.example",
        "/\\evil.example",
        "/administrator",
        "javascript:alert(1)",
        "/admin/\nSet-Cookie: a=b",
        "http:/admin",
        "",
    ],
)
def test_signing_in_leads_nowhere_else(sqlite_pages: Face, target: str) -> None:
    assert sqlite_pages.sign_in(next=target).location == "/admin"
    assert sqlite_pages.client.get("/admin/sign-in", query_string={"next": target}).location == "/admin"


def test_a_wrong_token_is_said_kindly(sqlite_pages: Face) -> None:
    response = sqlite_pages.sign_in("wrong")
    assert response.status_code == 401
    assert "not the admin token" in response.text
    assert sqlite_pages.client.get("/admin").status_code == 303


def test_guesses_are_throttled_by_address(sqlite_pages: Face) -> None:
    # Given as many wrong tokens as are let pass
    for _ in range(guard.throttle.limit):
        assert sqlite_pages.sign_in("wrong").status_code == 401
    # Then the next has to wait, and is told how long
    response = sqlite_pages.sign_in("wrong")
    assert response.status_code == 429
    assert 0 < int(response.headers["Retry-After"]) <= guard.throttle.window + 1
    # And one from another address does not
    page = sqlite_pages.client.get("/admin/sign-in").text
    form = {"csrf_token": csrf(page), "token": "wrong"}
    other = sqlite_pages.client.post("/admin/sign-in", data=form, environ_base={"REMOTE_ADDR": "192.0.2.9"})
    assert other.status_code == 401


def test_nobody_is_locked_out_by_others_behind_the_same_proxy(sqlite_pages: Face) -> None:
    # Given an address from which others have guessed
    for _ in range(100):
        response = sqlite_pages.sign_in("wrong")
    assert response.status_code == 429
    # Then whoever has the token comes in
    assert sqlite_pages.sign_in().status_code == 303


def test_a_weak_token_has_to_wait_though_it_is_right(tmp_path: Path) -> None:
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state", GEO_ADMIN_TOKEN="monday") as weak:
        # Given guesses at a token that could be guessed
        for _ in range(guard.throttle.limit):
            assert weak.sign_in("tuesday").status_code == 401
        # Then the next is not looked at, so that it does not help to go on
        assert weak.sign_in("monday").status_code == 429


def test_another_sites_form_cannot_sign_in(sqlite_pages: Face) -> None:
    response = sqlite_pages.client.post("/admin/sign-in", data={"token": "tests-admin-token-0123456789"})
    assert response.status_code == 400
    assert "too old" in response.text


@pytest.mark.parametrize("token", [None, "", "guessed", "ünïcode"])
def test_another_sites_form_cannot_do_anything(sqlite_pages: Face, token: str | None) -> None:
    # Given somebody signed in, and a page elsewhere that posts in their name
    row = seed(sqlite_pages.site).synced
    sqlite_pages.sign_in()
    form = {} if token is None else {"csrf_token": token}
    response = sqlite_pages.client.post(f"/admin/repositories/{row.id}/resync", data=form)
    # Then nothing happens
    assert response.status_code == 403
    assert sqlite_pages.row(row.id).state == SyncState.SYNCED
    assert sqlite_pages.wake.woken == []


def test_a_form_of_one_who_is_not_signed_in_does_nothing(sqlite_pages: Face) -> None:
    row = seed(sqlite_pages.site).synced
    page = sqlite_pages.client.get("/admin/sign-in").text
    response = sqlite_pages.client.post(f"/admin/repositories/{row.id}/resync", data={"csrf_token": csrf(page)})
    assert response.location == "/admin/sign-in"
    assert sqlite_pages.row(row.id).state == SyncState.SYNCED


def test_signing_out(sqlite_pages: Face) -> None:
    sqlite_pages.sign_in()
    page = sqlite_pages.client.get("/admin").text
    response = sqlite_pages.client.post("/admin/sign-out", data={"csrf_token": csrf(page)}, follow_redirects=True)
    assert "You are signed out." in response.text
    assert sqlite_pages.client.get("/admin").status_code == 303


@pytest.mark.parametrize("path", [*PAGES, "/admin/sign-in", "/admin/static/style.css"])
def test_every_answer_is_hardened(sqlite_pages: Face, path: str) -> None:
    for response in (sqlite_pages.client.get(path), signed_in(sqlite_pages, path)):
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]
        assert "unsafe" not in response.headers["Content-Security-Policy"]
        assert response.headers["X-Frame-Options"] == "DENY"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "same-origin"
        assert ("no-store" in response.headers["Cache-Control"]) == ("static" not in path)
        response.close()


def test_files_that_never_change_are_kept_and_need_no_session(sqlite_pages: Face) -> None:
    with sqlite_pages.app.test_request_context():
        address = guard.asset("style.css")
    with sqlite_pages.client.get(address) as response:
        assert response.status_code == 200
        assert "immutable" in response.headers["Cache-Control"]
        assert "Set-Cookie" not in response.headers


def test_an_address_that_is_not_there_is_a_page(sqlite_pages: Face) -> None:
    response = signed_in(sqlite_pages, "/admin/nowhere")
    assert response.status_code == 404
    assert response.mimetype == "text/html"


def test_an_overlong_form_is_refused(sqlite_pages: Face) -> None:
    response = sqlite_pages.client.post("/admin/sign-in", data={"token": "x" * (guard.MAX_FORM + 1)})
    assert response.status_code == 413


def test_a_database_that_is_not_there_is_said_on_a_page(tmp_path: Path) -> None:
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state", migrated=False) as pages:
        response = signed_in(pages, "/admin/repositories")
        assert response.status_code == 503
        assert "geo migrate" in response.text
        assert response.headers["Retry-After"]


def test_the_database_is_let_go_of_after_each_page(sqlite_pages: Face) -> None:
    sqlite_pages.sign_in()
    for path in PAGES:
        sqlite_pages.client.get(path)
        assert database.is_closed(), path


def signed_in(pages: Face, path: str) -> TestResponse:
    pages.sign_in()
    return pages.client.get(path)
