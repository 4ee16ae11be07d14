"""Deletion on the secondary: only ours, by name, never on one word alone, and never much at once."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.database import connection
from app.models import Reference, SyncState
from app.replication import brake, deletion, replicator, sites
from app.replication.claim import LeaseLost
from app.settings import Settings
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import Deployment, environment, event
from tests.support.keys import TokenAuth
from tests.support.proxy import Proxy
from tests.support.registries import DistributionRegistry, RegistryFactory
from tests.support.replicated import replicated
from tests.support.sessions import Session
from tests.support.wait import wait_until
from tests.support.wire import delete_digest, digest_of, fetch, push, retag, tags

pytestmark = pytest.mark.timeout(90)


def settle_again(geo: Deployment, repository: str) -> None:
    geo.settle()
    geo.retry(repository)


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
    settle_again(geo, repository)

    # Then that is a failure of the moment, and the secondary keeps the tag
    reference = geo.references(repository)["v1"]
    assert (reference.state, reference.observed_digest) == (SyncState.FAILED, digests["v1"])
    assert reference.retry_at is not None
    assert reference.retry_at < datetime.now(UTC) + timedelta(minutes=1)
    assert digest_of(secondary, repository, "v1") == digests["v1"]
    assert "404" in geo.failure(repository)


@pytest.mark.parametrize("status", [404, 500])
def test_an_answer_that_is_not_the_registrys_deletes_nothing(
    proxied: tuple[Deployment, Proxy, Proxy],
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
    settle_again(geo, repository)
    assert digest_of(secondary, repository, "v1") == digests["v1"]
    assert geo.references(repository)["v1"].state == SyncState.FAILED


def test_a_404_before_the_secondary_is_not_taken_for_a_deletion_done(
    proxied: tuple[Deployment, Proxy, Proxy],
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
    settle_again(geo, repository)

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
    settle_again(geo, repository)

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


# --- registries that do not delete ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2.8", "3"])
def test_a_secondary_that_does_not_delete_is_a_lasting_failure(
    primary: DistributionRegistry,
    registry_factory: RegistryFactory,
    token_auth: TokenAuth,
    tmp_path: Path,
    repository: str,
    version: str,
) -> None:
    # Given a secondary with deletion switched off
    secondary = registry_factory("secondary", version=version, token=token_auth, delete=False)
    geo = Deployment.start(environment(primary, secondary, f"sqlite:///{tmp_path / 'geo.db'}"))
    try:
        digests = replicated(geo, primary, repository, "v1")
        delete_digest(primary, repository, digests["v1"])
        geo.event("delete", repository, tag="v1")

        # When a tag is to be deleted there
        settle_again(geo, repository)

        # Then the tag stands where it stood, and the failure says what to change
        assert digest_of(secondary, repository, "v1") == digests["v1"]
        reference = geo.references(repository)["v1"]
        assert (reference.state, reference.failure_reason) == (SyncState.FAILED, "deletion_unsupported")
        assert reference.throwaway_digest is None
        row = geo.row(repository)
        assert row.state == SyncState.FAILED
        assert "delete" in geo.failure(repository)
        assert row.retry_at > datetime.now(UTC) + timedelta(hours=1)

        # And it is done once the registry deletes
        secondary.stop()
        secondary.delete = True
        secondary.start()
        geo.retry(repository)
        assert tags(secondary, repository) == []
    finally:
        geo.close()


# --- crashes ----------------------------------------------------------------------------------------------------------


def test_a_crash_between_the_two_steps_is_made_good_later(
    proxied: tuple[Deployment, Proxy, Proxy],
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    # Given a tag that was overwritten with the throw-away manifest, which could then not be deleted
    geo, _, before_secondary = proxied
    digests = replicated(geo, primary, repository, "v1")
    retag(secondary, repository, "v1", "sibling")
    delete_digest(primary, repository, digests["v1"])
    geo.event("delete", repository, tag="v1")
    geo.mark()
    before_secondary.rule(r"DELETE .*/manifests/sha256:", drop=True)
    # The first only asks whether the registry deletes at all.
    before_secondary.rule(r"DELETE .*/manifests/sha256:", times=1)
    geo.settle()
    reference = geo.references(repository)["v1"]
    assert reference.state == SyncState.FAILED
    assert reference.throwaway_digest == digest_of(secondary, repository, "v1") != digests["v1"]

    # When the next one comes to it
    before_secondary.clear()
    geo.retry(repository)

    # Then the tag is known as ours, and goes; its former digest stays
    assert tags(secondary, repository) == ["sibling"]
    assert geo.reference(repository, "v1") is None
    assert geo.row(repository).state == SyncState.SYNCED


def test_a_tag_pushed_again_between_the_two_steps_is_copied(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a tag that stands on the throw-away manifest of a worker that died
    digests = replicated(geo, primary, repository, "v1")
    throwaway = push(secondary, repository, "v1", images.artifact())
    with connection():
        Reference.update(throwaway_digest=throwaway, delete_witness="event", state=SyncState.PENDING).execute()

    # When the primary has the tag after all
    geo.event("push", repository, "v1", digests["v1"])
    geo.settle()

    # Then it is copied back
    assert digest_of(secondary, repository, "v1") == digests["v1"]
    assert geo.references(repository)["v1"].throwaway_digest is None


def test_nothing_is_deleted_on_a_lease_that_may_end(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    digests = replicated(geo, primary, repository, "v1")
    claim = geo.take_row(geo.row(repository).id)
    assert claim is not None
    claim.lease.deadline = claim.lease.clock() + deletion.TAG_WRITE_LIMIT - 1
    with pytest.raises(LeaseLost):
        deletion.delete(claim, geo.references(repository)["v1"], geo.context.destination())
    assert digest_of(secondary, repository, "v1") == digests["v1"]


# --- the brake --------------------------------------------------------------------------------------------------------


def test_many_deletions_wait_for_consent(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a repository all of whose tags stand on one image, more of them than go unasked
    number = brake.FLOOR + 3
    digest = push(primary, repository, "v0", images.image())
    for place in range(1, number):
        retag(primary, repository, "v0", f"v{place}")
    geo.store(*(event(repository=repository, tag=f"v{place}", digest=digest) for place in range(number)))
    geo.settle()
    assert len(tags(secondary, repository)) == number

    # When the image is deleted on the primary
    delete_digest(primary, repository, digest)
    geo.event("delete", repository, digest=digest)
    settle_again(geo, repository)

    # Then some go, the rest waits and says for what
    assert len(tags(secondary, repository)) == 3
    row = geo.row(repository)
    assert row.state == SyncState.FAILED
    assert f"geo sites release-deletions {geo.site.name}" in geo.failure(repository)
    waiting = [found for found in geo.references(repository).values() if found.state == SyncState.FAILED]
    assert {found.failure_reason for found in waiting} == {"deletion_brake"}

    # And goes when a person says so
    assert replicator.release_deletions(geo.fresh_site()) == 3
    geo.settle()
    assert tags(secondary, repository) == []
    assert geo.row(repository).state == SyncState.SYNCED


@pytest.mark.parametrize("version", ["2.8", "3"])
def test_a_wordless_404_to_a_deletion_is_not_its_success(
    version: str, database_url: str, token_auth: TokenAuth, registry_factory: RegistryFactory, repository: str
) -> None:
    # Given a tag that is gone from the primary, and a proxy before the secondary that answers deletions by itself
    primary = registry_factory("primary", token=token_auth, version=version)
    secondary = registry_factory("secondary", token=token_auth, version=version)
    with Proxy(secondary) as proxy:
        env = environment(primary, secondary, database_url, GEO_SECONDARY_REGISTRY_URL=proxy.url)
        geo = Deployment.start(env)
        try:
            digest = push(primary, repository, "v1", images.image())
            geo.event("push", repository, "v1", digest)
            geo.settle()
            delete_digest(primary, repository, digest)
            geo.event("delete", repository, "v1")
            proxy.rule(f"DELETE /v2/{repository}/manifests/", status=404)
            geo.settle()

            # Then nothing counts as deleted, and the tag is not left on a throw-away manifest
            assert geo.row(repository).state == SyncState.FAILED
            assert digest_of(secondary, repository, "v1") == digest
            assert [a.action for a in geo.attempts(repository) if a.outcome == "failed"] == ["delete"]

            # And when the registry is asked itself, the tag goes
            proxy.clear()
            geo.retry(repository)
            assert digest_of(secondary, repository, "v1") is None
        finally:
            geo.close()


def test_a_tag_pushed_again_while_its_deletion_waits_is_not_deleted(
    database_url: str, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a deletion that waits for a large copy of the same repository to end
    gate = threading.Event()
    with Proxy(primary) as proxy:
        env = environment(primary, secondary, database_url, GEO_REGISTRY_REPLICATION_PRIMARY_API_URL=proxy.url)
        geo = Deployment.start(env)
        try:
            old = push(primary, repository, "v1", images.image())
            geo.event("push", repository, "v1", old)
            geo.settle()
            large = images.image([images.layer(200_000)])
            slow = proxy.rule(f"GET .*{large.blobs[-1].digest}", gate=gate, times=1)
            gone = proxy.rule(f"GET /v2/{repository}/manifests/v1$", status=404, body=MANIFEST_UNKNOWN, times=1)
            push(primary, repository, "large", large)
            geo.event("push", repository, "large", large.digest)
            geo.event("delete", repository, "v1")
            with Session() as worker:
                running = worker.start(geo.settle)
                assert slow.arrived.wait(20)
                assert gone.arrived.wait(20)

                # When the tag is pushed again meanwhile
                new = push(primary, repository, "v1", images.image())
                geo.event("push", repository, "v1", new)
                geo.mark()

                # Then it is copied beside the large one, and never missing
                wait_until(lambda: digest_of(secondary, repository, "v1") == new, message="the push waited")
                gate.set()
                running.result(30)
            assert digest_of(secondary, repository, "v1") == new
            assert "delete" not in [attempt.action for attempt in geo.attempts(repository, "v1")]
        finally:
            gate.set()
            geo.close()


MANIFEST_UNKNOWN = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
