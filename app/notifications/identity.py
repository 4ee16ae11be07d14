"""The key by which a repeated delivery is recognised."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Final

from app.notifications.event import MAX_EVENT_ID
from app.notifications.text import free_text

#: Between the parts of a key.
_SEPARATOR: Final = ":"


def key_of(dialect: str, *parts: object) -> str:
    """A key from what the vendor calls the delivery, and from what tells its events apart.

    It begins with the dialect: two vendors may well use the same number. What is too long for a column, or no storable
    text, is hashed and not cut, for two cut ones could be equal.

    :raises RecursionError: a part nests too deeply to be written.
    """
    texts = [part if isinstance(part, str) else json.dumps(part, sort_keys=True) for part in parts]
    key = _SEPARATOR.join((dialect, *texts))
    if len(key) <= MAX_EVENT_ID and free_text(key) == key:
        return key
    # json.dumps writes lone surrogates as escapes, which UTF-8 has no bytes for.
    return _SEPARATOR.join((dialect, "derived", hashlib.sha256(json.dumps(texts).encode()).hexdigest()))


def key_of_content(dialect: str, document: object, *parts: object) -> str:
    """A key where the vendor gives none: the same document, delivered again, has the same.

    Only for documents that hold their own time; without one, the like of another would be taken for its repetition.

    :raises RecursionError: the document nests too deeply to be written.
    """
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return key_of(dialect, "content", hashlib.sha256(canonical.encode()).hexdigest(), *parts)


def key_of_nothing(dialect: str) -> str:
    """A key that no other event has: nothing tells a repetition from a new event, and a lost one costs more."""
    return key_of(dialect, "unnamed", str(uuid.uuid4()))
