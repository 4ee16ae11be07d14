"""Container repositories, what is in them, and what was asked of them."""

from __future__ import annotations

from app.api.openapi.parts import (
    ANY_DIGEST,
    COUNT,
    FLAG,
    NUMBER,
    PROBLEM_MEMBERS,
    TEXT,
    TIME,
    Schema,
    listing,
    named,
    or_null,
    record,
    told,
)
from app.models import SyncState, VerificationState


def _number(states: type[SyncState] | type[VerificationState]) -> Schema:
    names = ", ".join(f"{state.value} {state.name.lower()}" for state in states)
    return {"type": "integer", "enum": [state.value for state in states], "description": f"GitLab's: {names}."}


def _word(states: type[SyncState] | type[VerificationState]) -> Schema:
    return {"type": "string", "enum": [state.name.lower() for state in states]}


_REPOSITORY: dict[str, Schema] = {
    "id": told(COUNT, "Of the tracking row: the repository on one site."),
    "container_repository_id": COUNT,
    "path": TEXT,
    "site": TEXT,
    "state": _number(SyncState),
    "state_name": _word(SyncState),
    "in_scope": told(FLAG, "The site still replicates it."),
    "retry_count": COUNT,
    "retry_at": or_null(TIME),
    "last_synced_at": or_null(TIME),
    "last_sync_failure": or_null(TEXT),
    "pending_since": or_null(TIME),
    "full_sync": told(FLAG, "The next sync compares everything in it."),
    "verification_state": _number(VerificationState),
    "verification_state_name": _word(VerificationState),
    "verification_started_at": or_null(TIME),
    "verified_at": or_null(TIME),
    "verification_retry_count": COUNT,
    "verification_retry_at": or_null(TIME),
    "verification_failure": or_null(TEXT),
    "verification_checksum": or_null(TEXT),
    "verification_checksum_mismatched": or_null(TEXT),
    "checksum_mismatch": FLAG,
    "verification_level": or_null(TEXT),
    "fully_verified_at": or_null(TIME),
    "created_at": TIME,
}

_REFERENCE = record(
    "A tag, or a digest that was pushed without one.",
    name=TEXT,
    kind={"type": "string", "enum": ["tag", "digest"]},
    state=_number(SyncState),
    state_name=_word(SyncState),
    in_scope=FLAG,
    desired_digest=told(ANY_DIGEST, "What the primary has."),
    observed_digest=told(ANY_DIGEST, "What the secondary has from us."),
    drift_digest=told(ANY_DIGEST, "What stands there and is not ours."),
    drift_since=or_null(TIME),
    media_type=or_null(TEXT),
    trigger=TEXT,
    event_id=or_null(COUNT),
    event_at=or_null(TIME),
    correlation_id=or_null(TEXT),
    pending_since=or_null(TIME),
    retry_count=COUNT,
    retry_at=or_null(TIME),
    failure=or_null(TEXT),
    failure_reason=or_null(TEXT),
    synced_at=or_null(TIME),
    verified_digest=told(ANY_DIGEST, "What was last found whole there."),
    verified_at=or_null(TIME),
    created_at=TIME,
)

_ATTEMPT = record(
    "What was done about one reference, once.",
    id=COUNT,
    reference=TEXT,
    action=TEXT,
    trigger=TEXT,
    event_id=or_null(COUNT),
    outcome=TEXT,
    reason=or_null(TEXT),
    message=or_null(TEXT),
    old_digest=ANY_DIGEST,
    new_digest=ANY_DIGEST,
    bytes_copied=COUNT,
    lag_seconds=or_null(NUMBER),
    worker=TEXT,
    started_at=TIME,
    finished_at=TIME,
)

SCHEMAS: dict[str, Schema] = {
    "Repository": record("A container repository on one site.", **_REPOSITORY),
    "RepositoryWithReferences": record(
        "A container repository on one site, and what is in it.",
        **_REPOSITORY,
        references_count=COUNT,
        references=listing(named("Reference")),
    ),
    "Reference": _REFERENCE,
    "Attempt": _ATTEMPT,
    "Marked": record("What was asked for.", count=told(COUNT, "Of so many repositories.")),
    "Arrived": record("An image that is on a site.", path=TEXT, site=TEXT, reference=named("Reference")),
    "Delay": record(
        "What holds an image up (RFC 9457).",
        **PROBLEM_MEMBERS,
        path=TEXT,
        site=TEXT,
        cause=told(TEXT, "A word for scripts, such as `pending`, `failed`, `unread` or `unverified`."),
        why=TEXT,
        next=told(TEXT, "What to do, or what happens by itself."),
        reference=or_null(named("Reference")),
    ),
}
