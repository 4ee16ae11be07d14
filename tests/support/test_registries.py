from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.compare import assert_same, difference, same
from tests.support.images import SCHEMA1_SIGNED, artifact, buildkit_cache, cosign_signature, image, index
from tests.support.keys import KeyPair, TokenAuth, make_ec
from tests.support.receivers import Receiver
from tests.support.registries import Address, DistributionRegistry, Endpoint, RegistryFactory
from tests.support.schema1 import schema1
from tests.support.skopeo import skopeo_copy, skopeo_pull, skopeo_push, write_layout
from tests.support.wait import wait_until
from tests.support.wire import (
    WireError,
    catalog,
    delete_digest,
    delete_tag,
    digest_of,
    fetch,
    fetch_blob,
    push,
    push_blob,
    push_manifest,
    retag,
    tags,
)


def test_what_is_pushed_is_fetched_byte_for_byte(primary: DistributionRegistry) -> None:
    # Given every kind of content that the builder makes
    base = image(media="docker", count=2, size=5000)
    signature_tag, signature = cosign_signature(base)
    pushed = {
        "docker": base,
        "oci": image(),
        "untyped": image(media_type_in_body=False),
        "list": index(media="docker"),
        "nested": index([index(), image()]),
        "artifact": artifact(),
        "cache": buildkit_cache(),
        "old-cache": buildkit_cache(as_index=True),
        "empty": image([b""]),
        signature_tag: signature,
    }

    # When it is pushed
    digests = {tag: push(primary, "group/app", tag, content) for tag, content in pushed.items()}

    # Then the registry gives the same bytes under tag and digest
    assert digests == {tag: content.digest for tag, content in pushed.items()}
    for tag, content in pushed.items():
        for reference in (tag, content.digest):
            fetched = fetch(primary, "group/app", reference)
            assert fetched == (content.manifest, content.media_type, content.digest)
        for blob in content.blobs:
            assert fetch_blob(primary, "group/app", blob.digest) == blob.data
    assert tags(primary, "group/app") == sorted(pushed)
    assert catalog(primary) == ["group/app"]


def test_a_token_registry_refuses_what_the_token_does_not_grant(
    primary: DistributionRegistry, token_auth: TokenAuth, tmp_path: Path
) -> None:
    # Given tokens for another repository, for reading, expired, and signed by a key that is not trusted
    stranger = make_ec(tmp_path, "stranger")
    scope = "repository:group/app:pull,push"
    refused = [
        token_auth.mint("repository:group/other:pull,push"),
        token_auth.mint("repository:group/app:pull"),
        token_auth.mint(scope, lifetime=-120),
        token_auth.mint(scope, keys=stranger),
    ]

    # When / Then each push is refused, and one with the right token is not
    for token in refused:
        with pytest.raises(WireError) as caught:
            push(primary, "group/app", "v1", image(), token=token)
        assert caught.value.status == 401
    push(primary, "group/app", "v1", image(), token=token_auth.mint(scope))


def test_an_elliptic_key_signs_for_a_registry(registry_factory: RegistryFactory, tmp_path: Path) -> None:
    # Given a registry that trusts a P-256 certificate
    registry = registry_factory("ec", token=TokenAuth(make_ec(tmp_path), issuer="i", service="s"))

    # When / Then a push passes
    digest = push(registry, "a/x", "v1", image())
    assert digest_of(registry, "a/x", "v1") == digest


def test_skopeo_and_the_builder_agree(primary: DistributionRegistry, tmp_path: Path) -> None:
    # Given an index in a layout
    content = index([image(count=2), image(architecture="arm64")])
    layout = write_layout(tmp_path / "layout", content)

    # When skopeo pushes it, pulls it, and pushes what it pulled
    skopeo_push(primary, "group/app", "v1", layout)
    skopeo_pull(primary, "group/app", "v1", tmp_path / "pulled")
    skopeo_push(primary, "group/again", "v1", f"oci:{tmp_path / 'pulled'}:v1")

    # Then it is the index that was built
    assert fetch(primary, "group/app", "v1").body == content.manifest
    assert same(primary, primary, "group/app", "v1", "group/again")


def test_skopeo_says_why_it_fails(primary: DistributionRegistry, tmp_path: Path) -> None:
    # Given a layout, and no token
    layout = write_layout(tmp_path / "layout", image())

    # When / Then
    with pytest.raises(AssertionError, match="skopeo copy"):
        skopeo_copy(layout, f"docker://{primary.host}/group/app:v1")


def test_a_difference_is_found_and_named(primary: DistributionRegistry, secondary: DistributionRegistry) -> None:
    # Given an index on the primary
    content = index()
    push(primary, "a/x", "v1", content)

    # When / Then it is missing on the secondary
    assert difference(primary, secondary, "a/x", "v1") == "a/x:v1 is not on the secondary"

    # When / Then the tag names another image there
    push(secondary, "a/x", "v1", image())
    assert "media type" in difference(primary, secondary, "a/x", "v1")

    # When / Then it is there, and a blob's file is damaged behind the registry's back
    push(secondary, "a/x", "v1", content)
    assert_same(primary, secondary, "a/x", "v1")
    damaged = content.children[1].blobs[1]
    secondary.blob_path(damaged.digest).write_bytes(bytes(len(damaged.data)))
    assert damaged.digest in difference(primary, secondary, "a/x", "v1")
    assert not same(primary, secondary, "a/x", "v1")


def test_tags_move_and_go(primary: DistributionRegistry) -> None:
    # Given two tags of one image and one of another
    first, second = image(), image()
    push(primary, "a/x", "v1", first)
    retag(primary, "a/x", "v1", "v2")
    push(primary, "a/x", "v3", second)
    assert digest_of(primary, "a/x", "v2") == first.digest

    # When / Then 2.8 refuses to delete a tag
    with pytest.raises(WireError) as caught:
        delete_tag(primary, "a/x", "v1")
    assert caught.value.status == 400

    # When the digest is deleted / Then both its tags are gone
    delete_digest(primary, "a/x", first.digest)
    assert tags(primary, "a/x") == ["v3"]
    assert digest_of(primary, "a/x", "v1") is None


def test_a_killed_registry_comes_back_on_its_port_with_its_data(primary: DistributionRegistry) -> None:
    # Given an image on a registry
    content = image()
    push(primary, "a/x", "v1", content)
    url = primary.url

    # When it is killed, stopped and started again
    primary.kill()
    assert not primary.running
    primary.start()
    primary.stop()
    primary.start()

    # Then it has the image where it was
    assert primary.url == url
    assert fetch(primary, "a/x", "v1").body == content.manifest


def test_notifications_arrive_with_the_secret(registry_factory: RegistryFactory) -> None:
    with Receiver() as receiver:
        # Given a registry that notifies, ignoring pulls and blobs, and a receiver that fails at first
        receiver.status = 503
        endpoint = Endpoint(f"{receiver.url}/events", secret="s3cret", ignore=True)
        registry = registry_factory("notifying", notify=[endpoint], include_references=True)

        # When an image is pushed and pulled
        content = image()
        push(registry, "a/x", "v1", content)
        fetch(registry, "a/x", "v1")
        wait_until(lambda: receiver.received)
        assert registry.pending_notifications() == 1
        receiver.status = 200

        # Then the push alone arrives, in the end
        wait_until(lambda: registry.pending_notifications() == 0)
        for request in receiver.received:
            assert request.path == "/events"
            assert request.headers["authorization"] == "s3cret"
            (event,) = request.events
            assert (event["action"], event["target"]["tag"]) == ("push", "v1")
            assert event["target"]["digest"] == content.digest
            assert len(event["target"]["references"]) == 2


def test_a_readonly_registry_takes_no_push(primary: DistributionRegistry) -> None:
    # Given a registry restarted as readonly
    content = image()
    push(primary, "a/x", "v1", content)
    primary.stop()
    primary.readonly = True
    primary.start()

    # When / Then
    with pytest.raises(WireError) as caught:
        push(primary, "a/x", "v2", image())
    assert caught.value.status == 405
    assert digest_of(primary, "a/x", "v1") == content.digest


def test_basic_authentication_and_tls(registry_factory: RegistryFactory, keys: KeyPair) -> None:
    # Given a registry with a password behind TLS
    registry = registry_factory("basic", basic=True, tls=keys)

    # When / Then
    assert registry.url.startswith("https://")
    push(registry, "a/x", "v1", image())
    with pytest.raises(WireError) as caught:
        fetch(registry, "a/x", "v1", token="none")
    assert caught.value.status == 401


def test_garbage_collection_removes_what_nothing_names(registry_factory: RegistryFactory) -> None:
    # Given a blob that no manifest names, beside an image
    registry = registry_factory("collected")
    content = image()
    push(registry, "a/x", "v1", content)
    orphan = push_blob(registry, "a/x", b"nobody's")
    assert registry.blob_path(orphan).exists()

    # When
    registry.garbage_collect()

    # Then
    assert not registry.blob_path(orphan).exists()
    assert registry.blob_path(content.blobs[0].digest).exists()


def test_schema_1_is_accepted_and_compared_without_its_signatures(
    registry_factory: RegistryFactory,
) -> None:
    # Given a signed schema 1 image on two registries
    content = schema1("a/x", "old")
    first, second = (registry_factory(name, schema1=True) for name in ("first", "second"))
    for registry in (first, second):
        push(registry, "a/x", "old", content)

    # When
    fetched = fetch(first, "a/x", "old")

    # Then the registry knows it by the digest of the payload, and both hold the same
    assert fetched.media_type == SCHEMA1_SIGNED
    assert fetched.digest != content.digest
    assert fetch(first, "a/x", content.digest).media_type == SCHEMA1_SIGNED
    assert_same(first, second, "a/x", "old")
    push(second, "a/x", "old", schema1("a/x", "old"))
    assert not same(first, second, "a/x", "old")


def test_a_registry_is_reached_by_its_address_alone(primary: DistributionRegistry) -> None:
    # Given an address with a token in its headers
    address = Address(primary.url, primary.authorization("repository:a/x:pull,push"))

    # When / Then
    digest = push(address, "a/x", "v1", image())
    assert digest_of(primary, "a/x", "v1") == digest


def test_an_option_of_the_configuration_is_merged(registry_factory: RegistryFactory) -> None:
    # Given a registry whose storage section is extended
    config = {"storage": {"maintenance": {"readonly": {"enabled": True}}}}
    registry = registry_factory("extended", config=config)

    # When / Then
    with pytest.raises(WireError) as caught:
        push(registry, "a/x", "v1", image())
    assert caught.value.status == 405


def test_distribution_3_has_tag_deletion(registry_factory: RegistryFactory, token_auth: TokenAuth) -> None:
    # Given Distribution 3 with token authentication and a notified endpoint
    with Receiver() as receiver:
        registry = registry_factory("three", version="3", token=token_auth, notify=[Endpoint(receiver.url)])
        content = image()
        push(registry, "a/x", "v1", content)
        push_manifest(registry, "a/x", "v2", content)

        # When
        delete_tag(registry, "a/x", "v1")

        # Then that tag is gone, the other is not, and an event says so
        assert tags(registry, "a/x") == ["v2"]
        wait_until(lambda: [e for e in receiver.events if e["action"] == "delete"])
        wait_until(lambda: registry.pending_notifications() == 0)


def test_a_registry_that_cannot_start_says_why(tmp_path: Path) -> None:
    # Given a configuration that it does not take
    registry = DistributionRegistry(tmp_path / "broken", config={"storage": {"filesystem": None, "nosuch": {}}})

    # When / Then
    with pytest.raises(AssertionError, match="ended with"):
        registry.start()
    assert not registry.running
