"""What tests of the scheduler share: wakes that are counted, and a site that owes no backfill."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.database import connection
from app.models import Site
from app.replication.context import Nobody
from tests.support.deployment import Deployment


@dataclass
class Wakes(Nobody):
    failures: int = 0
    events_sent: int = 0
    rows_sent: list[int] = field(default_factory=list)
    bulk_sent: list[tuple[int, int]] = field(default_factory=list)
    verifications_sent: list[int] = field(default_factory=list)

    def events(self) -> None:
        self.events_sent += 1

    def rows(self, count: int) -> None:
        self.rows_sent.append(count)

    def bulk(self, count: int, busy: int = 0) -> None:
        self.bulk_sent.append((count, busy))

    def verifications(self, count: int) -> None:
        self.verifications_sent.append(count)


def settle_reconcile(state: Deployment) -> None:
    """The new site's backfill is not what these tests are about."""
    with connection():
        Site.update(reconcile_requested_at=None, reconcile_reason=None).execute()
