"""Who may call: the admin token."""

from __future__ import annotations

import hashlib
import hmac

from app.settings import WEAK_SECRET_LENGTH, Secret


def admin_allowed(token: str | None, expected: Secret | None) -> bool:
    """Whether `token`, from a header or a form, is the admin token. Nobody is allowed where none is set."""
    if expected is None or not token:
        return False
    given = (_as_sent(token), token.encode(errors="replace"))
    return bool(sum(_same(one, expected.value.encode()) for one in given))


def passes_throttle(expected: Secret) -> bool:
    """Whether the right token is let in while its address is asked to wait for guesses, which may be others': behind a
    proxy all have one address. A token that can be guessed has to wait even where it is right, or guessing would go on.
    """
    return len(expected.value) >= WEAK_SECRET_LENGTH


def bearer(header: str | None) -> str | None:
    """The token of a `Bearer` authorization."""
    scheme, _, value = (header or "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


def _as_sent(header: str) -> bytes:
    """The bytes of a header's value, which WSGI hands on as Latin-1: a secret in UTF-8 would never fit otherwise."""
    return header.encode("latin-1", errors="replace")


def _same(given: bytes, expected: bytes) -> bool:
    # Hashed first: compare_digest tells the length of what it compares.
    return hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(expected).digest())
