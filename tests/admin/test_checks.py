from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from app.replication.check import turn
from tests.admin.checked import Checked
from tests.support.face import Face, csrf, face


@pytest.fixture
def pages(sqlite_pages: Face) -> Face:
    sqlite_pages.sign_in()
    return sqlite_pages


def test_the_findings_say_what_is_wrong_why_and_what_to_change(pages: Face) -> None:
    # Given a deployment whose registries and queue are not there
    page = pages.client.get("/admin/check").text
    Checked(page)
    assert "Nothing was looked at yet" in page
    # When the button is pressed
    response = pages.client.post("/admin/check", data={"csrf_token": csrf(page)})
    # Then errors come before warnings, each with its cure, and what is in order is said too
    assert response.status_code == 200
    Checked(response.text)
    assert "queue-missing" in response.text
    assert "registry-unreachable" in response.text
    assert "export REDIS_URL=" in response.text
    assert response.text.rindex("finding error") < response.text.index("finding warning")
    assert "reachable and migrated" in response.text
    assert "tests-notification-secret" not in response.text


def test_two_do_not_look_at_once(pages: Face, tmp_path: Path) -> None:
    # Given another process that looks at everything
    page = pages.client.get("/admin/check").text
    (tmp_path / "state").mkdir(exist_ok=True)
    with (tmp_path / "state" / turn.LOCK).open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        response = pages.client.post("/admin/check", data={"csrf_token": csrf(page)})
    # Then one is told so, and nothing is looked at
    assert response.status_code == 409
    assert "being looked at already" in response.text
    assert "finding" not in response.text


def test_only_our_own_form_can_have_it_looked_at(pages: Face) -> None:
    assert pages.client.post("/admin/check").status_code == 403


def test_a_database_that_is_not_migrated_is_a_finding(tmp_path: Path) -> None:
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state", migrated=False) as pages:
        pages.sign_in()
        page = pages.client.get("/admin/check").text
        response = pages.client.post("/admin/check", data={"csrf_token": csrf(page)})
        assert response.status_code == 200
        assert "database-un" in response.text
