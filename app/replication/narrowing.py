"""Narrowing: what a list is narrowed to, and in which order it is given, from text as people and scripts write it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TypeVar

from app.models import SyncState, VerificationState
from app.replication.paging import InvalidQuery

S = TypeVar("S", bound=IntEnum)

#: Longer than any repository path or tag.
MAX_SEARCH = 255


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list is narrowed to: a state, a site's name, a part of the path or tag, a state of verification."""

    state: SyncState | None = None
    site: str | None = None
    search: str | None = None
    #: Of repositories alone.
    verification: VerificationState | None = None

    @classmethod
    def parse(
        cls,
        *,
        state: str | None = None,
        site: str | None = None,
        search: str | None = None,
        verification: str | None = None,
    ) -> Filter:
        """From text as people and scripts give it; empty counts as not given.

        Raises:
            InvalidQuery: for a state that is neither a name nor GitLab's number of one, and text no name can hold.
        """
        for name, value in (("site", site), ("search", search)):
            if value and (len(value) > MAX_SEARCH or "\0" in value):
                raise InvalidQuery(f"{name} must be at most {MAX_SEARCH} characters, without NUL")
        return cls(
            _one_of(SyncState, "state", state) if state else None,
            site or None,
            (search or "").strip() or None,
            _one_of(VerificationState, "verification", verification) if verification else None,
        )


class Order(StrEnum):
    """In which order repositories are listed."""

    PATH = "path"
    #: What needs a person first: failed, under way, waiting, synced, out of scope; by path within each.
    STATE = "state"
    #: When a site had them last in sync. Only of one site: there is an index for each alone.
    NEWEST = "newest"
    OLDEST = "oldest"

    @property
    def of_one_site(self) -> bool:
        return self in {Order.NEWEST, Order.OLDEST}

    @classmethod
    def parse(cls, text: str | None) -> Order:
        """From text as people give it; empty means by path.

        Raises:
            InvalidQuery: for any other.
        """
        try:
            return cls(text or cls.PATH)
        except ValueError:
            raise InvalidQuery(f"sort must be one of {', '.join(cls)}") from None


def _one_of(states: type[S], what: str, text: str) -> S:
    for state in states:
        if text.lower() in {state.name.lower(), str(state.value)}:
            return state
    names = ", ".join(f"{state.name.lower()} ({state.value})" for state in states)
    raise InvalidQuery(f"{what} must be one of {names}")
