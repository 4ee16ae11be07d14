"""Parameters of a request: each read once, and refused where it says what cannot be meant."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from flask import request
from werkzeug.exceptions import UnsupportedMediaType

from app.replication import queries
from app.replication.narrowing import Filter
from app.replication.queries import InvalidQuery

T = TypeVar("T")

DEFAULT_PAGE = 20

#: What a list of repositories is narrowed by, and a request for many of them.
NARROWING = ("state", "verification", "site", "search")


def text(name: str) -> str | None:
    """What was given as this parameter.

    Raises:
        InvalidQuery: when it was given twice, of which one would not be heeded.
    """
    values = request.args.getlist(name)
    if len(values) > 1:
        raise InvalidQuery(f"{name} was given {len(values)} times")
    return values[0] if values else None


def name(parameter: str, fits: Callable[[str], bool], what: str) -> str | None:
    """A name of a kind, such as a tag; None where it was not given.

    Raises:
        InvalidQuery: when it is none.
    """
    value = text(parameter)
    if value is not None and not fits(value):
        raise InvalidQuery(f"{parameter} must be {what}")
    return value


def flag(parameter: str, *, default: bool) -> bool:
    """`true` or `false`.

    Raises:
        InvalidQuery: for anything else.
    """
    value = text(parameter)
    if value not in {None, "true", "false"}:
        raise InvalidQuery(f"{parameter} must be true or false")
    return default if value is None else value == "true"


def seconds(parameter: str, default: int, most: int) -> int:
    """A whole number of seconds from 0 to `most`.

    Raises:
        InvalidQuery: for anything else.
    """
    value = text(parameter)
    if value is None:
        return default
    if not re.fullmatch(r"[0-9]{1,6}", value) or int(value) > most:
        raise InvalidQuery(f"{parameter} must be a whole number of seconds from 0 to {most}")
    return int(value)


def per_page() -> int:
    """Rows wanted in a page; more than the most there is gives the most.

    Raises:
        InvalidQuery: unless it is a positive whole number.
    """
    value = text("per_page")
    if value is None:
        return DEFAULT_PAGE
    if not re.fullmatch(r"[0-9]{1,9}", value) or int(value) == 0:
        raise InvalidQuery(f"per_page must be a number from 1 to {queries.MAX_PAGE}")
    return min(int(value), queries.MAX_PAGE)


def narrowing() -> Filter:
    """What the request narrows repositories to.

    Raises:
        InvalidQuery: for what is no state and no name.
    """
    return Filter.parse(**{parameter: text(parameter) for parameter in NARROWING})


def only(*known: str) -> None:
    """Refuse other parameters, and a body: where something is done, a mistyped filter must not mean "all of them".

    Raises:
        InvalidQuery: for a parameter that is not known here.
        UnsupportedMediaType: for a body.
    """
    unknown = sorted(set(request.args) - set(known))
    if unknown:
        listed = ", ".join(known) or "none"
        raise InvalidQuery(f"{unknown[0][:80]!r} is not a parameter of this request; there are: {listed}")
    if request.content_length or request.headers.get("Transfer-Encoding"):
        raise UnsupportedMediaType("This request takes no body; what it needs goes into the query.")
