"""Full syncs: a complete listing finds what no event told of, and a broken one deletes nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import SyncState
from app.replication import planner, replicator
from app.replication.claim import LeaseLost
from app.replication.outcome import MISSED
from tests.replication.coming import coming
from tests.replication.conftest import Proxied
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import Deployment, event
from tests.support.registries import DistributionRegistry
from tests.support.replicated import replicated
from tests.support.sessions import Session, at_work
from tests.support.wire import delete_digest, digest_of, push, retag, tags

pytestmark = pytest.mark.timeout(90)


def tracked(geo: Deployment, primary: DistributionRegistry, repository: str) -> Registry:
    return replicator.find(geo.fresh_site(), repository, geo.context.primary)


# --- what it finds ----------------------------------------------------------------------------------------------------


def test_a_full_sync_finds_what_no_event_told_of(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a replicated repository; then, without any event, a tag pushed, one moved and one deleted on the primary
    digests = replicated(geo, primary, repository, "same", "moved", "deleted")
    push(primary, repository, "new", images.image())
    push(primary, repository, "moved", images.image())
    delete_digest(primary, repository, digests["deleted"])

    # And one deleted and one moved on the secondary
    theirs = push(secondary, repository, "theirs", images.image())
    delete_digest(secondary, repository, digests["same"])

    # When the repository is synced in full
    closed = geo.row(repository).replicator.sync()

    # Then it is as on the primary; what was never ours is left alone
    assert closed.state == SyncState.SYNCED
    for tag in ("same", "moved", "new"):
        assert_same(primary, secondary, repository, tag)
    assert tags(secondary, repository) == ["moved", "new", "same", "theirs"]
    assert digest_of(secondary, repository, "theirs") == theirs
    row = geo.row(repository)
    assert (row.state, row.full_sync) == (SyncState.SYNCED, False)


def test_a_full_sync_of_a_new_repository_brings_all_of_it(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    push(primary, repository, "v0", images.index())
    for number in range(1, 12):
        retag(primary, repository, "v0", f"v{number}")
    assert tracked(geo, primary, repository).replicator.sync().state == SyncState.SYNCED
    assert len(tags(secondary, repository)) == 12
    assert_same(primary, secondary, repository, "v11")


def test_a_full_sync_retries_what_failed_whatever_its_time(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a tag and a digest in backoff
    made, loose = images.image(), images.image()
    geo.store(event(repository=repository, tag="v1", digest=made.digest))
    geo.settle()
    assert geo.row(repository).state == SyncState.FAILED
    assert geo.due() == 0

    # When what was missing is there and a person asks
    push(primary, repository, "v1", made)
    push(primary, repository, None, loose)
    assert geo.row(repository).replicator.sync().state == SyncState.SYNCED
    assert_same(primary, secondary, repository, "v1")


def test_a_sync_by_hand_waits_for_a_running_one(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    geo, _, _ = proxied
    slow = coming(proxied, primary, repository, 60_000, rate=60_000, times=1)
    with Session() as worker, Session() as person:
        running = worker.start(geo.settle)
        assert slow.arrived.wait(20)
        asked = person.start(lambda: geo.row(repository).replicator.sync())
        running.result(30)
        assert asked.result(30).state == SyncState.SYNCED
    assert geo.row(repository).state == SyncState.SYNCED
    assert {attempt.outcome for attempt in geo.attempts(repository)} == {"synced"}


# --- broken listings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (404, b"<h1>no such page</h1>"),
        (200, b""),
        (200, b'{"name": "x", "tags": ["v1", 7]}'),
        (200, b'{"name": "x", "tags": ["v1"'),
        (200, b'{"name": "x"}'),
        (401, b""),
    ],
)
def test_a_broken_listing_deletes_nothing(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
    status: int,
    body: bytes,
) -> None:
    # Given a repository, and a listing of it that is none
    geo, before_primary, _ = proxied
    digests = replicated(geo, primary, repository, "v1", "v2")
    delete_digest(primary, repository, digests["v2"])
    before_primary.rule("tags/list", status=status, body=body)

    # When it is synced in full
    closed = geo.row(repository).replicator.sync()

    # Then that failed, and nothing was deleted or forgotten
    assert closed.state == SyncState.FAILED
    assert tags(secondary, repository) == ["v1", "v2"]
    assert set(geo.references(repository)) == {"v1", "v2"}
    row = geo.row(repository)
    assert row.full_sync
    assert geo.failure(repository).startswith(f"{repository}: ")

    # And the full sync stays owed
    before_primary.clear()
    geo.retry(repository)
    assert tags(secondary, repository) == ["v1"]
    assert geo.row(repository).state == SyncState.SYNCED


def test_a_listing_that_breaks_off_on_a_later_page_deletes_nothing(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    geo, before_primary, _ = proxied
    replicated(geo, primary, repository, "v1", "v2")
    page = json.dumps({"name": repository, "tags": ["v1"]}).encode()
    link = {"Link": f'</v2/{repository}/tags/list?last=v1&n=1>; rel="next"'}
    before_primary.rule("tags/list", status=200, body=page, headers=link, times=1)
    before_primary.rule("tags/list.*last=", status=502, body=b"<h1>Bad Gateway</h1>")
    assert geo.row(repository).replicator.sync().state == SyncState.FAILED
    assert tags(secondary, repository) == ["v1", "v2"]


def test_a_listing_whose_connection_breaks_off_deletes_nothing(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    geo, before_primary, _ = proxied
    digests = replicated(geo, primary, repository, "v1", "v2")
    delete_digest(primary, repository, digests["v2"])
    before_primary.rule("tags/list", cut=20)
    assert geo.row(repository).replicator.sync().state == SyncState.FAILED
    assert tags(secondary, repository) == ["v1", "v2"]


def test_an_empty_listing_of_a_repository_that_lost_its_storage_deletes_nothing(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    # Given a primary that does not know the repository any more, in its own words
    geo, before_primary, _ = proxied
    replicated(geo, primary, repository, "v1")
    unknown = json.dumps({"errors": [{"code": "NAME_UNKNOWN", "message": "unknown"}]}).encode()
    before_primary.rule("tags/list", status=404, body=unknown)

    # When it is synced in full
    assert geo.row(repository).replicator.sync().state == SyncState.FAILED

    # Then nothing is deleted, and the failure says what that means
    assert tags(secondary, repository) == ["v1"]
    assert "nothing was deleted" in geo.failure(repository)


def test_the_last_tags_of_a_repository_go_by_an_event(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a repository whose only tag is deleted, with an event
    digests = replicated(geo, primary, repository, "v1")
    delete_digest(primary, repository, digests["v1"])
    geo.event("delete", repository, digest=digests["v1"])
    geo.mark()

    # When the sync that looks is a full one
    assert geo.row(repository).replicator.sync().state == SyncState.SYNCED
    assert tags(secondary, repository) == []


def test_pushes_are_copied_although_the_listing_is_broken(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    # Given a repository of which a full sync is owed, whose listing does not work
    geo, before_primary, _ = proxied
    replicated(geo, primary, repository, "v0")
    before_primary.rule("tags/list", status=500)
    geo.row(repository).replicator.sync()

    # When many tags are pushed
    digest = push(primary, repository, "v1", images.image())
    for number in range(2, 15):
        retag(primary, repository, "v1", f"v{number}")
    geo.store(*(event(repository=repository, tag=f"v{number}", digest=digest) for number in range(1, 15)))
    geo.settle()

    # Then they are there, and the row still says what is broken
    assert len(tags(secondary, repository)) == 15
    row = geo.row(repository)
    assert (row.state, row.full_sync) == (SyncState.FAILED, True)
    assert "500" in geo.failure(repository)


def test_a_bug_in_the_listing_is_a_failure_that_is_seen_and_not_a_row_left_to_its_lease(
    geo: Deployment, primary: DistributionRegistry, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replicated(geo, primary, repository, "v1")

    def broken(*_: object, **__: object) -> int:
        raise ValueError("nobody thought of this")

    monkeypatch.setattr("app.replication.planner.plan", broken)
    closed = geo.row(repository).replicator.sync()

    assert closed.state == SyncState.FAILED
    assert "internal error" in geo.failure(repository)
    assert geo.row(repository).lease_owner is None


# --- what happens meanwhile -------------------------------------------------------------------------------------------


def test_a_full_sync_asked_for_during_a_full_sync_is_not_lost(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    geo, before_primary, _ = proxied
    replicated(geo, primary, repository, "v1")
    row = geo.row(repository)
    slow = before_primary.rule("tags/list", delay=0.5, times=1)
    with at_work(row.replicator.sync, slow) as running:
        row.replicator.mark()  # type: ignore[attr-defined]
        running.result(30)
    geo.settle()
    assert before_primary.count("tags/list") == 2
    assert not geo.row(repository).full_sync


def test_an_event_during_a_full_sync_makes_no_further_one(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    # Given a full sync whose listing is under way
    geo, before_primary, _ = proxied
    replicated(geo, primary, repository, "v1")
    slow = before_primary.rule("tags/list", delay=0.5, times=1)
    with at_work(geo.row(repository).replicator.sync, slow) as running:
        # When a tag is pushed
        digest = push(primary, repository, "v2", images.image())
        geo.event("push", repository, "v2", digest)
        geo.mark()
        running.result(30)
    geo.settle()

    # Then it is copied, and a busy repository is not listed over and over
    assert digest_of(secondary, repository, "v2") == digest
    assert before_primary.count("tags/list") == 1
    row = geo.row(repository)
    assert (row.state, row.full_sync) == (SyncState.SYNCED, False)


def test_a_listing_is_no_witness_against_a_tag_pushed_while_it_was_made(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    # Given a listing that is under way
    geo, before_primary, _ = proxied
    replicated(geo, primary, repository, "old", "v1")
    with connection():
        claim = geo.take_row(geo.row(repository).id)
    assert claim is not None

    # When tags are pushed that it does not have any more, one of them known before
    page = json.dumps({"name": repository, "tags": ["old"]}).encode()
    before_primary.rule("tags/list", status=200, body=page)
    listing = geo.context.primary.list_tags

    class Overtaken:
        def list_tags(self, path: str) -> list[str]:
            listed = listing(path)
            geo.store(event(repository=repository, tag="v1"), event(repository=repository, tag="v2"))
            geo.mark()
            return listed

    planner.plan(claim, Overtaken(), claim.generation)  # type: ignore[arg-type]

    # Then it says nothing against them
    references = geo.references(repository)
    assert {name: found.delete_witness for name, found in references.items()} == {"old": None, "v1": None, "v2": None}
    assert references["v2"].trigger == references["v1"].trigger == "event"


def test_a_push_during_a_full_sync_keeps_its_place_before_the_old_tags(
    geo: Deployment, primary: DistributionRegistry, repository: str
) -> None:
    # Given a tag that an event asks for
    replicated(geo, primary, repository, "v1", "v2")
    at = datetime(2026, 7, 1, tzinfo=UTC)
    geo.store(event(repository=repository, tag="v1", at=at))
    geo.mark()

    # When the plan of a full sync marks everything
    claim = geo.take()
    assert claim is not None
    planner.plan(claim, geo.context.primary, claim.generation)

    # Then the event's is still the event's
    references = geo.references(repository)
    assert (references["v1"].trigger, references["v1"].event_at) == ("event", at)
    assert (references["v2"].trigger, references["v2"].event_at) == ("full", None)


def test_whose_row_was_taken_over_plans_nothing(
    geo: Deployment, primary: DistributionRegistry, repository: str
) -> None:
    # Given a full sync that stood still in the middle of its listing, until somebody else had its row
    replicated(geo, primary, repository, "v1")
    claim = geo.take_row(geo.row(repository).id)
    assert claim is not None
    registry_id, listing = claim.registry_id, geo.context.primary.list_tags

    class Stalled:
        def list_tags(self, path: str) -> list[str]:
            with connection():
                Registry.update(lease_expires_at=now()).where(Registry.id == registry_id).execute()
            assert geo.take_row(registry_id) is not None
            return listing(path)

    # When it goes on, then nothing is marked
    before = {name: found.generation for name, found in geo.references(repository).items()}
    with pytest.raises(LeaseLost):
        planner.plan(claim, Stalled(), claim.generation)  # type: ignore[arg-type]
    assert {name: found.generation for name, found in geo.references(repository).items()} == before


def test_what_was_deleted_before_we_heard_of_its_push_is_no_failure_for_ever(
    geo: Deployment, primary: DistributionRegistry, repository: str
) -> None:
    # Given a deletion that came before the push it belongs to, of a tag that nobody ever copied
    replicated(geo, primary, repository, "v1")
    at = datetime(2026, 7, 1, tzinfo=UTC)
    geo.event("delete", repository, "gone", at=at + timedelta(seconds=1))
    geo.mark()
    geo.event("push", repository, "gone", at=at)
    geo.settle()
    assert geo.row(repository).state == SyncState.FAILED

    # When it was looked for some times in vain
    tries = 1
    while geo.row(repository).state == SyncState.FAILED:
        geo.retry(repository)
        tries += 1

    # Then a listing has settled it
    assert tries == MISSED
    assert geo.row(repository).state == SyncState.SYNCED
    assert geo.references(repository).keys() == {"v1"}
