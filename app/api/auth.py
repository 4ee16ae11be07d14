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
    candidates = list(_candidates(header or ""))
    # All pairs are compared, without stopping at the first that fits.
    return bool(sum(_same(given, secret.value) for given in candidates for secret in secrets))


def admin_allowed(token: str | None, expected: Secret | None) -> bool:
    """Whether `token` is the admin token. Nobody is allowed where none is set."""
    return expected is not None and bool(token) and _same(token or "", expected.value)


def bearer(header: str | None) -> str | None:
    """The token of a `Bearer` authorization."""
    scheme, _, value = (header or "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


def _candidates(header: str) -> Iterator[str]:
    yield header
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        yield value.strip()
    elif scheme.lower() == "basic":
        try:
            yield base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return


def _same(given: str, expected: str) -> bool:
    # Hashed first: compare_digest tells the length of what it compares.
    return hmac.compare_digest(
        hashlib.sha256(given.encode(errors="surrogateescape")).digest(), hashlib.sha256(expected.encode()).digest()
    )
