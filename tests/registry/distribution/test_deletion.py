"""Deletion, which the versions do differently."""

from __future__ import annotations

import pytest

from app.registry import NotFound, RegistryClient, Rejected
from tests.registry.conftest import Connect, key_token
from tests.registry.distribution.stage import both
from tests.support import images, wire
from tests.support.keys import TokenAuth
from tests.support.registries import DistributionRegistry, RegistryFactory, Version


@both
def test_the_last_manifest_deleted_leaves_a_listing_of_none(
    registry: DistributionRegistry, client: RegistryClient
) -> None:
    image = images.image()
    wire.push(registry, "a/x", "v1", image)

    client.delete_manifest("a/x", image.digest, total_timeout=10)

    assert client.list_tags("a/x") == []
    with pytest.raises(NotFound) as raised:
        client.delete_manifest("a/x", image.digest, total_timeout=10)
    assert raised.value.witnessed


@pytest.mark.parametrize("version", ["3"])
def test_a_tag_is_deleted_alone(registry: DistributionRegistry, client: RegistryClient) -> None:
    image = images.image()
    wire.push(registry, "a/x", "v1", image)
    wire.push_manifest(registry, "a/x", "v2", image)

    client.delete_manifest("a/x", "v1")

    assert client.list_tags("a/x") == ["v2"]


@pytest.mark.parametrize("version", ["2.8"])
def test_a_tag_cannot_be_deleted_on_2_8(registry: DistributionRegistry, client: RegistryClient) -> None:
    wire.push(registry, "a/x", "v1", images.image())

    with pytest.raises(Rejected) as raised:
        client.delete_manifest("a/x", "v1")
    assert raised.value.codes == ("DIGEST_INVALID",)


@both
@pytest.mark.parametrize(("options", "expected"), [({}, True), ({"delete": False}, False), ({"readonly": True}, False)])
def test_whether_deletion_is_switched_on(
    version: Version,
    options: dict[str, bool],
    expected: bool,
    registry_factory: RegistryFactory,
    connect: Connect,
    token_auth: TokenAuth,
) -> None:
    registry = registry_factory("registry", version=version, token=token_auth, **options)

    assert connect(registry.url, key_token(registry)).supports_delete("no/such") is expected
