"""Who may call: secrets of registries, and the admin token."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Iterator

from app.settings import Secret


def notification_allowed(header: str | None, secrets: Iterable[Secret]) -> bool:
    """Whether an `Authorization` value names one of the secrets: raw as GitLab sends it, as `Bearer`, or the password
    of `Basic`. Takes the same time whatever the value."""
    candidates = list(_candidates(_as_sent(header or "")))
    # All pairs are compared, without stopping at the first that fits.
    return bool(sum(_same(given, secret.value.encode()) for given in candidates for secret in secrets))


def admin_allowed(token: str | None, expected: Secret | None) -> bool:
    """Whether `token`, from a header or a form, is the admin token. Nobody is allowed where none is set."""
    if expected is None or not token:
        return False
    given = (_as_sent(token), token.encode(errors="replace"))
    return bool(sum(_same(one, expected.value.encode()) for one in given))


def bearer(header: str | None) -> str | None:
    """The token of a `Bearer` authorization."""
    scheme, _, value = (header or "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


def _as_sent(header: str) -> bytes:
    """The bytes of a header's value, which WSGI hands on as Latin-1: a secret in UTF-8 would never fit otherwise."""
    return header.encode("latin-1", errors="replace")


def _candidates(header: bytes) -> Iterator[bytes]:
    yield header
    scheme, _, value = header.partition(b" ")
    if scheme.lower() == b"bearer":
        yield value.strip()
    elif scheme.lower() == b"basic":
        try:
            yield base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            return


def _same(given: bytes, expected: bytes) -> bool:
    # Hashed first: compare_digest tells the length of what it compares.
    return hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(expected).digest())
