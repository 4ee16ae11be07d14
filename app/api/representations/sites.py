"""Sites, and how they are, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from app import __version__
from app.api.representations import epoch, time
from app.models import Site
from app.replication.capacity import capacity_of
from app.replication.health import Health
from app.replication.movements import Movement
from app.replication.progress import Backfill
from app.replication.running import Running
from app.replication.site_reports import Reported
from app.replication.status import SiteStatus, Status

#: GitLab's fields of a site that have no meaning here: what is replicated is said by patterns, and capacities of other
#: things there are not.
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

#: What GitLab tells of the primary alone, and of secondaries alone.
OF_THE_PRIMARY = (
    "container_repositories_checksum_total_count",
    "container_repositories_checksummed_count",
    "container_repositories_checksum_failed_count",
)
OF_A_SECONDARY = (
    "cursor_last_event_id",
    "cursor_last_event_timestamp",
    "container_repositories_registry_count",
    "container_repositories_synced_count",
    "container_repositories_failed_count",
    "container_repositories_synced_in_percentage",
    "container_repositories_verification_total_count",
    "container_repositories_verified_count",
    "container_repositories_verification_failed_count",
    "container_repositories_verified_in_percentage",
    "container_repositories_replication_enabled",
)

#: Of a status: there is no database replication beneath.
NOT_APPLICABLE_TO_A_STATUS = (
    "db_replication_lag_seconds",
    "revision",
    "selective_sync_type",
    "storage_shards_match",
    "missing_oauth_application",
)


def site(
    row: Site,
    *,
    current: bool,
    links: dict[str, str | None],
    details_url: str | None,
    progress: Backfill | None = None,
    reported: Reported | None = None,
) -> dict[str, Any]:
    """`reported` is what a site with a deployment of its own last said; of it come the settings there."""
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
        "container_repositories_max_capacity": capacity_of(row),
        "remote": row.remote,
        "deletion": row.deletion or None,
        "protected_tags": row.protected_tags.splitlines(),
        "verification": row.verification,
        "repositories": row.repositories.splitlines(),
        "tags": row.tags.splitlines(),
        "granted": _granted(row),
        "reported": None if reported is None else _reported(reported),
        "backfill": None if progress is None else backfill(progress),
        "_links": links,
    }


def _granted(row: Site) -> dict[str, Any] | None:
    """What the primary's deployment limits this one to; None where it does not."""
    scope = (row.granted_repositories, row.granted_tags, row.granted_capacity)
    if not any((*scope, row.granted_deletion, row.granted_protected_tags, row.granted_verification)):
        return None
    return {
        "repositories": row.granted_repositories.splitlines(),
        "tags": row.granted_tags.splitlines(),
        "container_repositories_max_capacity": row.granted_capacity,
        "deletion": row.granted_deletion,
        "protected_tags": row.granted_protected_tags.splitlines(),
        "verification": row.granted_verification,
    }


def _reported(last: Reported) -> dict[str, Any]:
    """What the site's own deployment says that it is set to."""
    said = last.report
    return {
        "at": time(last.received_at),
        "age_seconds": round(last.age_seconds, 3),
        "stale": last.stale,
        "url": said.url,
        "enabled": said.enabled,
        "follows": said.follows,
        "repositories": list(said.repositories),
        "tags": list(said.tags),
        "container_repositories_max_capacity": said.capacity,
        "deletion": said.deletion,
        "protected_tags": list(said.protected_tags),
        "verification": said.verification,
    }


def primary_status(row: Site, whole: Status, instant: datetime, links: dict[str, str]) -> dict[str, Any]:
    """What is known of the primary: what it has, not what others hold of it."""
    # Its tags are read for the sake of a site; of several, one of which most was looked at tells most.
    here = [counted for counted in whole.sites if not counted.remote]
    most = max(here, key=lambda counted: counted.verification_total, default=None)
    return {
        **_common(row, whole, instant),
        **dict.fromkeys(OF_A_SECONDARY),
        "healthy": True,
        "health": "Healthy",
        "health_status": "Healthy",
        "container_repositories_count": whole.repositories,
        "container_repositories_checksum_total_count": None if most is None else most.verification_total,
        "container_repositories_checksummed_count": None if most is None else most.checksummed,
        "container_repositories_checksum_failed_count": None if most is None else most.checksum_failed,
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
    under_way: Sequence[Running] | None,
) -> dict[str, Any]:
    """How a secondary is. Of one with a deployment of its own it is what that last reported, and null before; what is
    `under_way` there is not known, None."""
    told = {
        "container_repositories_count": counted.total,
        "container_repositories_registry_count": counted.total,
        "container_repositories_synced_count": counted.synced,
        "container_repositories_failed_count": counted.failed,
        "container_repositories_synced_in_percentage": f"{counted.synced_percent:.2f}%",
        "container_repositories_verification_total_count": counted.verification_total,
        "container_repositories_verified_count": counted.verified,
        "container_repositories_verification_failed_count": counted.verification_failed,
        "container_repositories_verified_in_percentage": f"{counted.verified_percent:.2f}%",
        "container_repositories_replication_enabled": replication_enabled,
        "container_repositories_pending_count": counted.pending,
        "container_repositories_started_count": counted.started,
        "container_repositories_out_of_scope_count": counted.out_of_scope,
        "references_count": counted.references,
        "references_synced_count": counted.references_synced,
        "references_failed_count": counted.references_failed,
        "references_drift_count": counted.drift,
        "references_out_of_scope_count": counted.references_out_of_scope,
        "oldest_pending_at": time(counted.oldest_pending_at),
        "oldest_pending_seconds": round(counted.oldest_pending_seconds, 3),
        "last_synced_at": time(counted.last_synced_at),
    }
    age: float | None = None
    seen: dict[str, Any] = {}
    if counted.remote:
        last = counted.report
        age = None if last is None else round(last.age_seconds, 3)
        told = dict.fromkeys(told) if last is None else told
        told["container_repositories_replication_enabled"] = None if last is None else last.report.replication_enabled
        seen = {
            "last_successful_status_check_timestamp": None if last is None else epoch(last.received_at),
            "updated_at": None if last is None else time(last.received_at),
            "version": None if last is None else last.report.version,
        }
    return {
        **_common(row, whole, instant),
        **dict.fromkeys(OF_THE_PRIMARY),
        **told,
        **seen,
        "healthy": health.healthy,
        "health": " ".join(filter(None, (f"{health.headline}.", health.advice))),
        "health_status": "Healthy" if health.healthy else "Unhealthy",
        "status_age_seconds": age if counted.remote else 0.0,
        "cursor_last_event_id": counted.cursor_last_event_id,
        "cursor_last_event_timestamp": epoch(counted.cursor_last_event_at),
        "unread_events_count": counted.unread_events,
        "backfill": None if counted.backfill is None else backfill(counted.backfill),
        "running": None if under_way is None else [running(each) for each in under_way],
        "_links": links,
    }


def running(sync: Running) -> dict[str, Any]:
    return {
        "id": sync.row.id,
        "path": sync.row.container_repository.path,
        "started_at": time(sync.since),
        "references_left_count": sync.left,
        "moved": None if sync.moved is None else moved(sync.moved),
    }


def moved(movement: Movement) -> dict[str, Any]:
    left = movement.seconds_left
    largest = {"digest": movement.digest, "bytes_done": movement.came, "bytes_total": movement.size}
    return {
        "bytes_done": movement.done,
        "bytes_total": movement.total,
        "bytes_per_second": None if movement.speed is None else round(movement.speed, 1),
        "remaining_seconds": None if left is None else round(left, 1),
        "largest_blob": None if movement.digest is None else largest,
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
        "last_event_timestamp": epoch(whole.last_event_at),
        "last_successful_status_check_timestamp": epoch(instant),
        "version": __version__,
        "namespaces": [],
        "updated_at": time(instant),
    }
