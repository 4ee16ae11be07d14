"""How many tracking rows a site has of each kind, without counting them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from peewee import fn

from app.models import RepositoryCount, Site


@dataclass(frozen=True, slots=True)
class Group:
    """Tracking rows that are alike, counted."""

    in_scope: bool
    state: int
    verification_state: int
    #: Its tags on the primary are known.
    checksummed: bool
    #: The primary could not tell of them.
    untold: bool
    count: int


def of(site: Site | None = None) -> list[Group]:
    """The tracking rows of the site, or of all. It costs the same however many there are. Inside a connection."""
    kept = RepositoryCount
    kind = (kept.in_scope, kept.state, kept.verification_state, kept.checksummed, kept.untold)
    summed: Any = kept.select(*kind, fn.SUM(kept.number)).group_by(*kind).tuples()
    if site is not None:
        summed = summed.where(kept.site_id == site.id)
    groups = [
        # PostgreSQL sums to a decimal.
        Group(bool(in_scope), state, verification_state, bool(checksummed), bool(untold), int(number))
        for in_scope, state, verification_state, checksummed, untold, number in summed
    ]
    return [group for group in groups if group.count]
