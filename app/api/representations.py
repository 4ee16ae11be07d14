"""Rows as JSON: GitLab's field names where GitLab has the thing, the columns' own names otherwise."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from app import __version__
from app.models import ContainerRepositoryRegistry as Registry
from app.models import QuarantinedEvent, Reference, Site, SyncAttempt, SyncState
from app.replication.health import Health
from app.replication.progress import Backfill
from app.replication.status import SiteStatus, Status

#: GitLab's fields of a site that have no meaning here: capacities and selections are set by the environment.
NOT_APPLICABLE_TO_A_SITE = (
    "files_max_capacity",
    "repos_max_capacity",
    "verification_max_capacity",
    "selective_sync_type",
    "selective_sync_shards",
    "selective_sync_namespace_ids",
    "minimum_reverification_interval",
    "sync_object_storage",
    "web_edit_url",
)

#: Of a status: there is no database replication beneath, and nothing is checksummed or verified in this version.
NOT_APPLICABLE_TO_A_STATUS = (
    "db_replication_lag_seconds",
    "container_repositories_checksum_total_count",
    "container_repositories_checksummed_count",
    "container_repositories_checksum_failed_count",
    "container_repositories_verification_total_count",
    "container_repositories_verified_count",
    "container_repositories_verification_failed_count",
    "container_repositories_verified_in_percentage",
    "revision",
    "selective_sync_type",
    "storage_shards_match",
    "missing_oauth_application",
)


def time(instant: datetime | None) -> str | None:
    """ISO 8601 in UTC, with milliseconds."""
    return (
        None if instant is None else instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def site(row: Site, *, current: bool, links: dict[str, str | None], details_url: str | None) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "url": row.url,
        "internal_url": row.url,
        "primary": row.primary,
        "enabled": row.enabled,
        "current": current,
        **dict.fromkeys(NOT_APPLICABLE_TO_A_SITE),
        "web_geo_replication_details_url": details_url,
        "container_repositories_max_capacity": row.capacity,
        "deletion": row.deletion,
        "repositories": row.repositories.splitlines(),
        "tags": row.tags.splitlines(),
        "_links": links,
    }


def primary_status(row: Site, whole: Status, instant: datetime, links: dict[str, str]) -> dict[str, Any]:
    """What is known of the primary: what it has, not what others hold of it."""
    return {
        **_common(row, whole, instant),
        "healthy": True,
        "health": "Healthy",
        "health_status": "Healthy",
        "cursor_last_event_id": None,
        "cursor_last_event_timestamp": None,
        "container_repositories_count": whole.repositories,
        "container_repositories_registry_count": None,
        "container_repositories_synced_count": None,
        "container_repositories_failed_count": None,
        "container_repositories_synced_in_percentage": None,
        "container_repositories_replication_enabled": None,
        "_links": links,
    }


def secondary_status(
    row: Site,
    counted: SiteStatus,
    whole: Status,
    health: Health,
    instant: datetime,
    *,
    replication_enabled: bool,
    links: dict[str, str],
) -> dict[str, Any]:
    return {
        **_common(row, whole, instant),
        "healthy": health.healthy,
        "health": " ".join(filter(None, (f"{health.headline}.", health.advice))),
        "health_status": "Healthy" if health.healthy else "Unhealthy",
        "cursor_last_event_id": counted.cursor_last_event_id,
        "cursor_last_event_timestamp": _epoch(counted.cursor_last_event_at),
        "container_repositories_count": counted.total,
        "container_repositories_registry_count": counted.total,
        "container_repositories_synced_count": counted.synced,
        "container_repositories_failed_count": counted.failed,
        "container_repositories_synced_in_percentage": f"{counted.synced_percent:.2f}%",
        "container_repositories_replication_enabled": replication_enabled,
        "container_repositories_pending_count": counted.pending,
        "container_repositories_started_count": counted.started,
        "container_repositories_out_of_scope_count": counted.out_of_scope,
        "references_count": counted.references,
        "references_synced_count": counted.references_synced,
        "references_failed_count": counted.references_failed,
        "references_drift_count": counted.drift,
        "references_out_of_scope_count": counted.references_out_of_scope,
        "backfill": None if counted.backfill is None else backfill(counted.backfill),
        "unread_events_count": counted.unread_events,
        "oldest_pending_at": time(counted.oldest_pending_at),
        "oldest_pending_seconds": round(counted.oldest_pending_seconds, 3),
        "last_synced_at": time(counted.last_synced_at),
        "_links": links,
    }


def backfill(progress: Backfill) -> dict[str, Any]:
    return {
        "started_at": time(progress.started_at),
        "finding": progress.finding,
        "found_count": progress.found,
        "left_count": progress.left,
        "failed_count": progress.failed,
        "ends_at": time(progress.ends_at),
    }


def _common(row: Site, whole: Status, instant: datetime) -> dict[str, Any]:
    return {
        "geo_node_id": row.id,
        **dict.fromkeys(NOT_APPLICABLE_TO_A_STATUS),
        "last_event_id": whole.last_event_id or None,
        "last_event_timestamp": _epoch(whole.last_event_at),
        "last_successful_status_check_timestamp": _epoch(instant),
        "version": __version__,
        "namespaces": [],
        "updated_at": time(instant),
    }


def _epoch(instant: datetime | None) -> int | None:
    return None if instant is None else int(instant.timestamp())


def repository(row: Registry) -> dict[str, Any]:
    return {
        "id": row.id,
        "container_repository_id": row.container_repository_id,
        "path": row.container_repository.path,
        "site": row.site.name,
        "state": row.state,
        "state_name": SyncState(row.state).name.lower(),
        "in_scope": row.in_scope,
        "retry_count": row.retry_count,
        "retry_at": time(row.retry_at),
        "last_synced_at": time(row.last_synced_at),
        "last_sync_failure": row.last_sync_failure,
        "pending_since": time(row.pending_since),
        "full_sync": row.full_sync,
        "created_at": time(row.created_at),
    }


def reference(row: Reference) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": "tag" if row.is_tag else "digest",
        "state": row.state,
        "state_name": SyncState(row.state).name.lower(),
        "in_scope": row.in_scope,
        "desired_digest": row.desired_digest,
        "observed_digest": row.observed_digest,
        "drift_digest": row.drift_digest,
        "drift_since": time(row.drift_since),
        "media_type": row.media_type,
        "trigger": row.trigger,
        "event_id": row.event_id,
        "event_at": time(row.event_at),
        "pending_since": time(row.pending_since),
        "retry_count": row.retry_count,
        "retry_at": time(row.retry_at),
        "failure": row.failure,
        "failure_reason": row.failure_reason,
        "synced_at": time(row.synced_at),
        "created_at": time(row.created_at),
    }


def attempt(row: SyncAttempt) -> dict[str, Any]:
    return {
        "id": row.id,
        "reference": row.reference,
        "action": row.action,
        "trigger": row.trigger,
        "event_id": row.event_id,
        "outcome": row.outcome,
        "reason": row.reason,
        "message": row.message,
        "old_digest": row.old_digest,
        "new_digest": row.new_digest,
        "bytes_copied": row.bytes_copied,
        "lag_seconds": row.lag_seconds,
        "worker": row.worker,
        "started_at": time(row.started_at),
        "finished_at": time(row.finished_at),
    }


def quarantined(row: QuarantinedEvent) -> dict[str, Any]:
    return {
        "id": row.id,
        "dialect": row.dialect,
        "reason": row.reason,
        "content_type": row.content_type,
        "remote_address": row.remote_address,
        "size": row.size,
        "occurrences": row.occurrences,
        "excerpt": row.excerpt,
        "created_at": time(row.created_at),
        "last_seen_at": time(row.last_seen_at),
    }
