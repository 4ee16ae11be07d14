"""A site's report, as a deployment of its own makes one that is well."""

from __future__ import annotations

from datetime import UTC, datetime

from app.replication.level import Level
from app.replication.progress import Backfill
from app.replication.site_reports import FEED, Report
from app.settings import Deletion, VerificationLevel

REPORT = Report(
    name="berlin",
    url="https://registry.berlin.example.com",
    version="1.0",
    level=Level.HEALTHY,
    headline="In sync",
    advice="",
    follows=FEED,
    enabled=True,
    replication_enabled=True,
    total=10,
    pending=1,
    started=0,
    synced=8,
    failed=1,
    references=30,
    references_synced=28,
    references_failed=2,
    drift=1,
    out_of_scope=0,
    references_out_of_scope=0,
    verification_total=10,
    verified=7,
    verification_failed=1,
    checksummed=8,
    checksum_failed=0,
    oldest_pending_seconds=12.5,
    last_synced_at=datetime(2026, 7, 1, tzinfo=UTC),
    first_failure="team/app:v1 (denied)",
    first_verification_failure=None,
    repositories=("team/**",),
    tags=("v*",),
    capacity=4,
    deletion=Deletion.TAGS,
    protected_tags=("stable",),
    verification=VerificationLevel.MANIFESTS,
    position=None,
    backfill=Backfill(datetime(2026, 7, 1, tzinfo=UTC), finding=False, found=10, left=1, failed=1, ends_at=None),
)
