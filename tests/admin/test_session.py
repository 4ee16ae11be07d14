from __future__ import annotations

import time
from pathlib import Path

from app.admin import session
from tests.support.face import Face, face


def test_the_environments_key_wins(tmp_path: Path) -> None:
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state", GEO_SECRET_KEY="k" * 40) as pages:
        assert pages.app.secret_key == "k" * 40
    assert not (tmp_path / "state").exists()


def test_a_session_outlives_a_change_of_the_key(tmp_path: Path) -> None:
    # Given somebody signed in by the old key
    database, state = f"sqlite:///{tmp_path}/geo.db", tmp_path / "state"
    with face(database, state, GEO_SECRET_KEY="the-old-key") as before:
        before.sign_in()
        cookie = before.client.get_cookie("geo_session", path="/admin")
        assert cookie is not None

    # When the deployment restarts with a new one before it, Then they stay signed in
    with face(database, state, GEO_SECRET_KEY="the-new-key, the-old-key") as between:
        between.client.set_cookie("geo_session", cookie.value, path="/admin")
        assert between.client.get("/admin").status_code == 200

    # And once the old one is taken out, its session has ended
    with face(database, state, GEO_SECRET_KEY="the-new-key") as after:
        after.client.set_cookie("geo_session", cookie.value, path="/admin")
        assert after.client.get("/admin").status_code == 303


def test_where_nothing_can_be_kept_all_processes_still_agree(tmp_path: Path) -> None:
    # Given a state directory that cannot be made
    (tmp_path / "file").touch()
    keys = set()
    for number in range(2):
        with face(f"sqlite:///{tmp_path}/{number}.db", tmp_path / "file" / "state") as pages:
            keys.add(pages.app.secret_key)
            # Then people can sign in
            assert pages.sign_in().status_code == 303
    assert len(keys) == 1


def test_the_cookie_is_for_the_pages_alone_and_no_script(sqlite_pages: Face) -> None:
    cookie = sqlite_pages.sign_in().headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/admin" in cookie
    assert "Secure" not in cookie


def test_the_cookie_stays_on_tls_where_the_browser_came_over_it(sqlite_pages: Face) -> None:
    response = sqlite_pages.client.get("/admin/sign-in", headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in response.headers["Set-Cookie"]


def test_a_session_ends_by_itself(sqlite_pages: Face) -> None:
    # Given somebody who signed in long ago
    sqlite_pages.sign_in()
    assert sqlite_pages.client.get("/admin").status_code == 200
    with sqlite_pages.client.session_transaction(path="/admin") as kept:
        kept["since"] = int(time.time()) - session.LIFETIME - 1
    # Then they have to do it again, however busy they were
    assert sqlite_pages.client.get("/admin").status_code == 303


def test_a_new_admin_token_ends_the_sessions_of_the_old_one(tmp_path: Path) -> None:
    # Given somebody signed in with the old token
    database, state = f"sqlite:///{tmp_path}/geo.db", tmp_path / "state"
    with face(database, state) as before:
        before.sign_in()
        cookie = before.client.get_cookie("geo_session", path="/admin")
        assert cookie is not None
    # When the deployment restarts with another
    with face(database, state, GEO_ADMIN_TOKEN="another-admin-token") as after:
        after.client.set_cookie("geo_session", cookie.value, path="/admin")
        # Then they are out
        assert after.client.get("/admin").status_code == 303


def test_a_planted_session_does_not_become_a_signed_in_one(sqlite_pages: Face) -> None:
    # Given a cookie that was there before signing in
    sqlite_pages.client.get("/admin/sign-in")
    with sqlite_pages.client.session_transaction(path="/admin") as planted:
        before = planted["csrf"]
    # When one signs in
    sqlite_pages.sign_in()
    # Then nothing of it is left
    sqlite_pages.client.get("/admin")
    with sqlite_pages.client.session_transaction(path="/admin") as after:
        assert after["csrf"] != before
