"""Waiting for an image over HTTP: what a CI job asks after its push."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from app import gunicorn_conf
from app.api import feed
from app.api.resources import waiting
from app.database import connection
from app.models import Reference, Site, SyncState
from app.replication import remote_sites
from app.replication.remote_sites import Change, Declaration
from app.settings import Secret, SourceSettings
from app.web import slots
from app.web.slots import Slots
from tests.api.asking import REPOSITORIES, Asking
from tests.support.face import SITE, Face
from tests.support.seed import Seeded, digest
from tests.support.wait import wait_until

WAIT = f"{REPOSITORIES}/wait"


def verify(tag: str) -> None:
    with connection():
        Reference.update(verified_digest=Reference.observed_digest).where(Reference.name == tag).execute()


def test_an_image_that_is_there_is_told_at_once(asking: Asking, rows: Seeded) -> None:
    # Given a verified image
    verify("1.5")
    named = digest("1.5")
    # Then both ways to ask for it, and each name of it, lead to it
    for address in (WAIT + "?path=library/nginx&", f"{REPOSITORIES}/{rows.synced.id}/wait?"):
        for query in ("tag=1.5", f"digest={named}", f"tag=1.5&digest={named}", f"digest={named}&timeout=120"):
            found = asking.get(address + query)
            assert (found["path"], found["site"]) == ("library/nginx", SITE)
            assert found["reference"]["name"] == "1.5"
            assert found["reference"]["observed_digest"] == found["reference"]["verified_digest"] == named
    asking.get(f"{WAIT}?path=library/nginx&tag=1.5&site={SITE}")


def test_one_that_is_not_says_what_holds_it_up(asking: Asking, rows: Seeded) -> None:
    # When a failing one is waited for
    told = asking.get(f"{WAIT}?path=team/app&tag=latest&timeout=0", 504)
    # Then the answer says why, what to do, and what is known
    assert (told["cause"], told["path"], told["site"]) == ("failed", "team/app", SITE)
    assert "401 Unauthorized" in told["why"]
    assert "geo sync team/app" in told["next"]
    assert told["detail"] == f"{told['why']} {told['next']}"
    assert told["reference"]["failure_reason"] == "unauthorized"
    # And of one that was only not verified
    assert asking.get(f"{WAIT}?path=library/nginx&tag=1.5&timeout=0", 504)["cause"] == "unverified"
    asking.get(f"{WAIT}?path=library/nginx&tag=1.5&timeout=0&verified=false")


def test_verification_that_is_off_is_not_waited_for(
    asking: Asking, rows: Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    geo = asking.face.app.extensions["geo"]
    monkeypatch.setattr(geo, "settings", replace(geo.settings, verification=None))
    asking.get(f"{WAIT}?path=library/nginx&tag=1.5&timeout=0")


def test_verification_that_the_primary_asks_for_is_waited_for(
    asking: Asking, rows: Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a deployment that verifies nothing by itself, and a primary that has it verify
    geo = asking.face.app.extensions["geo"]
    source = SourceSettings("https://geo.example.com", Secret("a-site-token"), ca_path=None, database_url=None)
    monkeypatch.setattr(geo, "settings", replace(geo.settings, verification=None, source=source))
    asking.get(f"{WAIT}?path=library/nginx&tag=1.5&timeout=0")
    with connection():
        Site.update(granted_verification="blobs").where(Site.id == asking.face.site.id).execute()
    # Then what nobody has verified is not there yet
    for address in (f"{WAIT}?path=library/nginx&", f"{REPOSITORIES}/{rows.synced.id}/wait?"):
        assert asking.get(f"{address}tag=1.5&timeout=0", 504)["cause"] == "unverified"
    verify("1.5")
    asking.get(f"{WAIT}?path=library/nginx&tag=1.5&timeout=0")


def test_it_is_told_when_it_comes(asking: Asking, rows: Seeded) -> None:
    # Given somebody who waits for a digest that is about to come
    answers: list[Any] = []

    def ask() -> None:
        started = time.monotonic()
        client = Asking(Face(asking.face.app, asking.face.site, asking.face.wake))
        found = client.get(f"{WAIT}?path=team/app&digest={digest('latest')}&timeout=60&verified=false")
        answers.append((found, time.monotonic() - started))

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: waiting.waiting._free._value < waiting.WAITING)
    # When it comes
    with connection():
        come = {"state": SyncState.SYNCED, "observed_digest": digest("latest")}
        Reference.update(come).where(Reference.name == "latest").execute()
    thread.join(30)
    # Then it is told, long before the end
    ((found, seconds),) = answers
    assert found["reference"]["name"] == "latest"
    assert seconds < 20


def test_only_so_many_wait_at_once(asking: Asking, rows: Seeded, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a process in which all room is taken
    monkeypatch.setattr(waiting, "waiting", Slots(0))
    # Then another who would have to wait is told to ask again
    response = asking.send("GET", f"{WAIT}?path=team/app&tag=latest&timeout=60")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
    # And who need not wait is answered
    asking.get(f"{WAIT}?path=library/nginx&tag=1.5&verified=false&timeout=60")
    asking.get(f"{WAIT}?path=team/app&tag=latest&timeout=0", 504)


def test_waits_and_the_feed_together_leave_threads_to_registries() -> None:
    holding = waiting.WAITING + feed.WAITING + feed.LISTING
    assert holding <= gunicorn_conf.threads - 2


def test_nobody_waits_for_a_server_that_ends(asking: Asking, rows: Seeded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "serving", lambda: False)
    started = time.monotonic()
    asking.get(f"{WAIT}?path=team/app&tag=latest&timeout=120", 504)
    assert time.monotonic() - started < 20


def test_what_will_not_come_is_not_waited_for(asking: Asking, rows: Seeded) -> None:
    with connection():
        Site.update(repositories="other/**").where(Site.id == asking.face.site.id).execute()
    told = asking.get(f"{WAIT}?path=team/app&tag=never&timeout=120", 409)
    assert told["cause"] == "out_of_scope"


def test_a_retired_site_holds_nothing(asking: Asking, rows: Seeded) -> None:
    # Given an image that was there, verified, when the site was retired
    verify("1.5")
    with connection():
        Site.update(retired=True).where(Site.id == asking.face.site.id).execute()
    # Then both ways to ask say that it will not come
    for address in (f"{WAIT}?path=library/nginx&", f"{REPOSITORIES}/{rows.synced.id}/wait?"):
        for query in ("tag=1.5", f"digest={digest('1.5')}"):
            assert asking.get(f"{address}{query}&timeout=60", 409)["cause"] == "retired"


def test_a_site_with_a_deployment_of_its_own_is_to_be_asked_there(asking: Asking, rows: Seeded) -> None:
    remote_sites.apply([Change(None, Declaration("berlin"))])
    told = asking.get(f"{WAIT}?path=team/app&tag=latest&site=berlin", 409)
    assert "deployment of its own" in told["detail"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("tag=v1", 400),
        ("path=team/app", 400),
        ("path=Team/App&tag=v1", 400),
        ("path=team/app&tag=", 400),
        ("path=team/app&tag=a/b", 400),
        ("path=team/app&digest=sha256:12", 400),
        ("path=team/app&digest=v1", 400),
        (f"path=team/app&digest={digest('x')}&tag=v1&tag=v2", 400),
        ("path=team/app&tag=v1&timeout=121", 400),
        ("path=team/app&tag=v1&timeout=-1", 400),
        ("path=team/app&tag=v1&timeout=1.5", 400),
        ("path=team/app&tag=v1&timeout=", 400),
        ("path=team/app&tag=v1&verified=maybe", 400),
        ("path=team/app&tag=v1&site=nowhere", 404),
        ("path=team/app&tag=v1&site=primary", 404),
        ("path=team/app&tag=v1&site=%00", 404),
    ],
)
def test_what_cannot_be_waited_for(asking: Asking, rows: Seeded, query: str, status: int) -> None:
    asking.get(f"{WAIT}?{query}", status)


@pytest.mark.parametrize("query", ["", "tag=a/b", "digest=1", "tag=v1&timeout=x"])
def test_what_cannot_be_waited_for_in_a_repository(asking: Asking, rows: Seeded, query: str) -> None:
    asking.get(f"{REPOSITORIES}/{rows.synced.id}/wait?{query}", 400)
    asking.get(f"{REPOSITORIES}/999999/wait?tag=v1", 404)


def test_waiting_takes_the_token(asking: Asking, rows: Seeded) -> None:
    assert asking.face.client.get(f"{WAIT}?path=library/nginx&tag=1.5").status_code == 401


def test_a_deployment_without_a_secondary_needs_the_site(
    asking: Asking, rows: Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    geo = asking.face.app.extensions["geo"]
    monkeypatch.setattr(geo, "settings", replace(geo.settings, secondary=None))
    assert "site is required" in asking.get(f"{WAIT}?path=team/app&tag=v1", 400)["detail"]
