"""Rows as JSON: GitLab's field names where GitLab has the thing, the columns' own names otherwise."""

from __future__ import annotations

from datetime import UTC, datetime


def time(instant: datetime | None) -> str | None:
    """ISO 8601 in UTC, with milliseconds."""
    return (
        None if instant is None else instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def epoch(instant: datetime | None) -> int | None:
    """Seconds since 1970, as GitLab tells them of events."""
    return None if instant is None else int(instant.timestamp())
