from __future__ import annotations

from app.demo import image as images
from app.registry import Anonymous, Digest, RegistryClient
from tests.support.compare import assert_same
from tests.support.registries import DistributionRegistry, RegistryFactory
from tests.support.wire import digest_of


def test_every_image_is_a_new_one_with_several_platforms() -> None:
    first, second = images.build(), images.build()
    assert first.index.digest != second.index.digest
    assert len(first.manifests) > 1
    assert not set(first.blobs) & {d for d, data in second.blobs.items() if len(data) > 1000}
    for digest, data in first.blobs.items():
        assert Digest.of(data) == digest


def test_a_registry_takes_it(registry_factory: RegistryFactory) -> None:
    # Given
    registry: DistributionRegistry = registry_factory("registry")
    image = images.build()

    # When
    with RegistryClient(registry.url, Anonymous(), actions=("pull", "push")) as client:
        image.push(client, "demo/hello", "latest")

    # Then all of it is there
    assert digest_of(registry, "demo/hello", "latest") == image.index.digest
    assert_same(registry, registry, "demo/hello", "latest")
