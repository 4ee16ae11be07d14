"""The key pair that signs registry tokens, in the files that registries trust, and the webhook's secret."""

from __future__ import annotations

import json
import os
import secrets
import string
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, Final, Literal, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from app.registry.tokens import PrivateKey, PublicKey, thumbprint

Algorithm: TypeAlias = Literal["rsa", "ec"]

KEY_NAME: Final = "registry.key"
CERTIFICATE_NAME: Final = "registry.crt"
JWKS_NAME: Final = "jwks.json"
SECRET_NAME: Final = "notification_secret"  # noqa: S105 - a file's name

#: The certificate outlives 2030, to which NIST SP 800-57 trusts 2048 bits; 4096 sign in twice the time a token.
RSA_BITS: Final = 3072
#: A registry whose clock is behind ours must not find the certificate not yet valid.
BACKDATED: Final = timedelta(days=1)
MAX_DAYS: Final = 36_500
#: As GitLab's guide makes it: a letter, then letters, digits, `-` and `_`; about 191 bits.
SECRET_LENGTH: Final = 32

#: X.520's bound of a common name, which only shows in a listing.
_MAX_COMMON_NAME: Final = 64
_COORDINATE_BYTES: Final = 32


class KeygenError(Exception):
    """No keys were made, and nothing that was there was touched, unless the message says so."""

    reason: ClassVar[str] = "keygen"
    temporary: ClassVar[bool] = False


class KeysExist(KeygenError):
    """Keys are there already: to replace them locks out every registry that trusts them."""

    reason = "exists"

    def __init__(self, paths: Iterable[Path]) -> None:
        super().__init__(
            f"already there: {', '.join(map(str, paths))}; choose another directory, or overwrite them and then give "
            "the new certificate and secret to every registry"
        )


class KeysNotWritten(KeygenError):
    """The directory cannot be written."""

    reason = "not_written"


class InvalidKeyRequest(KeygenError):
    """Keys cannot be made like this."""

    reason = "invalid"


@dataclass(frozen=True, slots=True)
class Keys:
    """What `generate` wrote; `kid` is the key's RFC 7638 thumbprint."""

    key_path: Path
    certificate_path: Path
    jwks_path: Path
    notification_secret_path: Path
    kid: str
    not_after: datetime
    notification_secret: str = field(repr=False)


def generate(
    directory: Path,
    *,
    issuer: str,
    algorithm: Algorithm = "rsa",
    days: int = 3650,
    overwrite: bool = False,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Keys:
    """Make a key pair and a notification secret, and write them into `directory`, which is made if missing.

    `registry.key` (0600) is PKCS#1 or SEC1: the one form that PyJWT, GitLab and token servers on libtrust all
    read; Distribution itself reads no private key. `registry.crt` is a self-signed certificate, good as
    `rootcertbundle` of Distribution 2.x and 3.x and for `x5c`. `jwks.json` is the public key for `jwks` of
    Distribution 3. `notification_secret` (0600) has no line end, as whatever reads it whole would send it along.

    Each file appears whole or not at all, the key last: where it is, the others are.

    :param issuer: the tokens' `iss`; it becomes the certificate's common name, cut at 64 characters.
    :param days: how long the certificate is valid, 1 to 36,500.
    :param overwrite: replace what is there. The files change one by one: interrupted, run it again.
    :raises KeysExist: one of the files is there, and `overwrite` is false.
    :raises KeysNotWritten: the directory cannot be made or written.
    :raises InvalidKeyRequest: an argument makes no certificate.
    """
    if not issuer or not issuer.isprintable():
        raise InvalidKeyRequest("the issuer is a printable text, as in the registries' auth.token.issuer")
    if not 1 <= days <= MAX_DAYS:
        raise InvalidKeyRequest(f"a certificate is valid for 1 to {MAX_DAYS} days, not {days}")
    paths = {name: directory / name for name in (CERTIFICATE_NAME, JWKS_NAME, SECRET_NAME, KEY_NAME)}
    if not overwrite:
        # Looked at before the slow part; what counts is that `_link_all` replaces nothing.
        _refuse_existing(paths.values())
    key = _draw(algorithm)
    certificate = _self_signed(key, issuer, days, now())
    kid = thumbprint(key.public_key())
    secret = notification_secret()
    contents = {
        CERTIFICATE_NAME: (certificate.public_bytes(Encoding.PEM), 0o644),
        JWKS_NAME: (_jwks(key.public_key(), kid), 0o644),
        SECRET_NAME: (secret.encode(), 0o600),
        KEY_NAME: (key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()), 0o600),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _write(directory, contents, overwrite=overwrite)
    except OSError as error:
        raise KeysNotWritten(f"cannot write keys into {directory}: {error.strerror or error}") from error
    return Keys(
        key_path=paths[KEY_NAME],
        certificate_path=paths[CERTIFICATE_NAME],
        jwks_path=paths[JWKS_NAME],
        notification_secret_path=paths[SECRET_NAME],
        kid=kid,
        not_after=certificate.not_valid_after_utc,
        notification_secret=secret,
    )


def notification_secret() -> str:
    """Return a fresh secret for the `Authorization` header of notifications; see `SECRET_LENGTH`."""
    alphabet = string.ascii_letters + string.digits + "-_"
    rest = (secrets.choice(alphabet) for _ in range(SECRET_LENGTH - 1))
    return secrets.choice(string.ascii_letters) + "".join(rest)


def _draw(algorithm: Algorithm) -> PrivateKey:
    if algorithm == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    if algorithm == "ec":
        return draw_ec_key(lambda: ec.generate_private_key(ec.SECP256R1()))
    raise InvalidKeyRequest(f"no such algorithm: {algorithm!r}; use rsa or ec")


def draw_ec_key(draw: Callable[[], ec.EllipticCurvePrivateKey]) -> ec.EllipticCurvePrivateKey:
    """Return the first P-256 key neither of whose coordinates begins with a zero byte.

    Distribution 3 up to 3.1.1 leaves such bytes out of the thumbprint, so one key in 128 would have another
    `kid` there than RFC 7638 gives it.
    """
    while True:
        key = draw()
        point = key.public_key().public_numbers()
        if min(point.x, point.y) >> (8 * (_COORDINATE_BYTES - 1)):
            return key


def _self_signed(key: PrivateKey, issuer: str, days: int, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer[:_MAX_COMMON_NAME])])
    # An end entity, not a CA: registries trust this very certificate, and it vouches for no other.
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _jwks(key: PublicKey, kid: str) -> bytes:
    if isinstance(key, rsa.RSAPublicKey):
        algorithm, members = "RS256", RSAAlgorithm.to_jwk(key, as_dict=True)
    else:
        algorithm, members = "ES256", ECAlgorithm.to_jwk(key, as_dict=True)
    # `use` says it already, and RFC 7517 would not have both.
    members.pop("key_ops", None)
    document = {"keys": [{"kid": kid, "use": "sig", "alg": algorithm, **members}]}
    return f"{json.dumps(document, indent=2)}\n".encode()


def _refuse_existing(paths: Iterable[Path]) -> None:
    # A dangling link counts: to write through it would put the key who knows where.
    existing = [path for path in paths if os.path.lexists(path)]
    if existing:
        raise KeysExist(existing)


def _write(directory: Path, contents: Mapping[str, tuple[bytes, int]], *, overwrite: bool) -> None:
    """Write all files beside their places, then put them there in order."""
    # In the same directory, so that a file can be moved to its place; 0700, as mkdtemp makes it.
    with tempfile.TemporaryDirectory(prefix=".keygen-", dir=directory) as staging:
        staged: dict[Path, Path] = {}
        for name, (data, mode) in contents.items():
            source = Path(staging, name)
            _write_file(source, data, mode)
            staged[source] = directory / name
        if overwrite:
            for source, target in staged.items():
                source.replace(target)
        else:
            _link_all(staged)
        _sync_directory(directory)


def _write_file(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        # Not by the mode of os.open, from which the umask takes away.
        os.fchmod(descriptor, mode)
        file.flush()
        os.fsync(descriptor)


def _link_all(staged: Mapping[Path, Path]) -> None:
    """Put each in its place unless that is taken, which a rename cannot promise; all of them or none."""
    with ExitStack() as undo:
        for source, target in staged.items():
            try:
                os.link(source, target)
            except FileExistsError:
                raise KeysExist([target]) from None
            undo.callback(target.unlink, missing_ok=True)
        undo.pop_all()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
