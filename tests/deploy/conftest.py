from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.database import connection
from app.metrics import DEFINITIONS
from app.models import Lease
from app.replication.gauges import gauges as scraped
from app.replication.status import SCHEDULER
from tests.support.deployment import Deployment, offline_environment


@pytest.fixture
def exported(tmp_path: Path) -> frozenset[str]:
    """The names of all series that one scrape can have, those of histograms with their endings."""
    deployment = Deployment.start(offline_environment(f"sqlite:///{tmp_path}/geo.db"))
    # Two gauges appear once there is something to say.
    deployment.event("push", "team/app", "v1")
    with connection():
        Lease.insert(name=SCHEDULER, expires_at=datetime.now(UTC)).on_conflict_replace().execute()
        gauges = {family.name for family in scraped()}
    deployment.close()
    counters = {name for name, definition in DEFINITIONS.items() if not definition.buckets}
    histograms = DEFINITIONS.keys() - counters
    return frozenset(
        gauges | counters | {f"{name}_{part}" for name in histograms for part in ("bucket", "count", "sum")}
    )
