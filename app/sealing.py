"""Sealing: how a secret is written down where others may read it (Fernet, by keys derived with HKDF, RFC 5869)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Sealing:
    """Seals with the first key, opens what any of them sealed; so a key is changed by `new,old` and then `new`.

    `purpose` separates uses of the same keys: what was sealed for one cannot be opened for another. Raises
    `ValueError` without a key.
    """

    def __init__(self, keys: Sequence[str], purpose: str) -> None:
        if not keys:
            raise ValueError("nothing can be sealed without a key")
        self._fernet = MultiFernet([Fernet(_derived(key, purpose)) for key in keys])

    def seal(self, text: str, about: str = "") -> str:
        """Return `text` sealed. `about` says what it is of, and has to be said again to open it."""
        return self._fernet.encrypt(json.dumps([_digest(about), text]).encode()).decode()

    def open(self, sealed: str | bytes, about: str = "") -> str | None:
        """Return the text; None for what cannot be opened: another key's, another's secret, or nothing sealed."""
        try:
            digest, text = json.loads(self._fernet.decrypt(sealed))
        except (InvalidToken, ValueError, TypeError, RecursionError):
            return None
        return text if digest == _digest(about) and isinstance(text, str) else None


def _derived(key: str, purpose: str) -> bytes:
    # No salt: the keys are random or as good as that, and every process has to come to the same.
    derived = HKDF(SHA256(), 32, salt=None, info=f"geo-registry sealing: {purpose}".encode()).derive(key.encode())
    return base64.urlsafe_b64encode(derived)


def _digest(about: str) -> str:
    return hashlib.sha256(about.encode()).hexdigest()
