"""Every format arrives byte for byte, or fails by itself with a reason."""

from __future__ import annotations

import pytest

from app.models import SyncState
from tests.replication.conftest import Deploy
from tests.replication.formats.catalogue import LARGEST, catalogue, exotic, sized
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import Deployment, event
from tests.support.images import Image
from tests.support.oci_registry import OciRegistry
from tests.support.registries import DistributionRegistry, Registry
from tests.support.wire import delete_blob, delete_digest, digest_of, push, push_manifest

pytestmark = pytest.mark.timeout(90)


def replicate(geo: Deployment, primary: Registry, repository: str, formats: dict[str, Image]) -> None:
    """Push all to the primary, and process the events."""
    geo.store(
        *(event(repository=repository, tag=tag, digest=push(primary, repository, tag, made))
          for tag, made in formats.items())
    )  # fmt: skip
    geo.settle()


def assert_arrived(
    geo: Deployment, primary: Registry, secondary: Registry, repository: str, formats: dict[str, Image]
) -> None:
    """All are on the secondary as they are on the primary, and recorded so; nothing else failed."""
    failed = {name: each.failure for name, each in geo.references(repository).items() if each.failure}
    assert failed.keys().isdisjoint(formats), failed
    for tag, made in formats.items():
        assert_same(primary, secondary, repository, tag)
        reference = geo.reference(repository, tag)
        assert reference is not None
        assert (reference.observed_digest, reference.state) == (made.digest, SyncState.SYNCED)


def test_every_format_arrives_on_distribution_2(
    deploy: Deploy, distribution_2: DistributionRegistry, another_2: DistributionRegistry, repository: str
) -> None:
    geo, formats = deploy(distribution_2, another_2), catalogue(repository)

    replicate(geo, distribution_2, repository, formats)

    assert_arrived(geo, distribution_2, another_2, repository, formats)
    assert geo.row(repository).state == SyncState.SYNCED


@pytest.mark.long
def test_every_format_arrives_on_distribution_3_but_those_that_it_refuses(
    deploy: Deploy, distribution_2: DistributionRegistry, distribution_3: DistributionRegistry, repository: str
) -> None:
    # Given formats of which Distribution 3 takes some no more
    geo, formats = deploy(distribution_2, distribution_3), catalogue(repository)
    refused = {"schema1": "manifest_invalid", "buildkit-index": "manifest_blob_unknown"}
    refused["buildkit-list"] = refused["buildkit-index"]

    # When all are replicated
    replicate(geo, distribution_2, repository, formats)

    # Then each of those fails with its reason, and the others are there
    assert_arrived(
        geo, distribution_2, distribution_3, repository, {t: i for t, i in formats.items() if t not in refused}
    )
    references = geo.references(repository)
    assert {tag: references[tag].failure_reason for tag in refused} == refused
    assert all(tag in (references[tag].failure or "") for tag in refused)
    assert geo.row(repository).state == SyncState.FAILED
    assert all(digest_of(distribution_3, repository, tag) is None for tag in refused)


@pytest.mark.long
def test_every_format_arrives_on_an_oci_registry(
    deploy: Deploy, distribution_2: DistributionRegistry, lenient: OciRegistry, repository: str
) -> None:
    geo, formats = deploy(distribution_2, lenient), catalogue(repository)

    replicate(geo, distribution_2, repository, formats)

    # To a registry that knows no schema 1 its signatures are content, and its digest is another
    schema1 = geo.reference(repository, "schema1")
    assert schema1 is not None
    assert (schema1.state, schema1.failure_reason) == (SyncState.FAILED, "digest_mismatch")
    del formats["schema1"]
    assert_arrived(geo, distribution_2, lenient, repository, formats)


def test_what_no_one_has_heard_of_arrives_too(
    deploy: Deploy, lenient: OciRegistry, another_lenient: OciRegistry, repository: str
) -> None:
    geo, formats = deploy(lenient, another_lenient), exotic()

    replicate(geo, lenient, repository, formats)

    assert_arrived(geo, lenient, another_lenient, repository, formats)


@pytest.mark.long
def test_a_full_sync_finds_every_format_equal(
    deploy: Deploy, distribution_2: DistributionRegistry, another_2: DistributionRegistry, repository: str
) -> None:
    # Given every format on both sides
    geo, formats = deploy(distribution_2, another_2), catalogue(repository)
    replicate(geo, distribution_2, repository, formats)
    before = len(geo.attempts(repository))

    # When all are looked at
    geo.row(repository).replicator.sync()

    # Then nothing is copied again: also what the primary signs anew at every request
    assert {attempt.action for attempt in geo.attempts(repository)[before:]} <= {"keep"}
    assert geo.row(repository).state == SyncState.SYNCED


@pytest.mark.parametrize("by", ["2.8", "3"])
def test_a_sparse_index_fails_with_a_reason_where_it_is_refused(
    deploy: Deploy,
    distribution_2: DistributionRegistry,
    request: pytest.FixtureRequest,
    repository: str,
    by: str,
) -> None:
    # Given an index on the primary of which a child is gone, and an image beside it
    secondary: DistributionRegistry = request.getfixturevalue("another_2" if by == "2.8" else "distribution_3")
    geo, sparse = deploy(distribution_2, secondary), images.index()
    push(distribution_2, repository, "sparse", sparse)
    delete_digest(distribution_2, repository, sparse.children[1].digest)
    geo.event("push", repository, "sparse", sparse.digest)

    # When both are replicated to a registry that wants an index whole
    replicate(geo, distribution_2, repository, {"image": (image := images.image())})

    # Then the index fails and says what is missing, and the image is there
    reference = geo.reference(repository, "sparse")
    assert reference is not None
    assert (reference.state, reference.failure_reason) == (SyncState.FAILED, "child_missing")
    assert sparse.children[1].digest in (reference.failure or "")
    assert_arrived(geo, distribution_2, secondary, repository, {"image": image})

    # And the child that comes back mends it
    push_manifest(distribution_2, repository, sparse.children[1].digest, sparse.children[1])
    geo.retry(repository)
    assert_arrived(geo, distribution_2, secondary, repository, {"sparse": sparse})


def test_a_sparse_index_arrives_as_sparse_as_it_is(
    deploy: Deploy, distribution_2: DistributionRegistry, lenient: OciRegistry, repository: str
) -> None:
    geo, sparse = deploy(distribution_2, lenient), images.index()
    push(distribution_2, repository, "sparse", sparse)
    delete_digest(distribution_2, repository, sparse.children[1].digest)
    geo.event("push", repository, "sparse", sparse.digest)

    geo.settle()

    assert_arrived(geo, distribution_2, lenient, repository, {"sparse": sparse})
    assert digest_of(lenient, repository, sparse.children[0].digest) is not None
    assert digest_of(lenient, repository, sparse.children[1].digest) is None


def test_what_a_registry_as_it_comes_refuses_fails_alone(
    deploy: Deploy, lenient: OciRegistry, plain_2: DistributionRegistry, repository: str
) -> None:
    # Given on the primary what Distribution does not take without being told to, or not at all, and what it takes
    exotics, known = exotic(), catalogue(repository)
    lenient.features.manifest_limit = 2 * LARGEST
    refused = {
        "unknown": "manifest_invalid",
        "unknown-in-index": "manifest_invalid",
        "no-json": "manifest_invalid",
        "oci-artifact": "manifest_invalid",
        "sha512-child": "digest_invalid",
        "sparse": "child_missing",
        "sparse-nested": "child_missing",
        "foreign-elsewhere": "manifest_blob_unknown",
        "urls": "manifest_blob_unknown",
        "too-large": "manifest_invalid",
    }
    formats = {tag: made for tag, made in {**exotics, **known}.items() if tag in refused}
    formats |= {"too-large": sized(LARGEST + 1)}
    taken = {tag: known[tag] for tag in ("oci", "docker-list", "nondistributable-held")}
    geo = deploy(lenient, plain_2)

    # When all are replicated
    replicate(geo, lenient, repository, {**formats, **taken})

    # Then each fails for its own reason, and the others are there
    references = geo.references(repository)
    assert {tag: references[tag].failure_reason for tag in refused} == refused
    assert_arrived(geo, lenient, plain_2, repository, taken)


def test_a_child_whose_layer_the_secondary_lost_is_mended_at_once(
    deploy: Deploy, distribution_2: DistributionRegistry, another_2: DistributionRegistry, repository: str
) -> None:
    # Given a replicated image whose layer has gone from the secondary since
    geo, layer = deploy(distribution_2, another_2), images.layer()
    replicate(geo, distribution_2, repository, {"v1": images.image([layer])})
    delete_blob(another_2, repository, images.sha256(layer))

    # When an index is pushed whose children have that layer
    index = {"v2": images.index([images.image([layer]), images.image([layer], architecture="arm64")])}
    replicate(geo, distribution_2, repository, index)

    # Then it arrives by the first try
    assert_arrived(geo, distribution_2, another_2, repository, index)
    assert [attempt.outcome for attempt in geo.attempts(repository, "v2")] == ["synced"]
