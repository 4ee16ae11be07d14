"""Explanations: each way for an image not to be on a site has its own sentence, and says what to do next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.database import connection, now
from app.models import ContainerRepository, Lease, Reference, Site, SyncState
from app.models import ContainerRepositoryRegistry as Registry
from app.replication import backfill, marking
from app.replication.explain import explain
from app.replication.explanation import Cause, Explanation
from app.replication.status import SCHEDULER
from tests.replication.conftest import Proxied
from tests.support import images
from tests.support.deployment import Deployment, event
from tests.support.registries import DistributionRegistry
from tests.support.replicated import replicated
from tests.support.wire import delete_digest, push

pytestmark = pytest.mark.timeout(90)

A, B = (f"sha256:{letter * 64}" for letter in "ab")


def told(geo: Deployment, path: str, name: str, *, enabled: bool = True) -> Explanation:
    """The one explanation; its sentences are sentences."""
    with connection():
        (found,) = explain(path, name, replication_enabled=enabled)
    for text in (found.why, found.next):
        assert text == text.strip()
        assert text[-1] in ".?", text
        assert "None" not in text
    return found


@pytest.fixture
def running(state: Deployment) -> Deployment:
    """A deployment whose scheduler is heard of."""
    with connection():
        Lease.create(name=SCHEDULER, owner="here:1", token=1, expires_at=now() + timedelta(seconds=45))
    return state


def pending(geo: Deployment, *paths: str, at: datetime | None = None) -> None:
    geo.store(*(event(repository=path, tag="v1", digest=A, at=at) for path in paths))
    geo.mark()


def change_site(geo: Deployment, **values: object) -> None:
    with connection():
        Site.update(**values).where(Site.id == geo.site.id).execute()


# --- what nobody knows ------------------------------------------------------------------------------------------------


def test_a_repository_that_nobody_named(running: Deployment) -> None:
    found = told(running, "team/app", "v1")
    assert (found.cause, found.there) == (Cause.UNKNOWN, False)
    assert "team/app is not known" in found.why
    assert "`geo sync team/app`" in found.next


def test_a_tag_that_nobody_named(geo: Deployment, primary: DistributionRegistry, repository: str) -> None:
    replicated(geo, primary, repository, "v1", "v2")
    found = told(geo, repository, "never")
    assert (found.cause, found.there) == (Cause.UNKNOWN, False)
    assert f"No event named {repository}:never" in found.why
    assert "v1, v2" in found.why
    assert f"`geo plan {repository}`" in found.next


def test_an_event_that_nobody_has_read(running: Deployment) -> None:
    # Given an event of a new repository, and then one of a known one
    running.store(event(repository="team/app", tag="v1", digest=A))
    found = told(running, "team/app", "v1")
    assert (found.cause, found.there) == (Cause.UNREAD, False)
    assert "a push" in found.why
    running.mark()
    running.store(event("delete", repository="team/app", tag="v1"))
    assert told(running, "team/app", "v1").cause is Cause.UNREAD
    assert "a delete" in told(running, "team/app", "v1").why

    # Another tag's event is no answer for this one, and the deletion of the whole repository is one for all
    assert told(running, "team/app", "v2").cause is not Cause.UNREAD
    running.store(event("delete", repository="team/app"))
    assert told(running, "team/app", "v2").cause is Cause.UNREAD


def test_events_that_nobody_reads_for_long_are_the_workers(running: Deployment) -> None:
    running.store(event(repository="team/app", tag="v1", at=datetime.now(UTC) - timedelta(minutes=10)))
    assert "Look whether workers run" in told(running, "team/app", "v1").next


# --- what is in order -------------------------------------------------------------------------------------------------


def test_what_is_synced(geo: Deployment, primary: DistributionRegistry, repository: str) -> None:
    digests = replicated(geo, primary, repository, "v1")
    found = told(geo, repository, "v1")
    assert (found.cause, found.there) == (Cause.SYNCED, True)
    assert digests["v1"] in found.why
    assert f"`geo plan {repository}`" in found.next
    assert [attempt.action for attempt in found.history] == ["copy"]

    # By its digest too
    by_digest = told(geo, repository, digests["v1"])
    assert (by_digest.cause, by_digest.there) == (Cause.SYNCED, True)
    assert "under v1" in by_digest.why

    # And that the site is paused is said beside it
    change_site(geo, enabled=False)
    paused = told(geo, repository, "v1")
    assert (paused.cause, paused.there) == (Cause.SYNCED, True)
    assert "`geo sites resume secondary`" in paused.next


def test_what_was_deleted(geo: Deployment, primary: DistributionRegistry, repository: str) -> None:
    digests = replicated(geo, primary, repository, "v1", "other")
    delete_digest(primary, repository, digests["v1"])
    geo.event("delete", repository, tag="v1")
    geo.settle()
    found = told(geo, repository, "v1")
    assert (found.cause, found.there) == (Cause.DELETED, False)
    assert "(event " in found.why
    assert "was deleted from secondary" in found.why


def test_what_the_policy_keeps(geo: Deployment, primary: DistributionRegistry, repository: str) -> None:
    digests = replicated(geo, primary, repository, "v1", "other")
    change_site(geo, protected_tags="v*")
    delete_digest(primary, repository, digests["v1"])
    geo.event("delete", repository, tag="v1")
    geo.settle()
    found = told(geo, repository, "v1")
    assert (found.cause, found.there) == (Cause.KEPT, True)
    assert "GEO_PROTECTED_TAGS has 'v*'" in found.why

    # When the policy changes
    change_site(geo, protected_tags="")
    assert f"`geo sync {repository}`" in told(geo, repository, "v1").next


def test_what_is_not_ours(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    replicated(geo, primary, repository, "v1")
    push(secondary, repository, "theirs", images.image())
    geo.row(repository).replicator.sync()
    found = told(geo, repository, "theirs")
    assert (found.cause, found.there) == (Cause.DRIFT, False)
    assert "not from us" in found.why
    assert "by hand" in found.next


# --- what waits -------------------------------------------------------------------------------------------------------


def test_the_place_in_the_queue(running: Deployment) -> None:
    # Given fresh pushes and a repository of a backfill
    early = datetime(2026, 7, 1, tzinfo=UTC)
    pending(running, "team/first", at=early)
    pending(running, "team/second", at=early + timedelta(seconds=1))
    with connection():
        created = now()
        old = ContainerRepository.create(path="team/old", created_at=created)
    marking.mark_full(running.site, [old.id], priority=marking.BACKFILL)
    with connection():
        Registry.update(priority=marking.BACKFILL).where(Registry.container_repository == old).execute()
    places = {path: told(running, f"team/{path}", "v1") for path in ("first", "second", "old")}

    # Then each knows how many go first
    assert {path: found.ahead for path, found in places.items()} == {"first": 0, "second": 1, "old": 2}
    assert {found.cause for found in places.values()} == {Cause.PENDING}
    assert "it is next" in places["first"].why
    assert "one repository goes first" in places["second"].why
    assert "2 repositories go first" in places["old"].why
    assert "looked at in full" in places["old"].why

    # In the order in which workers take them
    for path in ("team/first", "team/second", "team/old"):
        taken = running.take()
        assert taken is not None
        assert taken.path == path


def test_what_is_being_copied(running: Deployment) -> None:
    pending(running, "team/app")
    taken = running.take()
    assert taken is not None
    found = told(running, "team/app", "v1")
    assert found.cause is Cause.COPYING
    assert "has been syncing team/app since" in found.why

    # When nothing more is heard of the worker
    with connection():
        Registry.update(lease_expires_at=now() - timedelta(seconds=1)).execute()
    found = told(running, "team/app", "v1")
    assert found.cause is Cause.PENDING
    assert "has not been heard of" in found.why


def test_what_nobody_would_do(state: Deployment) -> None:
    pending(state, "team/app")
    assert "No scheduler has run yet" in told(state, "team/app", "v1").next


def test_what_failed(proxied: Proxied, primary: DistributionRegistry, repository: str) -> None:
    # Given a tag that was copied once, and whose new version the secondary does not take
    geo, _, before_secondary = proxied
    with connection():
        Lease.create(name=SCHEDULER, owner="here:1", token=1, expires_at=now() + timedelta(seconds=45))
    digests = replicated(geo, primary, repository, "v1")
    before_secondary.rule("PUT .*manifests/v1", status=507, body=b"no space left")
    geo.event("push", repository, "v1", push(primary, repository, "v1", images.image()))
    geo.settle()

    # Then the reason, the next try, and what is there meanwhile
    found = told(geo, repository, "v1")
    assert (found.cause, found.there) == (Cause.FAILED, False)
    assert "507" in found.why
    assert f"still has {digests['v1']}" in found.why
    assert "It is tried again at 2" in found.next
    assert f"`geo sync {repository}`" in found.next


def test_a_repository_that_failed_as_a_whole(proxied: Proxied, primary: DistributionRegistry, repository: str) -> None:
    geo, before_primary, _ = proxied
    replicated(geo, primary, repository, "v1")
    before_primary.rule("tags/list", status=500)
    geo.row(repository).replicator.sync()
    found = told(geo, repository, "new")
    assert found.cause is Cause.FAILED
    assert "500" in found.why


def test_what_the_brake_holds(running: Deployment) -> None:
    pending(running, "team/app")
    with connection():
        Reference.update(
            state=SyncState.FAILED,
            failure="20 deletions within the hour are as many as go unasked (20).",
            failure_reason="deletion_brake",
            delete_witness="event",
            retry_at=now() + timedelta(minutes=5),
        ).execute()
        Registry.update(state=SyncState.FAILED).execute()
    found = told(running, "team/app", "v1")
    assert found.cause is Cause.HELD
    assert "waits for a person" in found.why
    assert "`geo sites release-deletions secondary`" in found.next


# --- what keeps a whole site from anything ----------------------------------------------------------------------------


def test_a_paused_site_a_switch_and_both(running: Deployment) -> None:
    pending(running, "team/app")
    assert told(running, "team/app", "v1", enabled=False).cause is Cause.DISABLED
    change_site(running, enabled=False)
    assert told(running, "team/app", "v1").cause is Cause.PAUSED
    both = told(running, "team/app", "v1", enabled=False)
    assert both.cause is Cause.DISABLED
    assert "`geo sites resume secondary`" in both.next

    # What nobody heard of is not there for another reason
    assert told(running, "team/none", "v1").cause is Cause.UNKNOWN


def test_what_is_out_of_scope(running: Deployment) -> None:
    pending(running, "team/app")
    change_site(running, repositories="other/**")
    found = told(running, "team/app", "v1")
    assert (found.cause, found.there) == (Cause.OUT_OF_SCOPE, False)
    assert "GEO_REPOSITORIES" in found.why
    assert told(running, "never/heard", "v1").cause is Cause.OUT_OF_SCOPE


def test_a_retired_site_is_told_of_where_it_had_something(running: Deployment) -> None:
    pending(running, "team/app")
    change_site(running, retired=True)
    found = told(running, "team/app", "v1")
    assert found.cause is Cause.RETIRED
    assert "GEO_SITE_NAME=secondary" in found.next
    with connection():
        assert explain("team/other", "v1", replication_enabled=True) == []


def test_every_site_has_its_own_answer(running: Deployment) -> None:
    pending(running, "team/app")
    with connection():
        instant = now()
        Site.create(name="asia", url="http://asia.example.com", created_at=instant, updated_at=instant)
        found = explain("team/app", "v1", replication_enabled=True)
    assert [(each.site, each.cause) for each in found] == [("secondary", Cause.PENDING), ("asia", Cause.UNKNOWN)]


def test_a_full_look_that_is_owed(geo: Deployment, primary: DistributionRegistry, repository: str) -> None:
    replicated(geo, primary, repository, "v1")
    geo.row(repository).replicator.mark()  # type: ignore[attr-defined]
    backfill.request("asked for by hand")
    found = told(geo, repository, "new")
    assert found.cause is Cause.PENDING
    assert "looked at in full" in found.why


def test_what_the_primary_s_deployment_does_not_grant(running: Deployment) -> None:
    pending(running, "team/app")
    change_site(running, granted_repositories="team/**", granted_tags="stable")
    found = told(running, "team/app", "v1")
    assert (found.cause, found.there) == (Cause.OUT_OF_SCOPE, False)
    assert "primary's deployment" in found.why
    assert f"geo sites edit {running.site.name} --tag" in found.next
    assert "--repository" in told(running, "other/app", "stable").next
    # What our own settings leave out is said to be theirs
    change_site(running, tags="v*", granted_tags="")
    assert "GEO_TAGS" in told(running, "team/app", "stable").next
