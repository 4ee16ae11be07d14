"""Deletions that are not done at once: refused, broken off, or held by the brake; and how they end."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.database import connection
from app.models import Reference, SyncState
from app.replication import brake, deletion
from app.replication.claim import LeaseLost
from tests.replication.conftest import Proxied
from tests.support import images
from tests.support.deployment import Deployment, environment, event
from tests.support.keys import TokenAuth
from tests.support.proxy import Proxy
from tests.support.registries import DistributionRegistry, RegistryFactory
from tests.support.replicated import replicated
from tests.support.sessions import at_work
from tests.support.wait import wait_until
from tests.support.wire import delete_digest, digest_of, push, retag, tags

pytestmark = pytest.mark.timeout(90)

#: What a registry says of a tag that it does not have.
MANIFEST_UNKNOWN = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'


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
        geo.settle_again(repository)

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


# --- crashes ----------------------------------------------------------------------------------------------------------


def test_a_crash_between_the_two_steps_is_made_good_later(
    proxied: Proxied,
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
    geo.settle_again(repository)

    # Then some go, the rest waits and says for what
    assert len(tags(secondary, repository)) == 3
    row = geo.row(repository)
    assert row.state == SyncState.FAILED
    assert f"geo sites release-deletions {geo.site.name}" in geo.failure(repository)
    waiting = [found for found in geo.references(repository).values() if found.state == SyncState.FAILED]
    assert {found.failure_reason for found in waiting} == {"deletion_brake"}

    # And goes when a person says so
    assert brake.release(geo.fresh_site()) == 3
    geo.settle()
    assert tags(secondary, repository) == []
    assert geo.row(repository).state == SyncState.SYNCED


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
            with at_work(geo.settle, slow) as running:
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
