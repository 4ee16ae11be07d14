"""Pages: lists in pieces, each found by a key that names the last row before it.

A page costs the same however far down it is, and nothing is shown twice while rows come and go.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from peewee import Model, ModelSelect

M = TypeVar("M", bound=Model)

#: Rows in a page, at most.
MAX_PAGE = 100

#: The largest id of a cursor. A larger one is an error of the database's driver, not "not found".
MAX_ID = 2**63 - 1


class InvalidQuery(ValueError):
    """A filter or cursor that cannot be used; the message says which and what would do."""

    reason: ClassVar[str] = "invalid_query"
    temporary: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """Some rows, and the cursor of those that follow; None when none do."""

    rows: list[M]
    after: str | None


#: Gives the page behind a cursor, of at most so many rows.
Pages = Callable[[str | None, int], Page[M]]


def page(query: ModelSelect[M], limit: int, key: Callable[[Any], tuple[str | int, ...]]) -> Page[M]:
    """The first rows of an ordered query; `key` is what a row is found behind."""
    limit = max(1, min(limit, MAX_PAGE))
    # One row more tells whether another page follows.
    rows = list(query.limit(limit + 1))
    return Page(rows[:limit], encode(*key(rows[limit - 1])) if len(rows) > limit else None)


def newest_first(query: ModelSelect[M], model: Any, after: str | None, limit: int) -> Page[M]:
    """A page of rows in the order in which they were written, from the end.

    Raises:
        InvalidQuery: for a cursor that no page gave out.
    """
    if after is not None:
        (row_id,) = decode(after, int)
        query = query.where(model.id < row_id)
    return page(query.order_by(model.id.desc()), limit, lambda row: (row.id,))


def chained(lists: Sequence[Pages[M]], after: str | None, limit: int) -> Page[M]:
    """A page of several lists one behind the other.

    Raises:
        InvalidQuery: for a cursor that no page gave out.
    """
    limit = max(1, min(limit, MAX_PAGE))
    number, inner = (0, None) if after is None else decode(after, int, str)
    if not 0 <= number < len(lists):
        raise InvalidQuery("after must be a cursor that an earlier page gave")
    rows: list[M] = []
    while number < len(lists) and len(rows) < limit:
        found = lists[number](inner or None, limit - len(rows))
        rows += found.rows
        if found.after is not None:
            return Page(rows, encode(number, found.after))
        number, inner = number + 1, None
    follows = any(each(None, 1).rows for each in lists[number:])
    return Page(rows, encode(number, "") if follows else None)


def encode(*values: str | int) -> str:
    """A cursor of these values."""
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def decode(cursor: str, *kinds: type) -> list[Any]:
    """The values of a cursor, each of its kind.

    Raises:
        InvalidQuery: when it is none of ours, or of another list.
    """
    try:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,4096}", cursor):
            raise ValueError(cursor)
        values = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidQuery("after must be a cursor that an earlier page gave") from error
    if not isinstance(values, list) or [type(value) for value in values] != list(kinds) or not all(map(_sane, values)):
        raise InvalidQuery("after must be a cursor that an earlier page gave")
    return values


def _sane(value: Any) -> bool:
    if isinstance(value, int):
        return abs(value) <= MAX_ID
    # PostgreSQL takes no NUL, and UTF-8 no lone surrogate.
    return not re.search("[\0\ud800-\udfff]", str(value))
