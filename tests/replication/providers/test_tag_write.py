"""Tags that do not move."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.registry import Anonymous, Manifest, RegistryClient, Rejected
from app.replication.copying.tag_write import TagImmutable, put_tag
from tests.replication.conftest import Deploy
from tests.replication.providers.stage import bring
from tests.support import images
from tests.support.compare import assert_same
from tests.support.oci_registry import OciRegistry
from tests.support.peculiar import Fixed
from tests.support.wire import delete_tag, push

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def fixed() -> Iterator[tuple[Fixed, RegistryClient]]:
    with Fixed() as registry, RegistryClient(registry.url, Anonymous(), actions=("pull", "push")) as client:
        yield registry, client


def test_an_immutable_tag_that_stands_right_is_a_success(fixed: tuple[Fixed, RegistryClient]) -> None:
    # Given a tag that must not move
    registry, client = fixed
    made = images.image()
    push(registry, "a/x", "v1", made)

    # When the same is written there again, Then that is as it should be, although the registry refuses it
    manifest = Manifest.parse(made.manifest, made.media_type)
    put_tag(client, "a/x", "v1", manifest, total_timeout=10)

    # And anything else is not
    other = images.image()
    push(registry, "a/x", None, other)
    with pytest.raises(TagImmutable, match=manifest.digest) as raised:
        put_tag(client, "a/x", "v1", Manifest.parse(other.manifest, other.media_type), total_timeout=10)
    assert (raised.value.reason, raised.value.temporary) == ("tag_immutable", False)


def test_another_refusal_stays_what_it_is(one: OciRegistry) -> None:
    # Given a registry that takes no such manifest
    one.features.takes = lambda _: False
    made = images.image()
    with RegistryClient(one.url, Anonymous(), actions=("pull", "push")) as client, pytest.raises(Rejected) as raised:
        put_tag(client, "a/x", "v1", Manifest.parse(made.manifest, made.media_type), total_timeout=10)
    assert raised.value.reason == "manifest_invalid"


def test_an_immutable_tag_that_stands_wrong_waits_for_a_person(deploy: Deploy, one: OciRegistry) -> None:
    # Given a secondary where somebody has taken the tag
    with Fixed() as secondary:
        push(secondary, "team/app", "v1", images.image())
        geo = deploy(one, secondary)

        # When it is replicated, Then it fails with a reason of its own, and other tags go on
        assert bring(geo, one, "team/app", "v1", images.image()) == "tag_immutable"
        assert bring(geo, one, "team/app", "v2", images.image()) is None

        # And once it is deleted there, it arrives
        delete_tag(secondary, "team/app", "v1")
        geo.retry("team/app")
        assert_same(one, secondary, "team/app", "v1")
