"""What sites with deployments of their own tell and ask, but for events."""

from __future__ import annotations

from app.api.openapi.parts import COUNT, FLAG, TEXT, TEXTS, TIME, Schema, listing, or_null, record, told
from app.replication.level import Level
from app.replication.site_reports import FEED, PATTERNS_LIMIT, POSITION_LIMIT, STANDBY, TEXT_LIMIT
from app.settings import Deletion, VerificationLevel

_SHORT: Schema = {"type": "string", "maxLength": TEXT_LIMIT}
_PATTERNS: Schema = {"type": "array", "items": _SHORT, "maxItems": PATTERNS_LIMIT}
_COUNTED: Schema = {"type": "integer", "minimum": 0, "maximum": 2**53}
_SPAN: Schema = {"type": "number", "minimum": 0, "maximum": 2**53}

_REPORT: Schema = {
    **record(
        "How a site is. What an older version does not know in it is passed over.",
        **dict.fromkeys(("name", "url", "version", "headline", "advice"), _SHORT),
        level={"type": "string", "enum": [level.value for level in Level]},
        follows={"type": "string", "maxLength": TEXT_LIMIT, "examples": [FEED, STANDBY]},
        **dict.fromkeys(("enabled", "replication_enabled"), FLAG),
        **dict.fromkeys(("total", "pending", "started", "synced", "failed", "references"), _COUNTED),
        **dict.fromkeys(("references_synced", "references_failed", "drift", "out_of_scope"), _COUNTED),
        **dict.fromkeys(("references_out_of_scope", "verification_total", "verified"), _COUNTED),
        **dict.fromkeys(("verification_failed", "checksummed", "checksum_failed"), _COUNTED),
        oldest_pending_seconds=_SPAN,
        last_synced_at=or_null(TIME),
        **dict.fromkeys(("first_failure", "first_verification_failure"), or_null(_SHORT)),
        **dict.fromkeys(("repositories", "tags"), _PATTERNS),
        capacity=or_null(_COUNTED),
        deletion={"type": "string", "enum": [each.value for each in Deletion]},
        protected_tags=_PATTERNS,
        verification=or_null({"type": "string", "enum": [None, *(each.value for each in VerificationLevel)]}),
        position=or_null({"type": "string", "maxLength": POSITION_LIMIT, "pattern": "^[A-Za-z0-9_-]+$"}),
        backfill=or_null(
            {
                **record(
                    "The last look at everything.",
                    started_at=TIME,
                    finding=FLAG,
                    **dict.fromkeys(("found", "left", "failed"), _COUNTED),
                    ends_at=or_null(TIME),
                ),
                "additionalProperties": True,
            }
        ),
    ),
    "additionalProperties": True,
}

SCHEMAS: dict[str, Schema] = {
    "SiteReport": _REPORT,
    "Kept": record("The report was kept.", site=TEXT),
    "FollowedRepositories": record(
        "A page of repositories.", repositories=TEXTS, next=or_null(told(TEXT, "`after` of the next page."))
    ),
    "PullToken": record("A token.", token=TEXT, access_token=TEXT, expires_in=COUNT, issued_at=TIME),
    "RegistryErrors": record(
        "An error as registries tell one.",
        errors=listing(record("An error.", code=TEXT, message=TEXT, detail={"type": "null"})),
    ),
}
