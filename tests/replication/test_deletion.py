"""Deletion on the secondary: only ours, by name, never on one word alone, and never much at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.database import connection
from app.models import SyncState
from app.replication import sites
from app.settings import Settings
from tests.replication.conftest import Proxied
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import Deployment, environment, event
from tests.support.registries import DistributionRegistry
from tests.support.replicated import replicated
from tests.support.wire import delete_digest, digest_of, fetch, push, retag, tags

pytestmark = pytest.mark.timeout(90)


# --- what is deleted --------------------------------------------------------------------------------------------------


def test_a_deleted_tag_goes_and_its_siblings_stay(
    either: tuple[Deployment, DistributionRegistry], primary: DistributionRegistry, repository: str
) -> None:
    geo, secondary = either
    # Given two tags on one digest and one on another, on both sides
    digests = replicated(geo, primary, repository, "v1", "other")
    retag(primary, repository, "v1", "latest")
    geo.event("push", repository, "latest", digests["v1"])
    geo.settle()

    # When `v1` is deleted on the primary, which 2.8 cannot do by name: its digest goes, and `latest` is pushed again
    made = images.raw(fetch(secondary, repository, "v1").body, images.OCI_MANIFEST)
    delete_digest(primary, repository, digests["v1"])
    push(primary, repository, "latest", made)
    geo.store(
        event("delete", repository, tag="v1"),
        event(repository=repository, tag="latest", digest=digests["v1"]),
    )
    geo.settle()

    # Then it is gone from the secondary, and what shared its digest is not
    assert tags(secondary, repository) == ["latest", "other"]
    assert digest_of(secondary, repository, "latest") == digests["v1"]
    assert_same(primary, secondary, repository, "other")
    assert geo.reference(repository, "v1") is None
    assert geo.row(repository).state == SyncState.SYNCED
    assert geo.attempts(repository, "v1")[-1].action == "delete"


def test_a_deleted_digest_takes_all_its_tags(
    either: tuple[Deployment, DistributionRegistry], primary: DistributionRegistry, repository: str
) -> None:
    geo, secondary = either
    digests = replicated(geo, primary, repository, "v1", "other")
    retag(primary, repository, "v1", "latest")
    geo.event("push", repository, "latest", digests["v1"])
    geo.settle()
    delete_digest(primary, repository, digests["v1"])
    geo.event("delete", repository, digest=digests["v1"])
    geo.settle()
    assert tags(secondary, repository) == ["other"]
    assert set(geo.references(repository)) == {"other"}

    # The digest itself stays: deployments may be pinned to it, and the policy is `tags`.
    assert digest_of(secondary, repository, digests["v1"]) == digests["v1"]


def test_a_tag_that_moves_off_a_digest_leaves_the_other_tag_on_it(
    either: tuple[Deployment, DistributionRegistry], primary: DistributionRegistry, repository: str
) -> None:
    geo, secondary = either
    digests = replicated(geo, primary, repository, "v1")
    retag(primary, repository, "v1", "latest")
    geo.event("push", repository, "latest", digests["v1"])
    geo.settle()
    moved = push(primary, repository, "latest", images.image())
    geo.event("push", repository, "latest", moved)
    geo.settle()
    assert digest_of(secondary, repository, "v1") == digests["v1"]
    assert digest_of(secondary, repository, "latest") == moved


def test_a_deleted_repository_goes_tag_by_tag(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    digests = replicated(geo, primary, repository, "v1", "v2")
    for digest in digests.values():
        delete_digest(primary, repository, digest)
    geo.event("delete", repository)
    geo.settle()
    assert tags(secondary, repository) == []
    assert geo.references(repository) == {}
    assert geo.row(repository).state == SyncState.SYNCED


def test_a_push_and_its_deletion_before_we_looked_leave_nothing(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a tag that came and went while nobody processed events
    other = push(primary, repository, "other", images.image())
    digest = push(primary, repository, "v1", images.image())
    delete_digest(primary, repository, digest)
    geo.store(
        event(repository=repository, tag="other", digest=other),
        event(repository=repository, tag="v1", digest=digest),
        event("delete", repository, digest=digest),
    )

    # When they are processed, then all is in order
    geo.settle()
    row = geo.row(repository)
    assert (row.state, row.last_sync_failure) == (SyncState.SYNCED, None)
    assert tags(secondary, repository) == ["other"]


def test_a_deletion_that_is_no_longer_true_is_none(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a delete event for tags that the primary has: one as before, one moved
    digests = replicated(geo, primary, repository, "v1", "v2")
    moved = push(primary, repository, "v2", images.image())
    geo.store(event("delete", repository, tag="v1"), event("delete", repository, tag="v2"))

    # When it is processed, then the primary's word counts
    geo.settle()
    assert digest_of(secondary, repository, "v1") == digests["v1"]
    assert digest_of(secondary, repository, "v2") == moved
    assert all(found.delete_witness is None for found in geo.references(repository).values())


# --- witnesses --------------------------------------------------------------------------------------------------------


def test_absence_alone_deletes_nothing(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a tag that the primary has lost without a word, and a push event for it
    digests = replicated(geo, primary, repository, "v1")
    delete_digest(primary, repository, digests["v1"])
    geo.event("push", repository, "v1", digests["v1"])

    # When it is processed, more than once
    geo.settle_again(repository)

    # Then that is a failure of the moment, and the secondary keeps the tag
    reference = geo.references(repository)["v1"]
    assert (reference.state, reference.observed_digest) == (SyncState.FAILED, digests["v1"])
    assert reference.retry_at is not None
    assert reference.retry_at < datetime.now(UTC) + timedelta(minutes=1)
    assert digest_of(secondary, repository, "v1") == digests["v1"]
    assert "404" in geo.failure(repository)


@pytest.mark.parametrize("status", [404, 500])
def test_an_answer_that_is_not_the_registrys_deletes_nothing(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
    status: int,
) -> None:
    # Given a delete event, and something before the primary that does not know it
    geo, before_primary, _ = proxied
    digests = replicated(geo, primary, repository, "v1")
    before_primary.rule("manifests", status=status, body=b"<h1>no such page</h1>")
    geo.event("delete", repository, tag="v1")

    # When it is processed, then nothing is deleted
    geo.settle_again(repository)
    assert digest_of(secondary, repository, "v1") == digests["v1"]
    assert geo.references(repository)["v1"].state == SyncState.FAILED


def test_a_404_before_the_secondary_is_not_taken_for_a_deletion_done(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    # Given a true deletion, and something before the secondary that says 404
    geo, _, before_secondary = proxied
    digests = replicated(geo, primary, repository, "v1")
    delete_digest(primary, repository, digests["v1"])
    geo.event("delete", repository, tag="v1")
    before_secondary.rule("manifests", status=404, body=b"<h1>no such page</h1>")

    # When it is processed
    geo.settle()

    # Then we do not forget that the tag is ours, and delete it when the registry is back
    assert geo.references(repository)["v1"].observed_digest == digests["v1"]
    before_secondary.clear()
    geo.retry(repository)
    assert tags(secondary, repository) == []


def test_a_tag_that_is_gone_already_is_forgotten(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    digests = replicated(geo, primary, repository, "v1")
    delete_digest(primary, repository, digests["v1"])
    delete_digest(secondary, repository, digests["v1"])
    geo.event("delete", repository, tag="v1")
    geo.settle()
    assert geo.references(repository) == {}
    assert geo.attempts(repository)[-1].action == "forget"
    assert geo.row(repository).state == SyncState.SYNCED


# --- only ours --------------------------------------------------------------------------------------------------------


def test_a_tag_that_somebody_else_moved_is_drift(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a tag that somebody pushed over on the secondary
    digests = replicated(geo, primary, repository, "v1")
    theirs = push(secondary, repository, "v1", images.image())

    # When it is deleted on the primary
    delete_digest(primary, repository, digests["v1"])
    geo.event("delete", repository, tag="v1")
    geo.settle_again(repository)

    # Then theirs is untouched, and shown
    assert digest_of(secondary, repository, "v1") == theirs
    reference = geo.references(repository)["v1"]
    assert (reference.drift_digest, reference.observed_digest) == (theirs, digests["v1"])
    assert geo.row(repository).state == SyncState.SYNCED


def test_a_tag_we_never_wrote_is_not_ours_to_delete(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a tag on the secondary that we know of by an event alone
    theirs = push(secondary, repository, "v1", images.image())
    geo.event("push", repository, "v1")
    geo.settle()
    geo.event("delete", repository, tag="v1")
    geo.settle_again(repository)

    # Then it is untouched
    assert digest_of(secondary, repository, "v1") == theirs
    reference = geo.reference(repository, "v1")
    assert reference is None or reference.drift_digest == theirs


def test_drift_ends_with_the_next_push(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    digests = replicated(geo, primary, repository, "v1")
    push(secondary, repository, "v1", images.image())
    delete_digest(primary, repository, digests["v1"])
    geo.event("delete", repository, tag="v1")
    geo.settle()
    again = push(primary, repository, "v1", images.image())
    geo.event("push", repository, "v1", again)
    geo.settle()
    assert digest_of(secondary, repository, "v1") == again
    assert geo.references(repository)["v1"].drift_digest is None


# --- policy -----------------------------------------------------------------------------------------------------------


def apply_policy(geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, policy: str) -> None:
    with connection():
        url = geo.context.settings.database_url.value
    settings = Settings.from_env(environment(primary, secondary, url, GEO_DELETION=policy))
    sites.apply_environment(settings)


def test_deletion_off_keeps(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    apply_policy(geo, primary, secondary, "off")
    digests = replicated(geo, primary, repository, "v1")
    delete_digest(primary, repository, digests["v1"])
    geo.event("delete", repository, tag="v1")
    geo.settle()
    assert digest_of(secondary, repository, "v1") == digests["v1"]
    reference = geo.references(repository)["v1"]
    assert (reference.state, reference.desired_digest) == (SyncState.SYNCED, None)
    assert geo.row(repository).state == SyncState.SYNCED


def test_digests_go_by_policy_alone_and_never_from_under_a_tag(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    apply_policy(geo, primary, secondary, "tags+untagged")
    # Given two images pushed by digest; one of them has a tag on the secondary
    loose, tagged = (push(primary, repository, None, images.image()) for _ in range(2))
    geo.store(event(repository=repository, digest=loose), event(repository=repository, digest=tagged))
    geo.settle()
    retag(secondary, repository, tagged, "theirs")

    # When both are deleted
    for digest in (loose, tagged):
        delete_digest(primary, repository, digest)
        geo.event("delete", repository, digest=digest)
    geo.settle()

    # Then the loose one goes and the other stays
    assert digest_of(secondary, repository, loose) is None
    assert digest_of(secondary, repository, "theirs") == tagged
