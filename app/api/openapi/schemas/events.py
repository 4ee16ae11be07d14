"""Events, as scripts and as sites are told of them."""

from __future__ import annotations

from app.api.openapi.parts import (
    ANY_DIGEST,
    COUNT,
    FLAG,
    NUMBER,
    TEXT,
    TEXTS,
    TIME,
    Schema,
    listing,
    or_null,
    record,
    told,
)

#: As the feed tells it, too.
_HAPPENING: dict[str, Schema] = {
    "id": COUNT,
    "key": told(TEXT, "The registry's own id of the event."),
    "action": TEXT,
    "tag": or_null(TEXT),
    "digest": ANY_DIGEST,
    "media_type": or_null(TEXT),
    "occurred_at": TIME,
    "actor": or_null(TEXT),
    "user_agent": or_null(TEXT),
    "source_instance_id": or_null(TEXT),
    "correlation_id": or_null(told(TEXT, "Of the request that brought it; in the log of all that it led to.")),
}

_EVENT = record(
    "A repository changed.",
    **_HAPPENING,
    replicable_name=TEXT,
    event_name=TEXT,
    container_repository_id=COUNT,
    path=TEXT,
    created_at=TIME,
)

_QUARANTINED = record(
    "Something with the right secret that could not be read.",
    id=COUNT,
    dialect=TEXT,
    reason=TEXT,
    content_type=or_null(TEXT),
    remote_address=or_null(TEXT),
    size=COUNT,
    occurrences=COUNT,
    excerpt=told(TEXT, "Its beginning."),
    created_at=TIME,
    last_seen_at=TIME,
)

_READING: Schema = record(
    "What one look at the log gave.",
    position=told(TEXT, "To be handed back for what follows."),
    last_event_id=COUNT,
    newest_event_id=COUNT,
    retry_after=told(NUMBER, "Seconds to wait before asking again."),
    events=listing(record("An event.", **_HAPPENING, repository=TEXT)),
    site=record(
        "What holds for the site that asks.",
        name=TEXT,
        repositories=TEXTS,
        tags=TEXTS,
        capacity=or_null(COUNT),
        deletion=or_null(TEXT),
        protected_tags=TEXTS,
        verification=or_null(TEXT),
        paused=FLAG,
    ),
    reconcile=record("A full look that the primary asks for.", requested_at=or_null(TEXT), reason=or_null(TEXT)),
)
_READING["properties"]["reset"] = record("Why the position leads nowhere.", reason=TEXT, message=TEXT)

SCHEMAS: dict[str, Schema] = {
    "Event": _EVENT,
    "QuarantinedEvent": _QUARANTINED,
    "Received": record(
        "What became of the events of an envelope.", accepted=COUNT, duplicate=COUNT, ignored=COUNT, quarantined=COUNT
    ),
    "Reading": _READING,
}
