"""Sites, and how they are."""

from __future__ import annotations

from app.api.openapi.parts import (
    COUNT,
    EPOCH,
    FLAG,
    NUMBER,
    TEXT,
    TEXTS,
    TIME,
    Schema,
    listing,
    named,
    or_null,
    record,
    told,
)
from app.api.representations import sites
from app.replication.running import SHOWN

_NOT_HERE: Schema = {"type": "null", "description": "GitLab's; has no meaning here."}
_OTHERS: Schema = {"type": "null", "description": "Told of the other kind of site."}
_LINK = told(TEXT, "An address on this server.")
_PERCENT: Schema = {"type": "string", "pattern": "^[0-9]{1,3}\\.[0-9]{2}%$"}

_SCOPE: dict[str, Schema] = {
    "repositories": told(TEXTS, "Patterns of what is replicated; none: everything."),
    "tags": told(TEXTS, "Patterns of tags; none: all."),
    "container_repositories_max_capacity": or_null(told(COUNT, "Repositories synced at once at most.")),
    "deletion": or_null(told(TEXT, "What may be deleted there (GEO_DELETION); `null`: that is left to others.")),
    "protected_tags": told(TEXTS, "Patterns of tags that are never deleted."),
    "verification": or_null(told(TEXT, "How far what it copies is verified; `null`: that is left to others, or off.")),
}

_SITE = record(
    "A place with one container registry.",
    id=COUNT,
    name=TEXT,
    url=told(TEXT, "Of its registry."),
    internal_url=TEXT,
    primary=FLAG,
    enabled=told(FLAG, "Not paused."),
    current=told(FLAG, "This deployment's own."),
    **dict.fromkeys(sites.NOT_APPLICABLE_TO_A_SITE, _NOT_HERE),
    web_geo_replication_details_url=or_null(_LINK),
    **_SCOPE,
    remote=told(FLAG, "It has a deployment of its own, which follows this one's event log."),
    granted=or_null(named("Grant")),
    reported=or_null(named("Reported")),
    backfill=or_null(named("Backfill")),
    _links=record("", self=_LINK, status=_LINK, repair={"type": "null", "description": "GitLab's; there is none."}),
)

_COMMON: dict[str, Schema] = {
    "geo_node_id": COUNT,
    **dict.fromkeys(sites.NOT_APPLICABLE_TO_A_STATUS, _NOT_HERE),
    "last_event_id": or_null(COUNT),
    "last_event_timestamp": or_null(EPOCH),
    "last_successful_status_check_timestamp": or_null(EPOCH),
    "version": or_null(TEXT),
    "namespaces": {"type": "array", "maxItems": 0, "description": "GitLab's; has no meaning here."},
    "updated_at": or_null(TIME),
    "healthy": told(FLAG, "Replication itself works; single repositories may fail all the same."),
    "health": told(TEXT, "For people: how it is, and what to do."),
    "health_status": {"type": "string", "enum": ["Healthy", "Unhealthy"]},
    "container_repositories_count": or_null(COUNT),
    "_links": record("", self=_LINK, site=_LINK),
}

_PRIMARY_STATUS = record(
    "How the primary is.",
    **_COMMON,
    **dict.fromkeys(sites.OF_THE_PRIMARY, or_null(COUNT)),
    **dict.fromkeys(sites.OF_A_SECONDARY, _OTHERS),
)

_SECONDARY_STATUS = record(
    "How a secondary is.",
    **_COMMON,
    **dict.fromkeys(sites.OF_THE_PRIMARY, _OTHERS),
    **(
        dict.fromkeys(sites.OF_A_SECONDARY, or_null(COUNT))
        | {
            "cursor_last_event_id": COUNT,
            "cursor_last_event_timestamp": or_null(EPOCH),
            "container_repositories_synced_in_percentage": or_null(_PERCENT),
            "container_repositories_verified_in_percentage": or_null(_PERCENT),
            "container_repositories_replication_enabled": or_null(FLAG),
        }
    ),
    container_repositories_pending_count=or_null(COUNT),
    container_repositories_started_count=or_null(COUNT),
    container_repositories_out_of_scope_count=or_null(COUNT),
    references_count=or_null(told(COUNT, "Tags, and digests that were pushed without one.")),
    references_synced_count=or_null(COUNT),
    references_failed_count=or_null(COUNT),
    references_drift_count=or_null(told(COUNT, "What stands there, is not ours, and not on the primary.")),
    references_out_of_scope_count=or_null(COUNT),
    oldest_pending_at=or_null(TIME),
    oldest_pending_seconds=or_null(NUMBER),
    last_synced_at=or_null(TIME),
    status_age_seconds=or_null(told(NUMBER, "How old the last report of the site's own deployment is.")),
    unread_events_count=COUNT,
    backfill=or_null(named("Backfill")),
    running=or_null(
        told(listing(named("RunningSync")), f"What is being synced now, the longest first, {SHOWN} at most.")
    ),
)

SCHEMAS: dict[str, Schema] = {
    "Site": _SITE,
    "PrimaryStatus": _PRIMARY_STATUS,
    "SecondaryStatus": _SECONDARY_STATUS,
    "Backfill": record(
        "The last look at everything, under way or over.",
        started_at=TIME,
        finding=told(FLAG, "More repositories are still being found."),
        found_count=COUNT,
        left_count=COUNT,
        failed_count=COUNT,
        ends_at=or_null(TIME),
    ),
    "RunningSync": record(
        "A repository that a worker is at.",
        id=COUNT,
        path=TEXT,
        started_at=or_null(TIME),
        references_left_count=told(COUNT, "Tags and digests that are not done."),
        moved=or_null(named("Moved")),
    ),
    "Moved": record(
        "The bytes of a sync that has taken more than a moment, as its worker told within the last seconds.",
        bytes_done=told(COUNT, "Sent, or found to be there."),
        bytes_total=told(COUNT, "As far as is known: it grows while images are being looked at."),
        bytes_per_second=or_null(told(NUMBER, "Over the last while; `null` while nothing can be said.")),
        remaining_seconds=or_null(told(NUMBER, "For what is known of, at this speed; `null` where there is none.")),
        largest_blob=or_null(record("The largest under way.", digest=TEXT, bytes_done=COUNT, bytes_total=COUNT)),
    ),
    "Grant": record("What the primary's deployment limits the site to.", **_SCOPE),
    "Reported": record(
        "What the site's own deployment last said that it is set to.",
        at=TIME,
        age_seconds=NUMBER,
        stale=FLAG,
        url=TEXT,
        enabled=FLAG,
        follows=TEXT,
        **_SCOPE,
    ),
}
