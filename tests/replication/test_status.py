from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.database import connection
from app.models import Site
from app.replication import brake, gauges, status
from tests.support import images
from tests.support.deployment import Deployment
from tests.support.registries import DistributionRegistry
from tests.support.wire import delete_digest, push


def test_a_site_is_counted_by_repository_and_by_tag(geo: Deployment, primary: DistributionRegistry) -> None:
    # Given a synced tag, and one whose image the primary does not have, asked for an hour ago
    digest = push(primary, "team/app", "v1", images.image())
    geo.event("push", "team/app", "v1", digest)
    geo.settle()
    asked = datetime.now(UTC) - timedelta(hours=1)
    geo.event("push", "team/missing", "v1", images.sha256(b"missing"), at=asked)
    geo.settle()

    # When everything is counted
    with connection():
        found = status.status()

    # Then repositories, tags and the oldest that waits are told
    (site,) = found.sites
    assert (site.total, site.synced, site.failed) == (2, 1, 1)
    assert (site.references, site.references_synced, site.references_failed) == (2, 1, 1)
    assert site.oldest_pending_at == asked
    assert 3600 <= site.oldest_pending_seconds < 3700
    assert site.first_failure is not None
    assert "team/missing" in site.first_failure
    assert (found.repositories, found.events, site.unread_events) == (2, 2, 0)


def test_every_gauge_of_gitlab_is_there_and_bounded(geo: Deployment) -> None:
    # Given
    names = (
        "geo_container_repositories",
        *(f"geo_container_repositories_{part}" for part in ("registry", "synced", "failed", "checksum_total")),
        *(f"geo_container_repositories_{part}" for part in ("checksummed", "checksum_failed", "verification_total")),
        *(f"geo_container_repositories_{part}" for part in ("verified", "verification_failed")),
    )

    # When
    with connection():
        found = {family.name: family for family in gauges.gauges()}

    # Then
    for name in names:
        assert [sorted(sample.labels) for sample in found[name].samples] == [["name", "url"]]


def test_deletions_that_wait_for_a_person_are_counted(geo: Deployment, primary: DistributionRegistry) -> None:
    # Given a replicated tag on a site where nothing may be deleted
    digest = push(primary, "team/app", "v1", images.image())
    geo.event("push", "team/app", "v1", digest)
    geo.settle()
    assert held() == [0]
    with connection():
        Site.update(deletions_held_because="it is new").where(~Site.primary).execute()

    # When it is deleted on the primary
    delete_digest(primary, "team/app", digest)
    geo.event("delete", "team/app", "v1")
    geo.settle()

    # Then it is counted until a person lets it pass
    assert held() == [1]
    brake.release(geo.fresh_site())
    assert held() == [0]


def held() -> list[float]:
    with connection():
        (family,) = [family for family in gauges.gauges() if family.name == "geo_deletions_held"]
    return [sample.value for sample in family.samples]
