"""What each level finds on a real registry whose storage was damaged, and what a repair brings back."""

from __future__ import annotations

import pytest

from app.models import SyncState, VerificationState
from app.replication.verification.finding import Kind
from tests.replication.conftest import Deploy, Proxied
from tests.replication.verification.stage import remove_file, remove_link, replicated, run_due, told, verify
from tests.support import images
from tests.support.compare import assert_same, difference
from tests.support.deployment import Deployment, event
from tests.support.registries import DistributionRegistry, RegistryFactory
from tests.support.wire import delete_blob, delete_digest, digest_of, push, push_manifest, retag

pytestmark = [pytest.mark.long, pytest.mark.timeout(90)]

LEVELS = ("tags", "manifests", "blobs", "content")


@pytest.fixture
def database_url(sqlite_database: str) -> str:
    """SQLite alone: what is asked of the registries has nothing to do with the database."""
    return sqlite_database


def settle(geo: Deployment, repository: str) -> None:
    """Repair, and verify what was repaired."""
    geo.settle()
    assert run_due(geo) >= 1
    row = geo.row(repository)
    assert (row.verification_failure, row.verification_state) == (None, VerificationState.SUCCEEDED)
    assert row.state == SyncState.SYNCED


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_whole_is_whole_at_every_level(
    geo: Deployment, primary: DistributionRegistry, repository: str, level: str
) -> None:
    # Given images of several kinds
    signed = images.image()
    signature_tag, signature = images.cosign_signature(signed)
    made = {
        "index": images.index([images.index(), images.image(media="docker")]),
        "empty-layer": images.image([b"", images.layer()]),
        "buildkit": images.buildkit_cache(as_index=True),
        "artifact": images.artifact(),
        "signed": signed,
        signature_tag: signature,
    }
    replicated(geo, primary, repository, made)

    # When
    found = verify(geo, repository, level)

    # Then nothing is missing, and nothing is to be done
    assert found.failure is None
    assert found.in_order
    assert (found.looked_at, found.broken, found.unsure, found.behind) == (len(made), 0, 0, 0)
    row = geo.row(repository)
    assert row.verification_state == VerificationState.SUCCEEDED
    assert (row.verification_level, row.checksum_mismatch) == (level, False)
    assert row.verified_at is not None
    assert row.state == SyncState.SYNCED
    assert geo.due() == 0


@pytest.mark.parametrize("damage", ["file", "link", "api"])
def test_a_blob_that_is_gone_is_named_and_it_alone_is_copied(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
    damage: str,
) -> None:
    # Given two images that share a layer, and a blob of one of them gone behind the secondary's back
    geo, before_primary, before_secondary = proxied
    shared = images.layer()
    broken = images.image([shared, images.layer(3000)])
    replicated(geo, primary, repository, {"v1": broken, "v2": images.image([shared])})
    lost = broken.blobs[-1]
    if damage == "file":
        remove_file(secondary, lost.digest)
    elif damage == "link":
        remove_link(secondary, repository, lost.digest)
    else:
        delete_blob(secondary, repository, lost.digest)

    # When it is verified as far as the manifests, which are all there
    assert verify(geo, repository, "manifests").in_order

    # And as far as the blobs
    found = verify(geo, repository, "blobs")

    # Then the blob is named with its size, and its image alone is due
    assert told(found) == {("v1", Kind.BLOB_MISSING, lost.digest, len(lost.data))}
    row = geo.row(repository)
    assert row.verification_state == VerificationState.FAILED
    assert lost.digest in (row.verification_failure or "")
    references = geo.references(repository)
    assert (references["v1"].state, references["v1"].trigger) == (SyncState.PENDING, "repair")
    assert lost.digest in (references["v1"].failure or "")
    assert references["v2"].state == SyncState.SYNCED

    # And the repair copies that blob and no other
    before_primary.clear()
    before_secondary.clear()
    settle(geo, repository)
    assert before_primary.count("^GET .*/blobs/") == 1
    assert before_primary.count(f"^GET .*/blobs/{lost.digest}") == 1
    assert before_secondary.count("^PUT .*/blobs/uploads/") == 1
    assert_same(primary, secondary, repository, "v1")
    attempt = geo.attempts(repository, "v1")[-1]
    assert (attempt.trigger, attempt.action, attempt.outcome) == ("repair", "copy", "synced")
    assert attempt.bytes_copied == len(lost.data)
    assert attempt.lag_seconds is None


def test_a_blob_that_tags_share_is_repaired_for_all_of_them(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a base layer that every tag has, and its file gone
    base = images.layer()
    made = {f"v{number}": images.image([base]) for number in range(5)}
    replicated(geo, primary, repository, made)
    remove_file(secondary, images.sha256(base))

    # When
    found = verify(geo, repository)

    # Then each tag is named, and all are whole again after a sync, which uploads it once
    assert {name for name, *_ in told(found)} == set(made)
    settle(geo, repository)
    assert sum(attempt.bytes_copied for attempt in geo.attempts(repository) if attempt.trigger == "repair") == len(base)
    for tag in made:
        assert_same(primary, secondary, repository, tag)


def test_a_child_manifest_that_was_deleted_is_found_and_comes_back(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a nested index that has been verified, one of whose platforms was deleted on the secondary since
    made = images.index([images.index(), images.image(architecture="s390x")])
    replicated(geo, primary, repository, {"v1": made, "v2": images.image()})
    assert verify(geo, repository).in_order
    child = made.children[0].children[1]
    delete_digest(secondary, repository, child.digest)

    # When it is verified as far as the tags, and as far as the manifests
    assert verify(geo, repository, "tags").in_order
    found = verify(geo, repository, "manifests")

    # Then it is named
    assert told(found) == {("v1", Kind.MANIFEST_MISSING, child.digest, child.size)}

    # And it comes back, without any blob being carried
    settle(geo, repository)
    assert_same(primary, secondary, repository, "v1")
    assert geo.attempts(repository)[-1].bytes_copied == 0


@pytest.mark.parametrize("level", LEVELS)
def test_a_tag_that_was_deleted_or_moved_is_found_and_put_right(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str, level: str
) -> None:
    # Given one tag deleted on the secondary, and another moved to something that is not ours
    digests = replicated(geo, primary, repository, {name: images.image() for name in ("deleted", "moved", "same")})
    delete_digest(secondary, repository, digests["deleted"])
    theirs = push(secondary, repository, "moved", images.image())

    # When
    found = verify(geo, repository, level)

    # Then both are named, with what should be there
    assert told(found) == {
        ("deleted", Kind.TAG_MISSING, digests["deleted"], None),
        ("moved", Kind.TAG_DIFFERS, digests["moved"], None),
    }
    row = geo.row(repository)
    assert theirs in (row.verification_failure or "")
    # And the checksum is of what really stands there
    assert row.checksum_mismatch
    assert row.verification_checksum != row.verification_checksum_mismatched

    # And both are put right
    settle(geo, repository)
    for tag in digests:
        assert_same(primary, secondary, repository, tag)
    row = geo.row(repository)
    assert (row.checksum_mismatch, row.verification_checksum_mismatched) == (False, None)
    assert row.verification_checksum is not None


def test_a_blob_cut_short_is_found_by_its_size(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    made = images.image([images.layer(5000)])
    replicated(geo, primary, repository, {"v1": made})
    lost = made.blobs[-1]
    secondary.blob_path(lost.digest).write_bytes(lost.data[:1000])
    for level in ("blobs", "content"):
        assert told(verify(geo, repository, level)) == {("v1", Kind.BLOB_MISSING, lost.digest, len(lost.data))}
        geo.settle()


def test_a_blob_that_was_altered_is_found_by_its_content_alone(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a blob of the right size whose bytes are wrong
    made = images.image([images.layer(5000)])
    replicated(geo, primary, repository, {"v1": made, "v2": images.image()})
    lost = made.blobs[-1]
    file = secondary.blob_path(lost.digest)
    file.write_bytes(lost.data[:-1] + bytes([lost.data[-1] ^ 1]))

    # When
    assert verify(geo, repository, "blobs").in_order
    found = verify(geo, repository, "content")

    # Then it is named, with what it hashes to
    assert told(found) == {("v1", Kind.BLOB_DAMAGED, lost.digest, len(lost.data))}
    assert "hashes to" in (found.failure or "")

    # And a repair, in whose place this registry keeps the file it has, is not taken for one: it is verified again as
    # far as it was found, whatever is usual after a sync
    geo.settle()
    assert run_due(geo) == 1
    row = geo.row(repository)
    assert row.verification_state == VerificationState.FAILED
    assert "remove that from its storage by hand" in (row.verification_failure or "")
    assert row.verification_retry_count == 2

    # And once a person has removed it, the next repair brings it back
    file.unlink()
    settle(geo, repository)
    assert_same(primary, secondary, repository, "v1")


def test_after_a_garbage_collection_what_the_registry_claims_is_not_believed(
    primary: DistributionRegistry, registry_factory: RegistryFactory, deploy: Deploy, repository: str
) -> None:
    # Given a secondary with a cache of what it holds, and an image whose layer was collected while that goes on running
    open_primary = registry_factory("open-primary")
    secondary = registry_factory("cached", cache=True)
    geo = deploy(open_primary, secondary)
    made = images.image([images.layer(4000)])
    replicated(geo, open_primary, repository, {"v1": made})
    lost = made.blobs[-1]
    assert geo.context.destination().head_blob(repository, lost.digest) is not None
    secondary.blob_path(lost.digest).unlink()

    # When
    assert geo.context.destination().head_blob(repository, lost.digest) is not None
    found = verify(geo, repository)

    # Then it is found and repaired
    assert told(found) == {("v1", Kind.BLOB_MISSING, lost.digest, len(lost.data))}
    settle(geo, repository)
    assert difference(open_primary, secondary, repository, "v1") == ""


def test_a_manifest_whose_file_is_gone_comes_back(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    made = images.index()
    replicated(geo, primary, repository, {"v1": made})
    child = made.children[0]
    remove_file(secondary, child.digest)
    assert ("v1", Kind.MANIFEST_MISSING, child.digest, child.size) in told(verify(geo, repository, "manifests"))
    settle(geo, repository)
    assert_same(primary, secondary, repository, "v1")


def test_what_the_primary_lacks_too_is_not_missed(
    registry_factory: RegistryFactory, deploy: Deploy, repository: str
) -> None:
    # Given an index that names a platform nobody ever pushed, and registries that take such
    anything = {"validation": {"manifests": {"indexes": {"platforms": "none"}}}}
    primary = registry_factory("sparse-primary", version="3", config=anything)
    secondary = registry_factory("sparse-secondary", version="3", config=anything)
    geo = deploy(primary, secondary)
    made = images.index([images.image()], sparse=[images.image(architecture="arm64")])
    replicated(geo, primary, repository, {"v1": made})

    # When it is verified, and when a platform that was there is gone
    assert verify(geo, repository).in_order
    delete_digest(secondary, repository, made.children[0].digest)

    # Then that one alone is missed
    child = made.children[0]
    assert told(verify(geo, repository)) == {("v1", Kind.MANIFEST_MISSING, child.digest, child.size)}
    settle(geo, repository)


def test_a_layer_that_should_not_be_distributed_is_missed_where_the_primary_holds_it(
    registry_factory: RegistryFactory, deploy: Deploy, repository: str
) -> None:
    # Given one that the primary holds, and one that nobody does
    takes = {"validation": {"manifests": {"urls": {"allow": ["^https://elsewhere.example.com/"]}}}}
    primary = registry_factory("foreign-primary", config=takes)
    secondary = registry_factory("foreign-secondary", config=takes)
    geo = deploy(primary, secondary)
    foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    url = {"urls": ["https://elsewhere.example.com/layer"]}
    held = images.Blob(images.layer(), foreign)
    nowhere = images.Blob(images.layer(), foreign, url, pushed=False)
    replicated(geo, primary, repository, {"v1": images.image([held, nowhere, images.layer()])})
    assert verify(geo, repository).in_order

    # When the first is lost
    delete_blob(secondary, repository, held.digest)

    # Then it alone is named
    assert told(verify(geo, repository)) == {("v1", Kind.BLOB_MISSING, held.digest, len(held.data))}
    settle(geo, repository)


# --- what is pushed by digest alone ---------------------------------------------------------------------------------


def test_a_digest_without_a_tag_is_missed_only_while_the_primary_has_it(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given two images without tags, both gone from the secondary and one from the primary too, as a collection of
    # what has no tag leaves them
    kept, gone = images.image(), images.image()
    for each in (kept, gone):
        push(primary, repository, None, each)
    push(primary, repository, "v1", images.image())
    geo.store(*(event(repository=repository, digest=each.digest) for each in (kept, gone)))
    geo.event("push", repository, "v1")
    geo.settle()
    for each in (kept, gone):
        delete_digest(secondary, repository, each.digest)
    delete_digest(primary, repository, gone.digest)

    # When
    found = verify(geo, repository, "manifests")
    assert {name for name, *_ in told(found)} == {kept.digest, gone.digest}
    settle(geo, repository)

    # Then the one came back, and the other is forgotten
    assert_same(primary, secondary, repository, kept.digest)
    assert set(geo.references(repository)) == {"v1", kept.digest}


# --- the primary ----------------------------------------------------------------------------------------------------


def test_a_verification_of_everything_finds_what_no_event_told_of(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a tag pushed, one deleted and one moved on the primary without any event
    digests = replicated(geo, primary, repository, {name: images.image() for name in ("deleted", "moved", "same")})
    push(primary, repository, "new", images.image())
    push(primary, repository, "moved", images.image())
    delete_digest(primary, repository, digests["deleted"])

    # When it is verified, the primary's tags included
    found = verify(geo, repository, "tags")

    # Then nothing is wrong with the secondary, and a sync is due that brings it up to date
    assert (found.broken, found.failure) == (0, None)
    assert found.behind >= 3
    assert not found.in_order
    assert geo.row(repository).verification_state == VerificationState.PENDING
    settle(geo, repository)
    assert_same(primary, secondary, repository, "moved")
    assert_same(primary, secondary, repository, "new")
    assert digest_of(secondary, repository, "deleted") is None
    assert verify(geo, repository, "tags").in_order


def test_a_moved_tag_alone_needs_no_listing_of_everything(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    replicated(geo, primary, repository, {name: images.image() for name in ("moved", "same")})
    push(primary, repository, "moved", images.image())
    assert verify(geo, repository, "tags").behind == 1
    row = geo.row(repository)
    assert (row.state, row.full_sync) == (SyncState.PENDING, False)
    settle(geo, repository)
    assert_same(primary, secondary, repository, "moved")


def test_what_only_the_secondary_has_is_drift_and_no_failure(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    replicated(geo, primary, repository, {"v1": images.image()})
    retag(secondary, repository, "v1", "theirs")
    for level in LEVELS:
        assert verify(geo, repository, level).in_order


def test_beyond_the_tags_the_primary_is_asked_for_its_listing_alone(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    # Given tags that share their base
    geo, before_primary, before_secondary = proxied
    base = [images.layer() for _ in range(3)]
    made = {f"v{number}": images.image([*base, images.layer()]) for number in range(10)}
    replicated(geo, primary, repository, made)
    retag(primary, repository, "v0", "again")
    geo.event("push", repository, "again")
    geo.settle()
    before_primary.clear()
    before_secondary.clear()

    # When
    assert verify(geo, repository, "blobs").in_order

    # Then the primary was asked once, and the secondary for each thing once
    assert before_primary.requests == [f"GET /v2/{repository}/tags/list?n=1000"]
    for digest in map(images.sha256, base):
        assert before_secondary.count(f"/blobs/{digest}") == 1
    assert before_secondary.count("/blobs/") == len(base) + 2 * len(made)
    assert before_secondary.count("^(GET|HEAD) .*/manifests/") == len(made) + 1
    assert before_secondary.count("^(PUT|POST|PATCH|DELETE)") == 0


def test_a_damaged_manifest_is_no_manifest(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a manifest whose file holds another one
    made, other = images.image(), images.image()
    replicated(geo, primary, repository, {"v1": made})
    secondary.blob_path(made.digest).write_bytes(other.manifest)

    # When
    found = verify(geo, repository, "manifests")

    # Then that is told, and never taken for right
    assert not found.in_order
    assert {kind for _, kind, *_ in told(found)} == {Kind.MANIFEST_DAMAGED}
    secondary.blob_path(made.digest).write_bytes(made.manifest)
    push_manifest(secondary, repository, "v1", made)
    settle(geo, repository)
