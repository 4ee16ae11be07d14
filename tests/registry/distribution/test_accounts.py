"""Who we are to Distribution: tokens of each key, user and password."""

from __future__ import annotations

import pytest

from app.registry import Basic, KeyToken, NotFound, RegistryClient, SigningKey, Unauthorized
from tests.registry.conftest import Connect, key_token
from tests.registry.distribution.stage import both, push
from tests.support import images, wire
from tests.support.keys import TokenAuth, make_ec, make_rsa
from tests.support.registries import BASIC_PASSWORD, BASIC_USERNAME, DistributionRegistry, RegistryFactory, Version


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
def test_user_and_password(version: Version, registry_factory: RegistryFactory, connect: Connect) -> None:
    registry = registry_factory("registry", version=version, basic=True)
    client = connect(registry.url, Basic(BASIC_USERNAME, BASIC_PASSWORD))
    push(client, "a/x", "v1", images.image())
    assert client.list_tags("a/x") == ["v1"]

    with pytest.raises(Unauthorized, match="user and password"):
        connect(registry.url, Basic(BASIC_USERNAME, "wrong")).ping()


def test_a_key_token_is_usable_by_many_clients(keys: object, token_auth: TokenAuth) -> None:
    tokens = KeyToken(SigningKey.load(token_auth.keys.key_path), "a", "b")
    with RegistryClient("http://127.0.0.1:1", tokens) as one, RegistryClient("http://127.0.0.1:2", tokens) as two:
        assert (one.name, two.name) == ("127.0.0.1:1", "127.0.0.1:2")
