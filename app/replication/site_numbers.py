"""Site numbers: what a site's rows add up to, counted where the rows are, and told to the primary from there."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

from app.replication.progress import Backfill


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteNumbers:
    """Repositories unless it says references. What is out of scope is in none of them but those two."""

    name: str
    #: Of its registry.
    url: str
    enabled: bool
    total: int
    pending: int
    started: int
    synced: int
    failed: int
    references: int
    references_synced: int
    references_failed: int
    drift: int
    #: What the site replicated once and does not any more: kept as it was.
    out_of_scope: int
    references_out_of_scope: int
    #: Repositories to verify: all, unless verification is switched off; those found whole; those found wanting, or of
    #: which it could not be told.
    verification_total: int
    verified: int
    verification_failed: int
    #: Repositories whose tags on the primary are known, and those of which the primary could not tell.
    checksummed: int
    checksum_failed: int
    last_synced_at: datetime | None
    first_failure: str | None
    first_verification_failure: str | None
    #: The last look at everything.
    backfill: Backfill | None


#: All but what a deployment knows of a site with a deployment of its own by itself.
COUNTED = tuple(each.name for each in fields(SiteNumbers) if each.name not in {"name", "url", "enabled"})
