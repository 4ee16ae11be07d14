from __future__ import annotations

import threading
from typing import Any

import pytest

from app.database import connection, database, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Event, Reference, Site, SyncState
from app.replication import awaiting
from app.replication.awaiting import OTHER_DIGEST, UNVERIFIED, Awaited, Delay
from tests.support.face import Face
from tests.support.seed import Seeded, digest, seed

PATH = "library/nginx"


@pytest.fixture
def rows(installation: Face) -> Seeded:
    return seed(installation.site, synced=1)


@pytest.fixture
def site(installation: Face, rows: Seeded) -> Site:
    with connection():
        found: Site = Site.get_by_id(installation.site.id)
        return found


def look(awaited: Awaited, seconds: float = 0, **more: Any) -> Reference | Delay:
    return awaiting.wait(awaited, seconds, replication_enabled=True, **more)


def delay(awaited: Awaited, **more: Any) -> Delay:
    found = look(awaited, **more)
    assert isinstance(found, Delay), found
    return found


def change(name: str, **values: Any) -> None:
    with connection():
        assert Reference.update(**values).where(Reference.name == name).execute()


@pytest.mark.parametrize(
    ("tag", "named"), [("1.5", None), (None, digest("1.5")), ("1.5", digest("1.5"))], ids=["tag", "digest", "both"]
)
def test_what_is_in_sync_is_there(site: Site, tag: str | None, named: str | None) -> None:
    found = look(Awaited(site, PATH, tag, named, verified=False))
    assert isinstance(found, Reference)
    assert found.name == "1.5"


@pytest.mark.parametrize(("tag", "named"), [("1.5", None), (None, digest("1.5"))], ids=["tag", "digest"])
def test_to_be_verified_takes_a_verification(site: Site, tag: str | None, named: str | None) -> None:
    # Given an image that nobody has verified
    awaited = Awaited(site, PATH, tag, named, verified=True)
    told = delay(awaited)
    assert (told.cause, told.vain) == (UNVERIFIED, False)
    assert "geo verify library/nginx" in told.next
    # When somebody has
    change("1.5", verified_digest=digest("1.5"))
    # Then it is there; and what was verified is not what it stands on later
    assert isinstance(look(awaited), Reference)
    change("1.5", observed_digest=digest("newer"), desired_digest=digest("newer"))
    assert isinstance(look(awaited), Delay)


def test_why_a_verification_failed_is_told(site: Site, rows: Seeded) -> None:
    with connection():
        Registry.update(verification_failure="a blob is missing").where(Registry.id == rows.synced.id).execute()
    assert "a blob is missing" in delay(Awaited(site, PATH, "1.5", None, verified=True)).why


def test_what_was_proven_is_there_while_a_later_push_waits(site: Site) -> None:
    # Given a digest that was verified, on a tag that has been pushed anew
    change("1.5", verified_digest=digest("1.5"), desired_digest=digest("newer"), state=SyncState.PENDING)
    assert isinstance(look(Awaited(site, PATH, None, digest("1.5"), verified=True)), Reference)
    # But what the tag will stand on is not
    assert isinstance(look(Awaited(site, PATH, None, digest("newer"), verified=False)), Delay)
    assert isinstance(look(Awaited(site, PATH, "1.5", None, verified=False)), Delay)


def test_a_tag_on_another_digest_is_said(site: Site) -> None:
    told = delay(Awaited(site, PATH, "1.5", digest("never"), verified=False))
    assert told.cause == OTHER_DIGEST
    assert digest("1.5") in told.why
    assert told.reference is not None


def test_a_tag_with_an_unread_event_is_not_known_to_be_there(site: Site, rows: Seeded) -> None:
    # Given a push of the tag that no cursor has read
    with connection():
        instant = now()
        Event.create(
            event_key="late",
            container_repository=rows.synced.container_repository_id,
            action="push",
            tag="1.5",
            digest=digest("newer"),
            occurred_at=instant,
            created_at=instant,
        )
    # Then the tag may be about to move, whatever is there; a digest that is there is
    assert delay(Awaited(site, PATH, "1.5", None, verified=False)).cause == "unread"
    assert isinstance(look(Awaited(site, PATH, None, digest("1.5"), verified=False)), Reference)


def test_a_failure_is_told_and_may_pass(site: Site) -> None:
    told = delay(Awaited(site, "team/app", "latest", None, verified=True))
    assert (told.cause, told.vain) == ("failed", False)
    assert "401 Unauthorized" in told.why


def test_what_nobody_has_heard_of_may_come(site: Site) -> None:
    assert not delay(Awaited(site, "team/new", "v1", None, verified=True)).vain


@pytest.mark.parametrize(
    ("scope", "tags", "tag", "vain"),
    [("other/**", "", "9", True), ("", "v*", "9", True), ("", "v*", None, False), ("other/**", "", None, True)],
)
def test_what_is_out_of_scope_does_not_come(site: Site, scope: str, tags: str, tag: str | None, vain: bool) -> None:
    # Given a site that leaves it out; of a digest alone nobody knows the tags yet
    with connection():
        Site.update(repositories=scope, tags=tags).where(Site.id == site.id).execute()
        narrowed = Site.get_by_id(site.id)
    named = None if tag else digest("nine")
    # Then nobody waits for it
    told = delay(Awaited(narrowed, PATH, tag, named, verified=False), seconds=0 if not vain else 60)
    assert (told.cause, told.vain) == ("out_of_scope", vain)


@pytest.mark.parametrize("path", [PATH, "team/new"])
@pytest.mark.parametrize("repositories", ["", "other/**"])
def test_on_a_retired_site_nothing_is_there_any_more(site: Site, path: str, repositories: str) -> None:
    # Given an image that was verified on a site that is no longer one of ours
    change("1.5", verified_digest=digest("1.5"))
    with connection():
        Site.update(retired=True, repositories=repositories).where(Site.id == site.id).execute()
    # Then nobody is told that it is there, nor waits for it
    for named in (None, digest("1.5")):
        told = delay(Awaited(site, path, "1.5", named, verified=True), seconds=60)
        assert (told.cause, told.vain) == ("retired", True)
        assert site.name in told.why


def test_a_site_that_is_retired_meanwhile_is_waited_for_no_longer(site: Site) -> None:
    def retire(_seconds: float) -> None:
        with connection():
            Site.update(retired=True).where(Site.id == site.id).execute()

    told = delay(Awaited(site, "team/app", "latest", None, verified=False), seconds=60, sleep=retire)
    assert (told.cause, told.vain) == ("retired", True)


def test_it_is_seen_when_it_comes_and_no_connection_is_held_meanwhile(site: Site) -> None:
    # Given somebody who waits
    looks = 0

    def come(_seconds: float) -> None:
        nonlocal looks
        looks += 1
        assert database.is_closed()
        if looks == 3:
            change("latest", state=SyncState.SYNCED, observed_digest=digest("latest"), retry_at=None)

    # When it comes
    found = look(Awaited(site, "team/app", None, digest("latest"), verified=False), 60, sleep=come)
    # Then at the next look it is there
    assert isinstance(found, Reference)
    assert looks == 3


def test_waiting_ends_in_time_and_with_the_server(site: Site) -> None:
    awaited = Awaited(site, "team/app", "latest", None, verified=False)
    clock = iter(range(100))
    slept: list[float] = []
    found = awaiting.wait(awaited, 10, replication_enabled=True, clock=lambda: float(next(clock)), sleep=slept.append)
    assert isinstance(found, Delay)
    assert all(0 <= seconds <= 10 for seconds in slept)
    stopping = threading.Event()
    stopping.set()
    assert isinstance(look(awaited, 1000, alive=lambda: not stopping.is_set()), Delay)


def test_an_image_has_a_name(site: Site) -> None:
    with pytest.raises(ValueError, match="tag, a digest"):
        Awaited(site, PATH, None, None, verified=True)
    assert str(Awaited(site, PATH, "v1", digest("x"), verified=True)) == f"{PATH}:v1@{digest('x')}"
