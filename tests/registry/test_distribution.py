"""The client against the real thing: Distribution 2.8 and 3, with token authentication."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.registry import (
    Basic,
    Digest,
    DigestMismatch,
    KeyToken,
    Manifest,
    NotFound,
    RegistryClient,
    RegistryError,
    Rejected,
    SigningKey,
    Unauthorized,
    Unreachable,
    Upload,
    media_types,
)
from tests.registry.conftest import Connect, key_token
from tests.support import images, wire
from tests.support.keys import TokenAuth, make_ec, make_rsa
from tests.support.registries import (
    BASIC_PASSWORD,
    BASIC_USERNAME,
    DistributionRegistry,
    RegistryFactory,
    Version,
)
from tests.support.schema1 import schema1
from tests.support.wait import wait_until

both = pytest.mark.parametrize("version", ["2.8", "3"])


@pytest.fixture
def registry(version: Version, registry_factory: RegistryFactory, token_auth: TokenAuth) -> DistributionRegistry:
    return registry_factory("registry", version=version, token=token_auth)


@pytest.fixture
def client(registry: DistributionRegistry, connect: Connect) -> RegistryClient:
    return connect(registry.url, key_token(registry))


def push(client: RegistryClient, repository: str, reference: str, image: images.Image) -> Manifest:
    """Push an image and its children through the client."""
    for part in image.walk():
        for blob in part.blobs:
            upload = client.start_upload(repository)
            assert upload is not None
            upload.put([blob.data], len(blob.data), blob.digest)
        manifest = Manifest.parse(part.manifest, part.media_type)
        assert (
            client.put_manifest(repository, reference if part is image else part.digest, manifest, total_timeout=30)
            == part.digest
        )
    return manifest


@both
@pytest.mark.parametrize("make", [make_rsa, make_ec])
@pytest.mark.parametrize("certificate", [True, False], ids=["x5c", "kid"])
def test_each_version_accepts_tokens_of_each_key_with_and_without_certificate(
    version: Version,
    make: object,
    certificate: bool,
    registry_factory: RegistryFactory,
    connect: Connect,
    tmp_path: object,
) -> None:
    # Given a registry that trusts an RSA or EC key's certificate
    keys = make(tmp_path)  # type: ignore[operator]
    registry = registry_factory("registry", version=version, token=TokenAuth(keys))
    outcomes: list[str] = []
    client = connect(
        registry.url,
        key_token(registry, certificate=certificate),
        observe=lambda _, outcome, __: outcomes.append(outcome),
    )

    # When everything is done that needs a token
    client.ping()
    image = images.image()
    push(client, "a/x", "v1", image)
    assert client.get_manifest("a/x", "v1").data == image.manifest
    assert client.list_tags("a/x") == ["v1"]
    assert list(client.list_repositories()) == ["a/x"]
    assert client.start_upload("b/y", image.blobs[0].digest, "a/x") is None
    client.delete_manifest("a/x", image.digest)

    # Then nothing was refused
    assert set(outcomes) == {"ok"}


@pytest.mark.parametrize(("version", "refused"), [("2.8", 0), ("3", 1)])
def test_the_kind_of_key_id_that_was_accepted_is_remembered(
    version: Version, refused: int, registry: DistributionRegistry, connect: Connect
) -> None:
    client = connect(registry.url, key_token(registry, certificate=False))
    for _ in range(3):
        client.ping()
    with pytest.raises(NotFound):
        client.list_tags("a/x")
    with pytest.raises(NotFound):
        client.list_tags("b/y")

    assert registry.log_text.count("token signed by untrusted key") == refused


@both
@pytest.mark.parametrize(
    "wrong",
    ["issuer", "service", "key", "clock"],
)
def test_a_token_that_is_wrong_is_refused_with_what_to_check(
    wrong: str, registry: DistributionRegistry, connect: Connect, tmp_path: object
) -> None:
    # Given an authenticator that is wrong in one thing
    options: dict[str, object] = {
        "issuer": {"issuer": "somebody-else"},
        "service": {"service": "something_else"},
        "key": {"keys": make_rsa(tmp_path, "other")},  # type: ignore[arg-type]
        "clock": {"clock": lambda: 1_000_000_000.0},
    }[wrong]  # type: ignore[assignment]
    client = connect(registry.url, key_token(registry, **options))  # type: ignore[arg-type]

    # When the registry is asked
    with pytest.raises(Unauthorized) as raised:
        client.list_tags("a/x")

    # Then it says no
    assert raised.value.temporary
    assert raised.value.reason == "unauthorized"
    for word in ("issuer", "service", "key pair", "clock", "HTTP 401", "UNAUTHORIZED"):
        assert word in str(raised.value)


@both
def test_tokens_are_minted_for_what_is_asked(registry: DistributionRegistry, connect: Connect, keys: object) -> None:
    # Given a client that may only pull
    image = images.image()
    wire.push(registry, "a/x", "v1", image)
    client = connect(registry.url, key_token(registry), actions=("pull",))

    # Then it reads everything
    assert client.get_manifest("a/x", "v1").digest == image.digest
    assert client.blob_present("a/x", image.blobs[0].digest, len(image.blobs[0].data))


@both
@pytest.mark.parametrize(
    "image",
    [
        images.image(),
        images.image(media="docker", count=3),
        images.index(),
        images.index(media="docker"),
        images.index([images.index(), images.image()]),
        images.image(media_type_in_body=False),
        images.index(media_type_in_body=False),
        images.artifact(),
        images.buildkit_cache(),
        images.artifact(subject=images.image()),
    ],
    ids=[
        "oci",
        "docker",
        "index",
        "list",
        "nested",
        "no media type",
        "index without media type",
        "artifact",
        "cache",
        "referrer",
    ],
)
def test_formats_go_in_and_come_out_unchanged(
    image: images.Image, registry: DistributionRegistry, client: RegistryClient
) -> None:
    push(client, "a/x", "v1", image)

    for reference in ("v1", image.digest):
        fetched = client.get_manifest("a/x", reference)
        assert (fetched.data, fetched.media_type, fetched.digest) == (
            image.manifest,
            image.media_type,
            image.digest,
        )
        assert client.head_manifest("a/x", reference) == fetched.descriptor.__class__(
            image.media_type, image.digest, image.size
        )
    for part in image.walk():
        for blob in part.blobs:
            assert client.head_blob("a/x", blob.digest) == len(blob.data)
            assert client.blob_present("a/x", blob.digest, len(blob.data))
            with client.open_blob("a/x", blob.digest) as stream:
                assert b"".join(stream) == blob.data
    # And another client of the registry sees the same.
    assert wire.fetch(registry, "a/x", "v1").body == image.manifest


@pytest.mark.parametrize("version", ["2.8"])
def test_schema_1_has_one_digest_however_it_is_signed(
    registry_factory: RegistryFactory, connect: Connect, version: Version
) -> None:
    registry = registry_factory("registry", version=version, schema1=True)
    client = connect(registry.url)
    image = schema1("a/x", "v1")
    manifest = push(client, "a/x", "v1", image)

    first, second = client.get_manifest("a/x", "v1"), client.get_manifest("a/x", image.digest)

    assert first.digest == second.digest == manifest.digest == image.digest
    assert client.head_manifest("a/x", "v1").digest == image.digest


@both
def test_a_sha512_blob(client: RegistryClient) -> None:
    data = os.urandom(1000)
    digest = Digest.of(data, "sha512")
    upload = client.start_upload("a/x")
    assert upload is not None
    upload.put([data], len(data), digest)

    assert client.blob_present("a/x", digest, len(data))
    with client.open_blob("a/x", digest) as stream:
        assert b"".join(stream) == data


@both
def test_a_blob_can_be_read_from_the_middle(registry: DistributionRegistry, client: RegistryClient) -> None:
    data = os.urandom(100_000)
    digest = wire.push_blob(registry, "a/x", data)

    with client.open_blob("a/x", digest, offset=99_000) as stream:
        assert (stream.offset, stream.size) == (99_000, 100_000)
        assert b"".join(stream) == data[99_000:]
    with pytest.raises(Rejected) as raised:
        client.open_blob("a/x", digest, offset=100_001)
    assert raised.value.status == 416


@both
def test_bytes_under_a_wrong_digest_are_refused(client: RegistryClient) -> None:
    upload = client.start_upload("a/x")
    assert upload is not None
    with pytest.raises(Rejected) as raised:
        upload.put([b"abc"], 3, Digest.of(b"other"))
    assert raised.value.reason == "digest_invalid"
    assert client.head_blob("a/x", Digest.of(b"abc")) is None


def broken_off(client: RegistryClient) -> Upload:
    """A session whose request broke off in the middle."""
    upload = client.start_upload("a/x")
    assert upload is not None

    def chunks() -> Iterator[bytes]:
        yield os.urandom(1_000_000)
        raise Unreachable("the source broke off")

    with pytest.raises(Unreachable, match="the source broke off"):
        upload.put(chunks(), 2_000_000, Digest.of(b""))
    return upload


def uploads(registry: DistributionRegistry) -> list[Path]:
    return list(registry.storage.glob("docker/registry/v2/repositories/a/x/_uploads/*/data"))


@both
def test_an_upload_is_cancelled_for_real(registry: DistributionRegistry, client: RegistryClient) -> None:
    upload = client.start_upload("a/x")
    assert upload is not None
    assert len(uploads(registry)) == 1

    assert upload.cancel()
    assert uploads(registry) == []


@pytest.mark.parametrize("version", ["3"])
def test_what_was_sent_of_a_broken_upload_is_given_up_too(
    registry: DistributionRegistry, client: RegistryClient
) -> None:
    upload = broken_off(client)

    # How much of it the registry takes in before the cut is its own matter.
    wait_until(lambda: upload.cancel() or not uploads(registry))
    assert uploads(registry) == []


@pytest.mark.parametrize("version", ["2.8"])
def test_2_8_forgets_a_broken_session_and_keeps_its_bytes(client: RegistryClient) -> None:
    assert not broken_off(client).cancel()


@both
def test_a_mount_from_where_nothing_is_becomes_an_upload(client: RegistryClient) -> None:
    upload = client.start_upload("a/x", Digest.of(b"nowhere"), "b/y")
    assert upload is not None
    upload.put([b"nowhere"], 7, Digest.of(b"nowhere"))
    assert client.head_blob("a/x", Digest.of(b"nowhere")) == 7


@both
def test_a_blob_that_vanished_behind_the_cache(
    version: Version, registry_factory: RegistryFactory, connect: Connect
) -> None:
    # Given a registry with its cache, and a blob whose file is gone
    registry = registry_factory("registry", version=version, cache=True)
    client = connect(registry.url)
    image = images.image()
    wire.push(registry, "a/x", "v1", image)
    blob = image.blobs[1]
    assert client.blob_present("a/x", blob.digest, len(blob.data))
    registry.blob_path(blob.digest).unlink()

    # Then HEAD still says yes, and the byte says no
    assert client.head_blob("a/x", blob.digest) == len(blob.data)
    assert not client.blob_present("a/x", blob.digest, len(blob.data))


@both
def test_damaged_content_is_found_out(registry: DistributionRegistry, client: RegistryClient) -> None:
    # Given a manifest and a blob that changed on the registry's disk
    image = images.image()
    wire.push(registry, "a/x", "v1", image)
    layer = image.blobs[1]
    registry.blob_path(layer.digest).write_bytes(layer.data[:-1] + bytes([layer.data[-1] ^ 1]))
    damaged = image.manifest.replace(b'"schemaVersion"', b'"schemaversion"')
    registry.blob_path(image.digest).write_bytes(damaged)

    with client.open_blob("a/x", layer.digest) as stream, pytest.raises(DigestMismatch):
        b"".join(stream)
    with pytest.raises(RegistryError) as raised:
        client.get_manifest("a/x", image.digest)
    assert raised.value.temporary


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


@both
def test_absence_is_witnessed_by_the_registry(registry: DistributionRegistry, client: RegistryClient) -> None:
    image = images.image()
    wire.push(registry, "a/x", "v1", image)

    for ask in (
        lambda: client.get_manifest("a/x", "v2"),
        lambda: client.get_manifest("no/such", "v1"),
        lambda: client.get_manifest("a/x", Digest.of(b"none")),
        lambda: client.list_tags("no/such"),
        lambda: client.open_blob("a/x", Digest.of(b"none")),
    ):
        with pytest.raises(NotFound) as raised:
            ask()
        assert raised.value.witnessed
        assert not raised.value.temporary
    assert client.head_blob("a/x", Digest.of(b"none")) is None
    assert not client.blob_present("a/x", Digest.of(b"none"), 5)
    assert client.referrers("a/x", image.digest) is None


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


@both
def test_a_manifest_whose_blobs_are_missing_is_refused_for_now(client: RegistryClient) -> None:
    image = images.image()

    with pytest.raises(Rejected) as raised:
        client.put_manifest("a/x", "v1", Manifest.parse(image.manifest, image.media_type))
    assert (raised.value.reason, raised.value.temporary) == ("manifest_blob_unknown", True)


@both
def test_a_manifest_that_is_too_large_is_refused_for_good(client: RegistryClient) -> None:
    data = b'{"schemaVersion": 2, "layers": []' + b" " * (4 * 1024 * 1024) + b"}"

    with pytest.raises(Rejected) as raised:
        client.put_manifest("a/x", "v1", Manifest.parse(data, media_types.OCI_MANIFEST))
    assert not raised.value.temporary


@both
def test_layers_with_urls_that_are_not_allowed_are_refused_for_good(client: RegistryClient) -> None:
    config = images.Blob(b"{}", images.OCI_CONFIG)
    foreign = images.Blob(
        b"windows",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        {"urls": ["https://example.com/layer"]},
    )
    image = images.image([foreign], media="docker", config=config)
    upload = client.start_upload("a/x")
    assert upload is not None
    upload.put([config.data], len(config.data), config.digest)

    with pytest.raises(RegistryError, match="MANIFEST_BLOB_UNKNOWN") as raised:
        client.put_manifest("a/x", "v1", Manifest.parse(image.manifest, image.media_type))
    assert raised.value.reason == "manifest_blob_unknown"
    assert (raised.value.status == 500) == (not raised.value.temporary)


@both
def test_user_and_password(version: Version, registry_factory: RegistryFactory, connect: Connect) -> None:
    registry = registry_factory("registry", version=version, basic=True)
    client = connect(registry.url, Basic(BASIC_USERNAME, BASIC_PASSWORD))
    push(client, "a/x", "v1", images.image())
    assert client.list_tags("a/x") == ["v1"]

    with pytest.raises(Unauthorized, match="user and password"):
        connect(registry.url, Basic(BASIC_USERNAME, "wrong")).ping()


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


def test_a_key_token_is_usable_by_many_clients(keys: object, token_auth: TokenAuth) -> None:
    tokens = KeyToken(SigningKey.load(token_auth.keys.key_path), "a", "b")
    with RegistryClient("http://127.0.0.1:1", tokens) as one, RegistryClient("http://127.0.0.1:2", tokens) as two:
        assert (one.name, two.name) == ("127.0.0.1:1", "127.0.0.1:2")
