"""Replication from Distribution to the registry of each vendor, and from each to Distribution."""

from __future__ import annotations

import os

import pytest

from app.models import SyncState
from tests.emulators.emulator import Emulator
from tests.providers.replication.conftest import Meet
from tests.providers.replication.vendors import Vendor, prepare
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import SECRET
from tests.support.images import Blob, Image
from tests.support.referring import Pushed, attach, referring
from tests.support.registries import DistributionRegistry, Registry
from tests.support.wire import delete_digest, digest_of, push, tags

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

#: Bytes that the tests' own client sends in one request.
AT_ONCE = 6 * 1024**2

#: Settings that say whose registry it is.
OF_PROVIDER = ("GEO_SECONDARY_REGISTRY_PROVIDER", "GEO_SECONDARY_REGISTRY_CONTROL_URL")

TAGS = ("index", "artifact", "large", "gone")


def fill(registry: Registry, repository: str, size: int) -> tuple[Image, list[Pushed]]:
    """Push an image for several platforms, an artifact and what refers to it, a large layer, and one to be deleted."""
    artifact = images.artifact("application/vnd.example.one.v1", [b"an artifact"])
    large = images.image([Blob(os.urandom(size))])
    made = dict(zip(TAGS, (images.index(), artifact, large, images.image()), strict=True))
    pushed = [Pushed(push(registry, repository, tag, image), tag) for tag, image in made.items()]
    signature = images.artifact("application/vnd.example.signature.v1", [b"a signature"], subject=artifact)
    return artifact, [*pushed, *attach(registry, repository, signature)]


def assert_all(primary: Registry, secondary: Registry, repository: str, artifact: Image) -> None:
    for tag in TAGS:
        assert_same(primary, secondary, repository, tag)
    (entry,) = referring(primary, repository, artifact.digest)
    assert referring(secondary, repository, artifact.digest) == [entry]
    assert_same(primary, secondary, repository, str(entry["digest"]))


def test_from_distribution(
    meet: Meet, distribution: DistributionRegistry, vendor: Vendor, theirs: Emulator, repository: str
) -> None:
    # Given a deployment whose secondary is the vendor's, and a repository that it has never seen
    if hasattr(theirs, "mutability"):
        assert repository not in theirs.mutability
    geo = meet(distribution, theirs, vendor.settings(theirs, "SECONDARY")).geo
    artifact, pushed = fill(distribution, repository, vendor.large)

    # When the events of its pushes are processed
    for each in pushed:
        geo.event("push", repository, each.tag, each.digest)
    geo.settle()

    # Then all of it is there, byte for byte
    assert (geo.row(repository).state, geo.failure(repository)) == (SyncState.SYNCED, "")
    assert_all(distribution, theirs, repository, artifact)

    # When a tag moves
    moved = push(distribution, repository, "index", images.index())
    geo.event("push", repository, "index", moved)
    geo.settle()

    # Then it moves there
    assert digest_of(theirs, repository, "index") == moved

    # When one is deleted
    gone = digest_of(distribution, repository, "gone")
    assert gone is not None
    delete_digest(distribution, repository, gone)
    geo.event("delete", repository, digest=gone)
    geo.event("delete", repository, "gone")
    geo.settle()

    # Then it is deleted there too, where that can be done, and nothing beside it
    assert ("gone" in tags(theirs, repository)) is not vendor.follows
    assert set(tags(theirs, repository)) >= {"index", "artifact", "large"}
    assert digest_of(theirs, repository, "index") == moved
    assert (geo.row(repository).state == SyncState.SYNCED) is vendor.follows


def test_to_distribution(
    meet: Meet, distribution: DistributionRegistry, vendor: Vendor, theirs: Emulator, repository: str
) -> None:
    # Given a deployment whose primary is the vendor's, which tells it of its pushes
    env = {"GEO_REPOSITORIES": repository, **vendor.settings(theirs, "PRIMARY")}
    meeting = meet(theirs, distribution, env)
    geo = meeting.geo
    if theirs.dialect:
        theirs.notify(meeting.webhook(theirs.dialect), SECRET)
    prepare(theirs, repository)

    # When things are pushed there
    artifact, pushed = fill(theirs, repository, min(vendor.large, AT_ONCE))
    if not theirs.dialect:
        # Of one that tells nothing, the pipeline tells, or the reconcile finds it.
        for each in pushed:
            geo.event("push", repository, each.tag, each.digest)
    assert set(theirs.delivered) <= {200}
    geo.settle()

    # Then all of it arrives, byte for byte
    assert (geo.row(repository).state, geo.failure(repository)) == (SyncState.SYNCED, "")
    assert_all(theirs, distribution, repository, artifact)

    # When a tag moves, and another is deleted as the vendor's users do
    moved = push(theirs, repository, "index", images.index())
    if not theirs.dialect:
        geo.event("push", repository, "index", moved)
    if vendor.delete is not None:
        vendor.delete(theirs, repository, "gone")
    geo.settle()

    # Then that follows: by the vendor's event, or where it tells of none by a full sync
    assert digest_of(distribution, repository, "index") == moved
    if vendor.delete is None:
        return
    assert ("gone" not in tags(distribution, repository)) is vendor.told
    if not vendor.told:
        geo.row(repository).replicator.sync()
        assert "gone" not in tags(distribution, repository)
    assert set(tags(distribution, repository)) >= {"index", "artifact", "large"}
    assert (geo.row(repository).state, geo.failure(repository)) == (SyncState.SYNCED, "")


@pytest.mark.long
def test_without_being_told_whose_registry_it_is(
    meet: Meet, distribution: DistributionRegistry, vendor: Vendor, theirs: Emulator, repository: str
) -> None:
    # Given a deployment that knows nothing of its secondary but its address and the account there
    env = {name: value for name, value in vendor.settings(theirs, "SECONDARY").items() if name not in OF_PROVIDER}
    geo = meet(distribution, theirs, env).geo
    prepare(theirs, repository)

    # When things are pushed
    artifact, pushed = fill(distribution, repository, vendor.large)
    for each in pushed:
        geo.event("push", repository, each.tag, each.digest)
    geo.settle()

    # Then all of it arrives there too; what was refused as too large went in parts
    assert (geo.row(repository).state, geo.failure(repository)) == (SyncState.SYNCED, "")
    assert_all(distribution, theirs, repository, artifact)
