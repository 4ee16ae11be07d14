"""JSON from registries: read whole, unless reading it would take many times the memory that it takes itself."""

from __future__ import annotations

import json
from typing import Any

#: Objects and lists in one document. A manifest of the most references has a fifth of them; an empty one is two bytes
#: on the wire and up to a hundred times as many in memory.
PARTS_LIMIT = 200_000

#: Values in one document: the longest listing of tags that a registry sends on one page has fewer.
VALUES_LIMIT = 5_000_000


def read_json(data: bytes) -> Any:
    """Return the value that the document stands for.

    Raises `ValueError` for what is no JSON, nests too deeply or consists of too many parts.
    """
    # Counted in strings too: what is honest stays far below.
    if data.count(b"{") + data.count(b"[") > PARTS_LIMIT or data.count(b",") > VALUES_LIMIT:
        raise ValueError(f"more than {PARTS_LIMIT} objects and lists, or {VALUES_LIMIT} values")
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it nests too deeply") from None
