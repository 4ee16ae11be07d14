"""Tracking rows with their references, and what was tried for them, as JSON."""

from __future__ import annotations

from typing import Any

from app.api.representations import time
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, SyncAttempt, SyncState, VerificationState


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
        "verification_state": row.verification_state,
        "verification_state_name": VerificationState(row.verification_state).name.lower(),
        "verification_started_at": time(row.verification_started_at),
        "verified_at": time(row.verified_at),
        "verification_retry_count": row.verification_retry_count,
        "verification_retry_at": time(row.verification_retry_at),
        "verification_failure": row.verification_failure,
        "verification_checksum": row.verification_checksum,
        "verification_checksum_mismatched": row.verification_checksum_mismatched,
        "checksum_mismatch": row.checksum_mismatch,
        "verification_level": row.verification_level,
        "fully_verified_at": time(row.fully_verified_at),
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
        "correlation_id": row.correlation_id,
        "pending_since": time(row.pending_since),
        "retry_count": row.retry_count,
        "retry_at": time(row.retry_at),
        "failure": row.failure,
        "failure_reason": row.failure_reason,
        "synced_at": time(row.synced_at),
        "verified_digest": row.verified_digest,
        "verified_at": time(row.verified_at),
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
