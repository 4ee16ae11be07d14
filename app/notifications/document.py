"""JSON from strangers."""

from __future__ import annotations

import json
from typing import Final

from app.notifications.errors import InvalidEvent

#: Objects and lists in one body: twice what 16 MiB hold of real events. An empty one is two bytes there, and up to a
#: hundred times as many in memory.
MAX_PARTS: Final = 300_000

#: Values in one body: half as many again as 16 MiB hold of the shortest real events. A short string or key takes more
#: than ten times as much memory as there.
MAX_VALUES: Final = 1_000_000

#: Longer integers are sizes of nothing; Python refuses those of thousands of digits by failing the document.
_MAX_INTEGER_DIGITS: Final = 20


def read_json(body: bytes) -> object:
    """The value of a JSON body in UTF-8, with or without a byte order mark.

    An integer of more than 20 characters is kept as its text: one absurd number costs no event.

    :raises InvalidEvent: `not_utf8`, `not_json`, `too_many` (parts or values) or `too_deep`.
    """
    # Counted in strings too: what is honest stays far below.
    if body.count(b"{") + body.count(b"[") > MAX_PARTS:
        raise InvalidEvent("too_many", f"the body consists of more than {MAX_PARTS} parts")
    if body.count(b",") > MAX_VALUES:
        raise InvalidEvent("too_many", f"the body consists of more than {MAX_VALUES} values")
    try:
        return json.loads(body.decode("utf-8-sig"), parse_int=_integer)
    except UnicodeDecodeError:
        raise InvalidEvent("not_utf8", "the body is not UTF-8") from None
    except RecursionError:
        raise InvalidEvent("too_deep", "the body nests too deeply") from None
    except ValueError as error:
        raise InvalidEvent("not_json", f"the body is not JSON: {error}") from None


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= _MAX_INTEGER_DIGITS else text
