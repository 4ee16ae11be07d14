"""Keys as a real registry, PyJWT and OpenSSL find them."""

from __future__ import annotations

import json
import os
import re
import stat
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import jwt
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from app import keygen
from app.keygen import Algorithm, InvalidKeyRequest, KeysExist, KeysNotWritten, generate, notification_secret
from app.registry.tokens import SigningKey, thumbprint
from tests.support.keys import KeyPair, TokenAuth
from tests.support.registries import DistributionRegistry, RegistryFactory, Version

FILES = {"registry.key", "registry.crt", "jwks.json", "notification_secret"}
ALGORITHMS = get_args(Algorithm)


def pair(directory: Path) -> KeyPair:
    """The written files, read without the application's code."""
    key = load_pem_private_key((directory / "registry.key").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    certificate = x509.load_pem_x509_certificate((directory / "registry.crt").read_bytes())
    return KeyPair(directory / "registry.key", directory / "registry.crt", key, certificate)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("algorithm", "header"), [("rsa", b"BEGIN RSA PRIVATE KEY"), ("ec", b"BEGIN EC PRIVATE KEY")])
def test_everything_is_written_and_only_the_owner_reads_what_is_secret(
    tmp_path: Path, algorithm: Algorithm, header: bytes
) -> None:
    # Given a umask that would leave everything open, and a directory that is not there
    directory = tmp_path / "new" / "keys"
    before = os.umask(0)

    # When keys are made
    try:
        keys = generate(directory, issuer="geo-registry", algorithm=algorithm)
    finally:
        os.umask(before)

    # Then there are exactly four files, with the right modes, in the form that everyone reads
    assert {path.name for path in directory.iterdir()} == FILES
    assert [mode(keys.key_path), mode(keys.notification_secret_path)] == [0o600, 0o600]
    assert [mode(keys.certificate_path), mode(keys.jwks_path)] == [0o644, 0o644]
    assert header in keys.key_path.read_bytes()
    assert keys.notification_secret_path.read_text() == keys.notification_secret
    assert keys.notification_secret not in repr(keys)


def test_modes_do_not_depend_on_a_strict_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        keys = generate(tmp_path, issuer="geo-registry", algorithm="ec")
    finally:
        os.umask(before)
    assert mode(keys.certificate_path) == 0o644


@pytest.mark.parametrize("version", get_args(Version))
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_registry_trusts_the_certificate(
    tmp_path: Path, registry_factory: RegistryFactory, algorithm: Algorithm, version: Version
) -> None:
    # Given a registry that has the certificate as its rootcertbundle
    keys = generate(tmp_path / "keys", issuer="an issuer", algorithm=algorithm)
    auth = TokenAuth(pair(tmp_path / "keys"), issuer="an issuer")
    registry = registry_factory("registry", version=version, token=auth)
    signing = SigningKey.load(keys.key_path, keys.certificate_path)

    # When a token carries the certificate, or names the key as this version of the registry does
    kid = signing.libtrust_kid if version == "2.8" else keys.kid
    tokens = [auth.mint("registry:catalog:*", headers=headers) for headers in (None, {"kid": kid})]

    # Then it is good, and no token of another key is
    assert [catalog(registry, token) for token in tokens] == [200, 200]
    generate(tmp_path / "other", issuer="an issuer", algorithm=algorithm)
    assert catalog(registry, auth.mint("registry:catalog:*", keys=pair(tmp_path / "other"))) == 401


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_distribution_3_trusts_the_key_set(
    tmp_path: Path, registry_factory: RegistryFactory, algorithm: Algorithm
) -> None:
    # Given a registry that has the key set, and whose certificate is another's
    keys = generate(tmp_path / "keys", issuer="geo-registry", algorithm=algorithm)
    generate(tmp_path / "other", issuer="geo-registry", algorithm=algorithm)
    auth = TokenAuth(pair(tmp_path / "keys"), bundle=tmp_path / "other" / "registry.crt")
    config = {"auth": {"token": {"jwks": str(keys.jwks_path)}}}
    registry = registry_factory("registry", version="3", token=auth, config=config)

    # When a token names the key, then it is good
    assert catalog(registry, auth.mint("registry:catalog:*", headers={"kid": keys.kid})) == 200


def catalog(registry: DistributionRegistry, token: str) -> int:
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"{registry.url}/v2/_catalog", headers={"Authorization": f"Bearer {token}"}, timeout=10)
        return answer.status_code


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_key_set_holds_the_public_key_alone(tmp_path: Path, algorithm: Algorithm) -> None:
    # Given keys
    keys = generate(tmp_path, issuer="geo-registry", algorithm=algorithm)
    private = pair(tmp_path).private_key

    # When the key set is read
    (entry,) = json.loads(keys.jwks_path.read_text())["keys"]

    # Then it is the public key, named by its thumbprint, and verifies what the private one signs
    assert set(entry) == {"kty", "kid", "use", "alg"} | ({"n", "e"} if algorithm == "rsa" else {"crv", "x", "y"})
    assert entry["kid"] == keys.kid == thumbprint(private.public_key())
    token = jwt.encode({"sub": "x"}, private, algorithm=entry["alg"])
    assert jwt.decode(token, jwt.PyJWK(entry), algorithms=[entry["alg"]]) == {"sub": "x"}


def test_the_certificate_is_valid_as_long_as_asked_and_a_day_before(tmp_path: Path) -> None:
    # Given a clock, and an issuer longer than a certificate's name may be
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    issuer = "https://auth.example.com/" + "x" * 100

    # When keys are made
    keys = generate(tmp_path, issuer=issuer, algorithm="ec", days=30, now=lambda: now)

    # Then the certificate is that of an end entity, valid for a registry whose clock is behind
    certificate = x509.load_pem_x509_certificate(keys.certificate_path.read_bytes())
    assert certificate.not_valid_before_utc == now - timedelta(days=1)
    assert certificate.not_valid_after_utc == keys.not_after == now + timedelta(days=30)
    assert certificate.subject == certificate.issuer
    assert certificate.subject.rfc4514_string() == f"CN={issuer[:64]}"
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


@pytest.mark.parametrize("name", sorted(FILES))
def test_nothing_is_overwritten_unless_asked(tmp_path: Path, name: str) -> None:
    # Given one of the files
    (tmp_path / name).write_text("precious")

    # When keys are made there
    with pytest.raises(KeysExist, match=re.escape(str(tmp_path / name))) as caught:
        generate(tmp_path, issuer="geo-registry", algorithm="ec")

    # Then it is as it was, and nothing is beside it
    assert (caught.value.reason, caught.value.temporary) == ("exists", False)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "precious")]


def test_a_dangling_link_is_something_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "registry.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeysExist):
        generate(tmp_path, issuer="geo-registry", algorithm="ec")
    assert not (tmp_path / "elsewhere").exists()


def test_overwriting_replaces_every_file_and_no_link_is_written_through(tmp_path: Path) -> None:
    # Given keys, one of which is a link to elsewhere
    first = generate(tmp_path / "keys", issuer="geo-registry", algorithm="ec")
    elsewhere = tmp_path / "elsewhere"
    first.key_path.rename(elsewhere)
    first.key_path.symlink_to(elsewhere)
    old_key = elsewhere.read_bytes()

    # When they are overwritten
    second = generate(tmp_path / "keys", issuer="geo-registry", algorithm="ec", overwrite=True)

    # Then all is new and fits together, and what the link led to is as it was
    assert {path.name for path in (tmp_path / "keys").iterdir()} == FILES
    assert SigningKey.load(second.key_path, second.certificate_path).thumbprint == second.kid != first.kid
    assert second.notification_secret != first.notification_secret
    assert not second.key_path.is_symlink()
    assert (elsewhere.read_bytes(), mode(second.key_path)) == (old_key, 0o600)


def test_of_many_who_make_keys_at_once_one_succeeds_and_its_files_fit_together(tmp_path: Path) -> None:
    # Given eight who start together
    barrier = threading.Barrier(8)
    made: list[keygen.Keys] = []
    refused: list[KeysExist] = []

    def make() -> None:
        barrier.wait()
        try:
            made.append(generate(tmp_path, issuer="geo-registry", algorithm="ec"))
        except KeysExist as error:
            refused.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]

    # When all are done
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # Then one has made keys, the files are its own, and the others have left nothing
    (keys,) = made
    assert len(refused) == 7
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert SigningKey.load(keys.key_path, keys.certificate_path).thumbprint == keys.kid
    assert keys.notification_secret_path.read_text() == keys.notification_secret


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeysNotWritten, match=re.escape(str(tmp_path / "file" / "keys"))) as caught:
        generate(tmp_path / "file" / "keys", issuer="geo-registry", algorithm="ec")
    assert caught.value.reason == "not_written"


@pytest.mark.parametrize(
    "arguments",
    [{"issuer": ""}, {"issuer": "a\nb"}, {"days": 0}, {"days": 36_501}, {"algorithm": "ed25519"}],
)
def test_what_makes_no_certificate_is_refused_before_anything_is_written(
    tmp_path: Path, arguments: dict[str, Any]
) -> None:
    with pytest.raises(InvalidKeyRequest):
        generate(tmp_path / "keys", **{"issuer": "geo-registry", "algorithm": "ec", **arguments})
    assert not (tmp_path / "keys").exists()


def test_a_key_whose_coordinates_begin_with_a_zero_byte_is_drawn_again() -> None:
    # Given keys whose X, whose Y, and neither of whose coordinates begins with a zero byte
    keys = [ec.derive_private_key(scalar, ec.SECP256R1()) for scalar in range(1, 2000)]
    short_x = first(keys, lambda x, y: x < 2**248 <= y)
    short_y = first(keys, lambda x, y: y < 2**248 <= x)
    neither = first(keys, lambda x, y: min(x, y) >= 2**248)

    # When one is drawn, then it is the last
    draws = iter([short_x, short_y, neither])
    assert keygen.draw_ec_key(lambda: next(draws)) is neither


def first(keys: list[ec.EllipticCurvePrivateKey], fits: Callable[[int, int], bool]) -> ec.EllipticCurvePrivateKey:
    points = ((key, key.public_key().public_numbers()) for key in keys)
    return next(key for key, point in points if fits(point.x, point.y))


def test_a_notification_secret_is_of_the_guides_form_and_never_the_same() -> None:
    made = {notification_secret() for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{31}", secret) for secret in made)
