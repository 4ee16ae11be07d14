"""Key pairs, self-signed certificates and registry tokens, made without the application's code."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A private key and its self-signed certificate (good for localhost and 127.0.0.1 too), in PEM files."""

    key_path: Path
    certificate_path: Path
    private_key: PrivateKey = field(repr=False)
    certificate: x509.Certificate = field(repr=False)

    @property
    def algorithm(self) -> str:
        """The JWS algorithm: `RS256` or `ES256`."""
        return "RS256" if isinstance(self.private_key, rsa.RSAPrivateKey) else "ES256"

    @property
    def x5c(self) -> list[str]:
        """The JOSE header's certificate chain (RFC 7515, 4.1.6)."""
        return [base64.b64encode(self.certificate.public_bytes(serialization.Encoding.DER)).decode()]


def make_rsa(directory: Path, name: str = "rsa") -> KeyPair:
    """Make an RSA key of 2048 bits and write `<name>.key` and `<name>.crt` into `directory`."""
    return _make(rsa.generate_private_key(public_exponent=65537, key_size=2048), directory, name)


def make_ec(directory: Path, name: str = "ec") -> KeyPair:
    """Make a P-256 key and write `<name>.key` and `<name>.crt` into `directory`."""
    return _make(ec.generate_private_key(ec.SECP256R1()), directory, name)


@dataclass(frozen=True, slots=True)
class TokenAuth:
    """What a registry with token authentication trusts, and the key that signs for it."""

    keys: KeyPair
    issuer: str = "geo-registry"
    service: str = "container_registry"
    #: Where the challenge sends clients; nothing answers there.
    realm: str = "http://127.0.0.1:9/token"
    #: What the registry trusts; the certificate of `keys` unless given.
    bundle: Path | None = None

    @property
    def rootcertbundle(self) -> Path:
        return self.bundle or self.keys.certificate_path

    def mint(self, *scopes: str, **options: Any) -> str:
        """Return a token for `scopes`: see `mint`."""
        return mint(self, *scopes, **options)


def mint(
    auth: TokenAuth,
    *scopes: str,
    subject: str = "tests",
    lifetime: int = 300,
    claims: Mapping[str, Any] | None = None,
    headers: Mapping[str, Any] | None = None,
    keys: KeyPair | None = None,
) -> str:
    """Return a signed registry token (Distribution's token specification, JWT form).

    :param scopes: `repository:a/x:pull,push`, `registry:catalog:*` and the like; none gives a token that only `/v2/`
        accepts.
    :param lifetime: seconds; negative gives an expired one (registries allow 60 s of leeway).
    :param claims: replace or add claims; a value of None takes one away.
    :param headers: the JOSE header's members in place of `x5c`.
    :param keys: sign by another key than the registry's.
    """
    pair = keys or auth.keys
    now = int(time.time())
    body: dict[str, Any] = {
        "iss": auth.issuer,
        "aud": auth.service,
        "sub": subject,
        "iat": now,
        "nbf": now - 5,
        "exp": now + lifetime,
        "jti": uuid.uuid4().hex,
        "access": [_access(scope) for scope in scopes],
    }
    body.update(claims or {})
    return jwt.encode(
        {name: value for name, value in body.items() if value is not None},
        pair.private_key,
        algorithm=pair.algorithm,
        headers=dict(headers) if headers is not None else {"x5c": pair.x5c},
    )


def _access(scope: str) -> dict[str, Any]:
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    return {"type": kind, "name": name, "actions": actions.split(",")}


def _make(key: PrivateKey, directory: Path, name: str) -> KeyPair:
    key_path, certificate_path = directory / f"{name}.key", directory / f"{name}.crt"
    certificate = _self_signed(key, name)
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    key_path.chmod(0o600)
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return KeyPair(key_path, certificate_path, key, certificate)


def _self_signed(key: PrivateKey, name: str) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
