"""Events of the log, and what could not become one, as JSON."""

from __future__ import annotations

from typing import Any

from app.api.representations import time
from app.models import Event, QuarantinedEvent


def event(row: Event) -> dict[str, Any]:
    return {
        "id": row.id,
        "key": row.event_key,
        "replicable_name": row.replicable_name,
        "event_name": row.event_name,
        "container_repository_id": row.container_repository_id,
        "path": row.container_repository.path,
        "action": row.action,
        "tag": row.tag,
        "digest": row.digest,
        "media_type": row.media_type,
        "occurred_at": time(row.occurred_at),
        "actor": row.actor,
        "user_agent": row.user_agent,
        "source_instance_id": row.source_instance_id,
        "correlation_id": row.correlation_id,
        "created_at": time(row.created_at),
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
