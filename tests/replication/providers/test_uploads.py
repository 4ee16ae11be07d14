"""What registries take: in one request, in chunks, by a mount, or not at all."""

from __future__ import annotations

import json

import pytest

from tests.replication.conftest import Deploy
from tests.replication.providers.stage import PROVIDER, bring
from tests.support import images
from tests.support.compare import assert_same
from tests.support.oci_registry import OciRegistry
from tests.support.peculiar import Narrow
from tests.support.wire import tags

pytestmark = pytest.mark.timeout(90)


def test_what_azure_takes_in_no_request_goes_in_chunks(deploy: Deploy, one: OciRegistry) -> None:
    # Given a registry that takes 20 MB in one request
    with Narrow(20_000_000) as secondary:
        geo = deploy(one, secondary, **{PROVIDER: "acr", "GEO_SPOOL_MAX_BYTES": "0"})

        # When an image with a larger layer is replicated
        large = images.image(layers=[images.layer(33 * 1024**2)])
        assert bring(geo, one, "team/app", "v1", large) is None

        # Then it is there, by chunks of 16 MiB, and nothing was refused on the way
        assert_same(one, secondary, "team/app", "v1")
        assert secondary.count("^PATCH ") == 3


def test_a_proxy_with_a_limit_costs_one_refusal(deploy: Deploy, one: OciRegistry) -> None:
    # Given a registry of which nobody knows that a proxy before it takes 10 MB at most
    with Narrow(10_000_000) as secondary:
        geo = deploy(one, secondary, GEO_SPOOL_MAX_BYTES="0")
        assert bring(geo, one, "team/app", "v1", images.image(layers=[images.layer(12 * 1024**2)])) is None
        assert_same(one, secondary, "team/app", "v1")


def test_what_is_too_large_for_bundle_bar_is_not_sent(deploy: Deploy, one: OciRegistry) -> None:
    # Given a registry for small artifacts
    with OciRegistry() as secondary:
        geo = deploy(one, secondary, **{PROVIDER: "bundle-bar"})

        # When an artifact of 6 MB in two layers comes, and a small one
        large = images.image(layers=[images.layer(3 * 10**6), images.layer(3 * 10**6)])
        reason = bring(geo, one, "me/app", "large", large)
        assert secondary.repositories == {}
        small = bring(geo, one, "me/app", "small", images.image())

        # Then nothing of the large one was sent, it is said why, and the small one is there
        assert (reason, small) == ("beyond_limit", None)
        assert "Bundle Bar takes 5 MB at most" in (geo.references("me/app")["large"].failure or "")
        assert tags(secondary, "me/app") == ["small"]


def test_a_manifest_without_media_type_is_named(deploy: Deploy, one: OciRegistry) -> None:
    # Given an image whose manifest does not say what it is, below an index that does
    made = images.image()
    document = {name: value for name, value in made.document.items() if name != "mediaType"}
    nameless = images.Image(json.dumps(document).encode(), made.media_type, blobs=made.blobs)
    with OciRegistry() as secondary:
        geo = deploy(one, secondary, **{PROVIDER: "ecr"})

        # When it is replicated to where that is refused, Then it fails by itself and for good
        assert bring(geo, one, "team/app", "v1", nameless) == "media_type_missing"
        assert bring(geo, one, "team/app", "v2", images.image()) is None
        assert secondary.count("^PUT /v2/team/app/manifests/v1") == 0


@pytest.mark.parametrize(("name", "mounts"), [("gar", False), ("generic", True)])
def test_nothing_is_mounted_where_that_is_not_honoured(
    name: str, mounts: bool, deploy: Deploy, one: OciRegistry
) -> None:
    # Given two repositories with a layer in common
    base = images.layer()
    with OciRegistry() as secondary:
        geo = deploy(one, secondary, **{PROVIDER: name})
        for repository in ("project/images/one", "project/images/two"):
            assert bring(geo, one, repository, "v1", images.image(layers=[base])) is None

        # Then it is mounted from one into the other, or sent twice
        assert (secondary.count("mount=") > 0) == mounts
