"""Connections: by TLS, and over a restart."""

from __future__ import annotations

from app.registry import RegistryClient
from tests.registry.conftest import Connect, key_token
from tests.registry.distribution.stage import both, push
from tests.support import images, wire
from tests.support.keys import TokenAuth
from tests.support.registries import DistributionRegistry, RegistryFactory, Version


@both
def test_over_tls(version: Version, registry_factory: RegistryFactory, connect: Connect, token_auth: TokenAuth) -> None:
    registry = registry_factory("registry", version=version, token=token_auth, tls=token_auth.keys)
    client = connect(registry.url, key_token(registry), ca_path=str(token_auth.keys.certificate_path))
    image = images.image(size=500_000)

    push(client, "a/x", "v1", image)

    assert client.get_manifest("a/x", "v1").digest == image.digest
    with client.open_blob("a/x", image.blobs[1].digest) as stream:
        assert b"".join(stream) == image.blobs[1].data


@both
def test_a_restart_of_the_registry_is_not_noticed(registry: DistributionRegistry, client: RegistryClient) -> None:
    wire.push(registry, "a/x", "v1", images.image())
    client.list_tags("a/x")

    registry.stop()
    registry.start()

    assert client.list_tags("a/x") == ["v1"]
