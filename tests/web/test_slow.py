"""What holds a thread for seconds never holds them all."""

from __future__ import annotations

import pytest
from werkzeug.test import TestResponse

from app import gunicorn_conf
from app.api import feed
from app.api.resources import waiting
from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import SyncState
from app.web import bodies, slow
from tests.api.asking import REPOSITORIES, Asking
from tests.support.face import csrf
from tests.support.seed import Seeded


def marked() -> int:
    with connection():
        return int(Registry.select().where(Registry.state == SyncState.PENDING).count())


def test_all_that_may_hold_a_thread_leaves_some_to_registries() -> None:
    holding = waiting.WAITING + feed.WAITING + feed.LISTING + slow.LOOKING + slow.MARKING + bodies.UNPROVEN
    assert holding <= gunicorn_conf.threads - 2


@pytest.mark.parametrize("what", ["resync", "reverify"])
def test_many_are_marked_by_one_request_at_a_time(asking: Asking, rows: Seeded, what: str) -> None:
    # Given a process that marks many repositories
    asking.face.sign_in()
    form = {"csrf_token": csrf(asking.face.client.get(f"/admin/repositories/{what}").text)}
    before = marked()
    with slow.marking.one() as got:
        assert got
        # Then another request is told to come again, by script or page, and nothing is marked
        response = asking.send("POST", f"{REPOSITORIES}/{what}?all=true")
        assert response.content_type == "application/problem+json"
        told_busy(response)
        told_busy(asking.face.client.post(f"/admin/repositories/{what}", data=form))
        assert marked() == before
    # And has its turn when that is over
    asking.post(f"{REPOSITORIES}/{what}?all=true")
    assert asking.face.client.post(f"/admin/repositories/{what}", data=form).status_code == 303


def test_registries_are_looked_at_by_one_page_at_a_time(asking: Asking, rows: Seeded) -> None:
    # Given a page that waits for a registry
    asking.face.sign_in()
    form = {"csrf_token": csrf(asking.face.client.get("/admin/check").text)}
    graph = f"/admin/repositories/{rows.synced.id}/graph?reference=1.5"
    with slow.looking.one() as got:
        assert got
        # Then the others are not kept
        told_busy(asking.face.client.get(graph))
        told_busy(asking.face.client.post("/admin/check", data=form))
    # And have their turn when that is over
    assert asking.face.client.get(graph).status_code == 200


def told_busy(response: TestResponse) -> None:
    assert (response.status_code, response.headers["Retry-After"]) == (503, str(slow.ASK_AGAIN))
    assert "Try again in a moment." in response.text
