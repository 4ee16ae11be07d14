"""Gauges: what the rows add up to, as Prometheus scrapes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily

from app.replication.status import SiteStatus, Status, status

#: Gauges of a remote site that are counted here.
_OURS = frozenset({"unread_events", "cursor_last_event_id"})


def gauges() -> Iterator[GaugeMetricFamily]:
    """GitLab's ten gauges for container repositories, and what an operator wants beside them."""
    whole = status()
    for name, text, value in (
        ("geo_container_repositories", "Repositories that a site has to hold", "total"),
        ("geo_container_repositories_registry", "Tracking rows of a site", "total"),
        ("geo_container_repositories_synced", "Repositories in sync", "synced"),
        ("geo_container_repositories_failed", "Repositories that failed to sync", "failed"),
        ("geo_container_repositories_pending", "Repositories waiting for a sync", "pending"),
        ("geo_container_repositories_started", "Repositories being synced now", "started"),
        (
            "geo_container_repositories_checksum_total",
            "Repositories to checksum on the primary",
            "verification_total",
        ),
        ("geo_container_repositories_checksummed", "Repositories checksummed on the primary", "checksummed"),
        (
            "geo_container_repositories_checksum_failed",
            "Repositories whose checksum failed on the primary",
            "checksum_failed",
        ),
        ("geo_container_repositories_verification_total", "Repositories to verify on a site", "verification_total"),
        ("geo_container_repositories_verified", "Repositories verified on a site", "verified"),
        (
            "geo_container_repositories_verification_failed",
            "Repositories whose verification failed on a site",
            "verification_failed",
        ),
        (
            "geo_container_repositories_out_of_scope",
            "Repositories that a site replicated once and does not any more",
            "out_of_scope",
        ),
        ("geo_references", "Tags that a site has to hold", "references"),
        (
            "geo_references_out_of_scope",
            "Tags that a site replicated once and does not any more",
            "references_out_of_scope",
        ),
        ("geo_references_synced", "Tags in sync", "references_synced"),
        ("geo_references_failed", "Tags that failed to sync", "references_failed"),
        ("geo_drift_references", "Tags on a site that are not ours and were left alone", "drift"),
        ("geo_unread_events", "Events that a site's cursor has not read", "unread_events"),
        ("geo_cursor_last_event_id", "The last event that a site's cursor has read", "cursor_last_event_id"),
        ("geo_oldest_pending_seconds", "How long the oldest unsynced tag has been waiting", "oldest_pending_seconds"),
    ):
        family = GaugeMetricFamily(name, text, labels=("name", "url"))
        for site in whole.sites:
            if value in _OURS or _is_of_now(site):
                family.add_metric((site.name, site.url), getattr(site, value))
        yield family
    yield from _of_some(whole)
    yield _single("geo_last_event_id", "The newest event in the log", whole.last_event_id)
    if whole.last_event_at is not None:
        yield _single("geo_last_event_timestamp", "When the newest event happened", whole.last_event_at.timestamp())
    yield _single("geo_quarantined_events", "Notifications that could not be read", whole.quarantined)
    if whole.scheduler_seconds is not None:
        yield _single("geo_scheduler_heartbeat_age_seconds", "Since the scheduler last acted", whole.scheduler_seconds)


def _of_some(whole: Status) -> Iterator[GaugeMetricFamily]:
    """Gauges that not every site has."""
    wanted: tuple[tuple[str, str, Callable[[SiteStatus], float | None]], ...] = (
        (
            "geo_site_report_age_seconds",
            "Since a site with a deployment of its own last reported its status",
            lambda site: None if site.report is None else site.report.age_seconds,
        ),
        (
            "geo_backfill_left_repositories",
            "Repositories that the last look at everything has left",
            lambda site: None if site.backfill is None or not _is_of_now(site) else site.backfill.left,
        ),
        (
            "geo_deletions_held",
            "Deletions that wait for a person's consent",
            lambda site: None if site.remote else site.deletions_held,
        ),
        (
            "geo_follower_behind_events",
            "Events of the primary's log that are not here yet",
            lambda site: None if site.follower is None else site.follower.behind,
        ),
        (
            "geo_follower_failing_seconds",
            "Since when the primary's log cannot be read",
            lambda site: None if site.follower is None else site.follower.failing_seconds,
        ),
    )
    for name, text, of in wanted:
        family = GaugeMetricFamily(name, text, labels=("name", "url"))
        for site in whole.sites:
            value = of(site)
            if value is not None:
                family.add_metric((site.name, site.url), value)
        yield family


def _is_of_now(site: SiteStatus) -> bool:
    """Whether its numbers are: an old report in a graph would pass for a new one."""
    return not site.remote or (site.report is not None and not site.report.stale)


def _single(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
