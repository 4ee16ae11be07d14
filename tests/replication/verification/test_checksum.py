"""GitLab's checksum, and over which tags it is taken."""

from __future__ import annotations

import hashlib

from app.replication.verification.checksum import checksum
from tests.replication.verification.stage import replicated, verify
from tests.support import images
from tests.support.deployment import Deployment
from tests.support.registries import DistributionRegistry
from tests.support.wire import delete_digest, retag


def test_it_is_name_and_digest_of_each_tag_by_the_order_of_the_names_bytes() -> None:
    # Given names that a locale would sort in another way
    tags = [("v1", "sha256:bb"), ("V2", "sha256:aa"), ("_x", "sha256:cc"), ("v1.0", "sha256:dd")]

    # Then
    expected = hashlib.sha256(b"V2sha256:aa_xsha256:ccv1sha256:bbv1.0sha256:dd").hexdigest()
    assert checksum(tags) == expected
    assert checksum([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_both_sides_have_the_same_where_all_is_there(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given tags, and one that is not ours
    digests = replicated(geo, primary, repository, {name: images.image() for name in ("v1", "latest", "V3")})
    retag(secondary, repository, "v1", "theirs")
    expected = checksum(digests.items())

    # When it is verified at the level that asks both sides, and at one that does not
    for level in ("tags", "manifests"):
        found = verify(geo, repository, level)

        # Then it is the checksum of the primary's tags
        assert found.checksums is not None
        assert (found.checksums.primary, found.checksums.secondary) == (expected, expected)
        assert geo.row(repository).verification_checksum == expected


def test_a_missing_tag_is_not_in_the_secondarys(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    digests = replicated(geo, primary, repository, {name: images.image() for name in ("v1", "v2")})
    delete_digest(secondary, repository, digests["v2"])
    verify(geo, repository, "tags")
    row = geo.row(repository)
    assert row.verification_checksum == checksum([("v1", digests["v1"])])
    assert row.verification_checksum_mismatched == checksum(digests.items())


def test_there_is_none_while_a_tag_was_not_looked_at(
    geo: Deployment, primary: DistributionRegistry, repository: str
) -> None:
    replicated(geo, primary, repository, {"v1": images.image()})
    geo.event("push", repository, "missing", images.sha256(b"missing"))
    geo.settle()
    assert verify(geo, repository, "tags").checksums is None
    assert geo.row(repository).verification_checksum is None
