"""Listings, whole whatever the size of a page."""

from __future__ import annotations

from app.registry import RegistryClient
from tests.registry.distribution.stage import both
from tests.support import images, wire
from tests.support.registries import DistributionRegistry


@both
def test_tags_are_listed_whole(registry: DistributionRegistry, client: RegistryClient) -> None:
    # Given more tags than the page size
    image = images.image()
    wire.push(registry, "a/x", "t00", image)
    expected = [f"t{number:02}" for number in range(25)]
    for tag in expected[1:]:
        wire.push_manifest(registry, "a/x", tag, image)

    # Then they are all there whatever the size of a page
    for size in (1, 10, 25, 1000, 5000):
        assert sorted(client.list_tags("a/x", page_size=size)) == expected


@both
def test_repositories_are_listed_whole(registry: DistributionRegistry, client: RegistryClient) -> None:
    expected = [f"r/{number}" for number in range(7)]
    for name in expected:
        wire.push(registry, name, "v1", images.image())

    # 5000 is refused with PAGINATION_NUMBER_INVALID by both.
    for size in (2, 7, 1000, 5000):
        assert sorted(client.list_repositories(page_size=size)) == expected
