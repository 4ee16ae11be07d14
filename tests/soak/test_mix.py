from __future__ import annotations

import pytest

from tests.chaos.reader import Reader
from tests.soak.mix import Mix
from tests.support.ports import free_port
from tests.support.registries import Address, DistributionRegistry, Registry, RegistryFactory


@pytest.fixture
def registry(registry_factory: RegistryFactory) -> DistributionRegistry:
    return registry_factory("registry")


def mix(registry: Registry, seed: int = 170, releases: int = 2) -> Mix:
    return Mix(registry, seed=seed, pause=0.0, releases=releases)


def test_its_account_is_what_the_registry_holds(registry: DistributionRegistry) -> None:
    # Given a seed with which all of that comes soon
    ours = mix(registry)

    # When it has done something of everything
    while not {"moved", "release", "index", "medium", "digest", "deletions"} <= ours.done.keys():
        ours.step()

    # Then each tag that it says is there is, as it says, and no other
    with Reader(registry) as reader:
        held = {(name, tag) for name in reader.repositories() for tag in reader.tags(name)}
        assert held == ours.there.keys()
        assert not held & ours.deleted
        for (repository, tag), digest in ours.there.items():
            assert reader.manifest(repository, digest) == reader.manifest(repository, tag)
    assert ours.counted()["there"] == len(held)


def test_the_number_of_tags_does_not_grow_for_ever(registry: DistributionRegistry) -> None:
    # Given
    ours = mix(registry, releases=1)

    # When
    while ours.done["release"] < 5:
        ours.step()

    # Then only the newest of the new tags are left
    assert len([tag for _, tag in ours.there if tag.startswith("r-")]) <= 2
    assert len(ours.deleted) >= 3


def test_the_same_seed_does_the_same(registry_factory: RegistryFactory) -> None:
    # Given two registries
    first, second = mix(registry_factory("one")), mix(registry_factory("two"))

    # When
    for _ in range(5):
        first.step()
        second.step()

    # Then all is equal but the content, part of which is drawn by the images themselves
    assert first.there.keys() == second.there.keys()
    assert first.done == second.done
    assert mix(first.registry, seed=8)._bases != first._bases


def test_what_ends_the_thread_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a registry that is not there, and nobody with patience
    monkeypatch.setattr("tests.soak.mix._PATIENCE", 0.0)
    monkeypatch.setattr("tests.soak.mix._AGAIN", 0.01)
    with mix(Address(f"http://127.0.0.1:{free_port()}")) as ours:
        # When
        ours._thread.join(20)

        # Then
        with pytest.raises(OSError, match="refused"):
            ours.counted()
