"""Text from strangers, made fit to be stored."""

from __future__ import annotations

import json
import re
from typing import Final

#: Free text is for people to read; longer than this it is cut.
MAX_FREE_TEXT: Final = 255

#: What is kept of something that could not be understood, in bytes of UTF-8.
MAX_EXCERPT: Final = 64 * 1024

# PostgreSQL's text holds neither NUL nor a lone surrogate, and both pass through JSON as escapes.
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


def free_text(value: object) -> str | None:
    """A string of at most `MAX_FREE_TEXT` characters that any database stores; else, or if empty, None."""
    if not isinstance(value, str):
        return None
    return _UNSTORABLE.sub("", value[: 2 * MAX_FREE_TEXT])[:MAX_FREE_TEXT] or None


def excerpt_of_bytes(body: bytes) -> str:
    """The head of a body that is no JSON; what is not storable shows as U+FFFD."""
    shown = body[:MAX_EXCERPT].decode("utf-8", "replace").replace("\x00", "\ufffd")
    return shown.encode()[:MAX_EXCERPT].decode("utf-8", "ignore")


def excerpt_of_value(value: object) -> str:
    """The head of a JSON value as JSON, in ASCII: NUL and lone surrogates stay visible, as escapes.

    :raises RecursionError: nested too deeply to be written.
    """
    return json.dumps(value)[:MAX_EXCERPT]
