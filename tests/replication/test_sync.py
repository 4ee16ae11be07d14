"""What a sync does, between two real registries."""

from __future__ import annotations

import pytest

from app.models import SyncState
from tests.replication.conftest import Proxied
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import Deployment, event
from tests.support.registries import DistributionRegistry
from tests.support.sessions import Session
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push, retag

pytestmark = pytest.mark.timeout(90)


def test_a_pushed_tag_reaches_the_secondary(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given an image on the primary, and the event that says so
    digest = push(primary, repository, "v1", images.image(count=3))
    geo.event("push", repository, "v1", digest)

    # When the event is processed
    assert geo.settle() == 1

    # Then the secondary has it byte for byte, and the row says so
    assert_same(primary, secondary, repository, "v1")
    row = geo.row(repository)
    assert row.state == SyncState.SYNCED
    assert row.retry_count == 0
    assert row.last_synced_at is not None
    reference = geo.reference(repository, "v1")
    assert reference is not None
    assert reference.observed_digest == digest

    # And the attempt tells what it took
    (attempt,) = geo.attempts(repository)
    assert (attempt.action, attempt.trigger, attempt.new_digest, attempt.old_digest) == ("copy", "event", digest, None)
    assert attempt.bytes_copied > 3 * 256
    assert attempt.lag_seconds is not None


def test_what_is_pushed_by_digest_alone_is_copied(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given an image without a tag, and a digest that the primary does not have any more
    digest = push(primary, repository, None, images.image())
    geo.store(event(repository=repository, digest=digest), event(repository=repository, digest=images.sha256(b"gone")))

    # When the events are processed
    geo.settle()

    # Then it is there, and neither holds the row back
    assert_same(primary, secondary, repository, digest)
    assert geo.row(repository).state == SyncState.SYNCED
    assert set(geo.references(repository)) == {digest}


def test_a_digest_that_fails_does_not_hold_the_row_back(
    geo: Deployment, primary: DistributionRegistry, repository: str
) -> None:
    # Given an untagged image one of whose blobs is lost, beside a good tag
    broken = images.image()
    push(primary, repository, None, broken)
    primary.blob_path(broken.blobs[-1].digest).unlink()
    good = push(primary, repository, "v1", images.image())
    geo.store(event(repository=repository, digest=broken.digest), event(repository=repository, tag="v1", digest=good))

    # When the events are processed
    geo.settle()

    # Then the row is synced, and the digest's own row says what is wrong with it
    assert geo.row(repository).state == SyncState.SYNCED
    reference = geo.references(repository)[broken.digest]
    assert reference.state == SyncState.FAILED
    assert reference.retry_at is not None


def test_the_children_of_an_index_pushed_before_it_travel_once(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    # Given a multi-platform image, whose children a registry names in events of their own
    geo, _, before_secondary = proxied
    made = images.index()
    push(primary, repository, "v1", made)
    geo.store(
        *(event(repository=repository, digest=child.digest) for child in made.children),
        event(repository=repository, tag="v1", digest=made.digest),
    )

    # When the events are processed
    geo.settle()

    # Then each blob was uploaded once
    blobs = {blob.digest for part in made.walk() for blob in part.blobs}
    assert before_secondary.count(r"^PUT .*/blobs/uploads/") == len(blobs)
    assert geo.row(repository).state == SyncState.SYNCED


# --- what changes -----------------------------------------------------------------------------------------------------


def test_a_tag_that_moves_moves_on_the_secondary(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a tag that was replicated
    first = push(primary, repository, "latest", images.image())
    geo.event("push", repository, "latest", first)
    geo.settle()

    # When it moves
    second = push(primary, repository, "latest", images.image())
    geo.event("push", repository, "latest", second)
    geo.settle()

    # Then the secondary follows, and keeps the digest that it left: somebody may be pinned to it
    assert digest_of(secondary, repository, "latest") == second
    assert digest_of(secondary, repository, first) == first
    assert [(a.old_digest, a.new_digest) for a in geo.attempts(repository)] == [(None, first), (first, second)]


def test_an_unchanged_tag_copies_nothing(proxied: Proxied, primary: DistributionRegistry, repository: str) -> None:
    # Given a tag that was replicated
    geo, before_primary, before_secondary = proxied
    digest = push(primary, repository, "v1", images.index())
    geo.event("push", repository, "v1", digest)
    geo.settle()
    before_primary.clear()
    before_secondary.clear()

    # When its event comes again, and when a person asks for a full sync
    geo.event("push", repository, "v1", digest)
    geo.settle()
    assert geo.row(repository).replicator.sync().state == SyncState.SYNCED

    # Then the primary's blobs are not read and nothing is written
    assert before_primary.count("/blobs/") == 0
    assert before_secondary.count("^(PUT|POST|PATCH|DELETE)") == 0
    # And only the event leaves an attempt: a full sync looks at thousands that nobody asked about
    assert [attempt.action for attempt in geo.attempts(repository)] == ["copy", "keep"]
    assert len(before_primary.requests) + len(before_secondary.requests) <= 6


def test_blobs_that_are_there_are_not_copied_again(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    # Given an image, and a later one on the same base
    geo, before_primary, _ = proxied
    base = [images.layer() for _ in range(3)]
    geo.event("push", repository, "v1", push(primary, repository, "v1", images.image(base)))
    geo.settle()
    before_primary.clear()

    # When the later one is replicated
    geo.event("push", repository, "v2", push(primary, repository, "v2", images.image([*base, images.layer()])))
    geo.settle()

    # Then its own layer and configuration travel alone
    assert before_primary.count("GET .*/blobs/") == 2
    assert geo.row(repository).state == SyncState.SYNCED


def test_twenty_quick_pushes_end_at_the_last(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a worker that processes events while one tag is pushed twenty times
    with Session() as worker:
        over = worker.start(lambda: wait_until(lambda: geo.settle() < 0 or digest_of(primary, repository, "end")))
        made = [images.image() for _ in range(20)]
        for each in made:
            geo.event("push", repository, "v1", push(primary, repository, "v1", each))
        retag(primary, repository, "v1", "end")
        over.result(30)

    # When it is done
    geo.settle()

    # Then the secondary stands where the primary stands
    assert digest_of(secondary, repository, "v1") == made[-1].digest
    assert geo.row(repository).state == SyncState.SYNCED
