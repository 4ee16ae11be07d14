from __future__ import annotations

import base64
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from app.registry import InvalidKey, SigningKey
from app.registry.tokens import libtrust_kid, thumbprint
from tests.support.keys import KeyPair, make_ec


def written(
    path: Path,
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
    encryption: KeySerializationEncryption | None = None,
) -> Path:
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()))
    return path


def test_the_key_ids_of_the_specification_s_own_key() -> None:
    # Given the public key of Distribution's docs/spec/auth/jwt.md
    def number(text: str) -> int:
        return int.from_bytes(base64.urlsafe_b64decode(text + "="), "big")

    public = ec.EllipticCurvePublicNumbers(
        number("m7zUpx3b-zmVE5cymSs64POG9QcyEpJaYCD82-549_Q"),
        number("dU3biz8sZ_8GPB-odm8Wxz3lNDr1xcAQQPQaOcr1fmc"),
        ec.SECP256R1(),
    ).public_key()

    assert libtrust_kid(public) == "PYYO:TEWU:V7JH:26JV:AQTZ:LJC3:SXVJ:XGHA:34F2:2LAQ:ZRMK:Z7Q6"
    assert thumbprint(public) == "8qjioA3ZA7ti2JIE7c-U8smBFuZolQZvhSHDPU3hhB8"


@pytest.mark.parametrize(
    ("curve", "algorithm"), [(ec.SECP256R1(), "ES256"), (ec.SECP384R1(), "ES384"), (ec.SECP521R1(), "ES512")]
)
def test_a_token_verifies_with_the_public_key(tmp_path: Path, curve: ec.EllipticCurve, algorithm: str) -> None:
    private = ec.generate_private_key(curve)
    key = SigningKey.load(written(tmp_path / "k", private))

    for key_id in ("libtrust", "thumbprint"):
        token = key.sign({"iss": "us"}, key_id)
        assert jwt.decode(token, private.public_key(), algorithms=[algorithm]) == {"iss": "us"}
        assert jwt.get_unverified_header(token)["kid"] in (key.libtrust_kid, key.thumbprint)
    assert key.algorithm == algorithm


def test_the_certificate_goes_into_the_token(keys: KeyPair) -> None:
    key = SigningKey.load(keys.key_path, keys.certificate_path)

    header = jwt.get_unverified_header(key.sign({}, "x5c"))

    assert header == {"typ": "JWT", "alg": "RS256", "x5c": keys.x5c}
    assert key.expires == keys.certificate.not_valid_after_utc


def test_without_a_certificate_there_is_none_to_carry(keys: KeyPair) -> None:
    key = SigningKey.load(keys.key_path)

    assert key.x5c is None
    with pytest.raises(InvalidKey):
        key.sign({}, "x5c")


def test_the_key_is_not_shown(keys: KeyPair) -> None:
    shown = repr(SigningKey.load(keys.key_path, keys.certificate_path))

    assert "RSAPrivateKey" not in shown
    assert "PRIVATE" not in shown


def test_a_certificate_of_another_key_is_refused(keys: KeyPair, tmp_path: Path) -> None:
    other = make_ec(tmp_path)

    with pytest.raises(InvalidKey, match=r"ec\.crt does not belong to the key in .*registry\.key"):
        SigningKey.load(keys.key_path, other.certificate_path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path / "missing", "cannot be read: No such file"),
        (lambda path: written(path / "k", ed25519.Ed25519PrivateKey.generate()), "neither RSA nor EC"),
        (lambda path: written(path / "k", ec.generate_private_key(ec.SECP256K1())), "secp256k1"),
        (lambda path: written(path / "k", rsa.generate_private_key(65537, 1024)), "1024 bits"),
        (
            lambda path: written(path / "k", ec.generate_private_key(ec.SECP256R1()), BestAvailableEncryption(b"pw")),
            "encrypted",
        ),
        (lambda path: make_ec(path).certificate_path, "no PEM private key"),
    ],
)
def test_a_key_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path, make: object, words: str) -> None:
    path = make(tmp_path)  # type: ignore[operator]

    with pytest.raises(InvalidKey, match=words) as raised:
        SigningKey.load(path)
    assert str(path) in str(raised.value)


def test_a_broken_key_s_content_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "k").write_text("-----BEGIN PRIVATE KEY-----\nSECRETSECRET\n-----END PRIVATE KEY-----\n")

    with pytest.raises(InvalidKey) as raised:
        SigningKey.load(tmp_path / "k")
    assert "SECRET" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_certificate_that_cannot_be_read_is_named(keys: KeyPair) -> None:
    with pytest.raises(InvalidKey, match="no PEM certificate"):
        SigningKey.load(keys.key_path, keys.key_path)
