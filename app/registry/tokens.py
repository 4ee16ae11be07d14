"""SigningKey: the private key that a registry trusts us by, and the tokens signed with it.

Sources: the token specification of CNCF Distribution (docs/spec/auth/jwt.md), libtrust for its key ids, RFC 7638
for JWK thumbprints, RFC 7515 section 4.1.6 for `x5c`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from app.registry.errors import InvalidKey

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

#: How a token names the key it is signed with: the certificate itself, or one of two kinds of key id. Distribution
#: 2.8 knows libtrust's ids, 3.x thumbprints, both the certificate.
KeyId = Literal["x5c", "libtrust", "thumbprint"]

#: Elliptic curves, each with the JOSE names of curve and algorithm (RFC 7518, 3.4).
_CURVES = {"secp256r1": ("P-256", "ES256"), "secp384r1": ("P-384", "ES384"), "secp521r1": ("P-521", "ES512")}

#: RSA keys below this are refused; libraries on both sides warn of them or reject them.
_RSA_BITS = 2048


@dataclass(frozen=True)
class SigningKey:
    """A private key, with its certificate if there is one. Neither `repr` nor any error shows the key."""

    key: PrivateKey = field(repr=False)
    libtrust_kid: str
    thumbprint: str
    #: The certificate chain for the `x5c` header, leaf first, each standard base64 of DER; None without a certificate.
    x5c: list[str] | None = field(default=None, repr=False)
    #: When the leaf certificate ceases to be valid; a registry refuses our tokens from then on.
    expires: datetime | None = None

    @classmethod
    def load(cls, key_path: str | Path, certificate_path: str | Path | None = None) -> SigningKey:
        """Read a PEM key (RSA from 2048 bits, or EC P-256, P-384, P-521) and, if given, its PEM certificate.

        Raises `InvalidKey`, which names the file and what is wrong with it.
        """
        key = _private_key(Path(key_path))
        public = key.public_key()
        chain = _certificates(Path(certificate_path)) if certificate_path else []
        if chain and _spki(chain[0].public_key()) != _spki(public):
            raise InvalidKey(f"the (first) certificate in {certificate_path} does not belong to the key in {key_path}")
        return cls(
            key=key,
            libtrust_kid=libtrust_kid(public),
            thumbprint=thumbprint(public),
            x5c=[base64.b64encode(each.public_bytes(Encoding.DER)).decode() for each in chain] or None,
            expires=chain[0].not_valid_after_utc if chain else None,
        )

    @property
    def algorithm(self) -> str:
        """The JWS algorithm (RFC 7518, 3.1)."""
        return "RS256" if isinstance(self.key, rsa.RSAPrivateKey) else _CURVES[self.key.curve.name][1]

    def sign(self, claims: Mapping[str, Any], key_id: KeyId) -> str:
        """Return a signed JWT whose header names the key as asked; `x5c` needs a certificate (`InvalidKey`)."""
        headers: dict[str, Any]
        if key_id == "x5c":
            if self.x5c is None:
                raise InvalidKey("this key has no certificate, so no token can carry one")
            headers = {"x5c": self.x5c}
        else:
            headers = {"kid": self.libtrust_kid if key_id == "libtrust" else self.thumbprint}
        return jwt.encode(dict(claims), self.key, algorithm=self.algorithm, headers=headers)


def libtrust_kid(public: PublicKey) -> str:
    """Return the key id by which Distribution 2.x looks up keys: base32 of 240 bits of SHA-256, in groups of four."""
    text = base64.b32encode(hashlib.sha256(_spki(public)).digest()[:30]).decode()
    return ":".join(text[i : i + 4] for i in range(0, len(text), 4))


def thumbprint(public: PublicKey) -> str:
    """Return the JWK thumbprint (RFC 7638), by which Distribution 3.x looks up keys."""
    if isinstance(public, rsa.RSAPublicKey):
        rsa_numbers = public.public_numbers()
        members = {"e": _integer(rsa_numbers.e), "kty": "RSA", "n": _integer(rsa_numbers.n)}
    else:
        numbers, size = public.public_numbers(), (public.curve.key_size + 7) // 8
        curve = _CURVES[public.curve.name][0]
        members = {"crv": curve, "kty": "EC", "x": _integer(numbers.x, size), "y": _integer(numbers.y, size)}
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True).encode()
    return _base64url(hashlib.sha256(canonical).digest())


def _private_key(path: Path) -> PrivateKey:
    data = _read(path, "key")
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        raise InvalidKey(f"the key in {path} is encrypted; store it without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        # The library's own words may quote what it could not parse, which may be the key.
        raise InvalidKey(f"{path} holds no PEM private key that can be read") from None
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < _RSA_BITS:
            raise InvalidKey(f"the RSA key in {path} has {key.key_size} bits; {_RSA_BITS} are the least")
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey):
        if key.curve.name not in _CURVES:
            raise InvalidKey(f"the key in {path} is on the curve {key.curve.name}; use P-256, P-384 or P-521")
        return key
    raise InvalidKey(f"the key in {path} is neither RSA nor EC, which every registry version takes")


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path, "certificate"))
    except ValueError:
        raise InvalidKey(f"{path} holds no PEM certificate that can be read") from None


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidKey(f"the {what} {path} cannot be read: {error.strerror}") from None


def _spki(public: Any) -> bytes:
    data: bytes = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return data


def _integer(value: int, size: int | None = None) -> str:
    return _base64url(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
