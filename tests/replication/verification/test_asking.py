"""What becomes due, on both databases, against registries that nothing is asked of."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Site, SyncState, VerificationState
from app.replication import gauges, status
from app.replication.verification import asking
from app.replication.verification import claim as claims
from app.replication.verification.claim import Verdict, Verifying
from app.settings import Settings
from app.settings import VerificationLevel as Level
from tests.support.deployment import Deployment, offline_environment


def rows(state: Deployment, *names: str, **values: Any) -> None:
    """Tracking rows that are in sync."""
    for name in names:
        state.event("push", name, "v1")
    state.mark()
    with connection():
        Registry.update(state=SyncState.SYNCED, **values).execute()


def settings(**env: str) -> Settings:
    return Settings.from_env(offline_environment("sqlite:///unused/geo.db", **env))


def states(state: Deployment) -> list[int]:
    with connection():
        return [row.verification_state for row in Registry.select().order_by(Registry.id)]


def claim(wanted: Settings) -> Verifying:
    found = claims.claim_next(wanted)
    assert found is not None
    return found


def test_what_waits_for_a_sync_is_not_verified(state: Deployment) -> None:
    rows(state, "team/app")
    wanted = settings()
    with connection():
        for busy in (SyncState.PENDING, SyncState.STARTED):
            Registry.update(state=busy).execute()
            assert claims.count_due(wanted, 10) == 0
        for settled in (SyncState.SYNCED, SyncState.FAILED):
            Registry.update(state=settled).execute()
            assert claims.count_due(wanted, 10) == 1
        Site.update(enabled=False).where(~Site.primary).execute()
        assert claims.count_due(wanted, 10) == 0


def test_what_was_just_brought_goes_before_what_is_only_looked_at_again(state: Deployment) -> None:
    rows(state, "team/old", "team/new")
    asking.reverify(state.row("team/old").id, Level.CONTENT)
    first, second = claim(settings()), claim(settings())
    assert (first.path, first.full, first.level) == ("team/new", False, Level.MANIFESTS)
    assert (second.path, second.full, second.level) == ("team/old", True, Level.CONTENT)


def test_what_nobody_looked_at_for_the_interval_is_asked_for_longest_ago_first(
    state: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given rows that were verified at different times
    names = [f"team/app{number}" for number in range(5)]
    rows(state, *names, verification_state=VerificationState.SUCCEEDED)
    with connection():
        for days, name in enumerate(names, start=5):
            Registry.update(fully_verified_at=now() - timedelta(days=days)).where(
                Registry.id == state.row(name).id
            ).execute()
    monkeypatch.setattr(asking, "WAITING", 2)
    wanted = settings(GEO_VERIFICATION_INTERVAL="7d", GEO_VERIFICATION_INTERVAL_LEVEL="content")

    # When
    assert asking.ask_for_overdue(wanted) == 2

    # Then those first that waited longest, and no more until they are done
    assert asking.ask_for_overdue(wanted) == 0
    taken = [claim(wanted), claim(wanted)]
    assert {each.path for each in taken} == {names[3], names[4]}
    assert {(each.full, each.level) for each in taken} == {(True, Level.CONTENT)}
    for each in taken:
        assert claims.close(each, Verdict()) is VerificationState.SUCCEEDED
    assert asking.ask_for_overdue(wanted) == 1
    assert claim(wanted).path == names[2]
    assert asking.ask_for_overdue(wanted) == 0
    assert asking.ask_for_overdue(settings(GEO_VERIFICATION_INTERVAL="off")) == 0


def test_switched_off_rows_are_disabled_but_for_what_is_asked_for(state: Deployment) -> None:
    # Given
    rows(state, "team/app", "team/asked")
    asking.reverify(state.row("team/asked").id, Level.TAGS)
    off = settings(GEO_VERIFICATION="off", GEO_VERIFICATION_INTERVAL="off")

    # When
    asking.switch(off)

    # Then
    assert states(state) == [VerificationState.DISABLED, VerificationState.PENDING]
    with connection():
        assert status.status().sites[0].verification_total == 1
    assert claim(off).path == "team/asked"
    assert claims.claim_next(off) is None

    # And switched on again they wait
    asking.switch(settings())
    assert states(state) == [VerificationState.PENDING, VerificationState.STARTED]


def test_without_verification_after_a_sync_everything_is_still_looked_at_in_turn(state: Deployment) -> None:
    rows(state, "team/app")
    wanted = settings(GEO_VERIFICATION="off")
    asking.switch(wanted)
    assert claims.claim_next(wanted) is None
    assert asking.ask_for_overdue(wanted) == 1
    found = claim(wanted)
    assert (found.full, found.level) == (True, Level.BLOBS)


def test_a_failure_waits_longer_each_time_and_asking_overrules_it(state: Deployment) -> None:
    rows(state, "team/app")
    wanted, waits = settings(), []
    for _ in range(4):
        held = claim(wanted)
        assert claims.close(held, Verdict("gone", "mismatch")) is VerificationState.FAILED
        row = state.row("team/app")
        with connection():
            waits.append((row.verification_retry_at - now()).total_seconds())
        assert claims.claim_next(wanted) is None
        asking.reverify(row.id, Level.TAGS)
    assert row.verification_retry_count == 4
    assert waits[3] > 2 * waits[0]
    assert claims.close(claim(wanted), Verdict()) is VerificationState.SUCCEEDED
    row = state.row("team/app")
    assert (row.verification_retry_count, row.verification_failure) == (0, None)


def test_a_repository_is_found_by_its_path(state: Deployment) -> None:
    rows(state, "team/app")
    site = state.fresh_site()
    assert asking.find(site, "/team/app/") == state.row("team/app").id
    with pytest.raises(asking.NotTracked, match="geo sync team/none"):
        asking.find(site, "team/none")
    with pytest.raises(ValueError, match=r"no.* a repository path"):
        asking.find(site, "Team:v1")


def test_status_and_gauges_count_it(state: Deployment) -> None:
    # Given
    rows(state, "team/whole", "team/broken", "team/waiting", "team/untold")
    for _ in range(4):
        held = claim(settings())
        verdict = {
            "team/whole": Verdict(),
            "team/broken": Verdict("a blob is gone", "mismatch"),
            "team/untold": Verdict("the primary is silent", "primary_timeout", complete=False),
        }.get(held.path)
        if verdict is None:
            claims.release(held)
            with connection():
                Registry.update(verification_retry_at=now() + timedelta(hours=1)).where(
                    Registry.id == held.registry_id
                ).execute()
        else:
            claims.close(held, verdict)

    # When
    with connection():
        (site,) = status.status().sites
        families = {family.name: family.samples[0].value for family in gauges.gauges() if family.samples}

    # Then
    assert (site.verification_total, site.verified, site.verification_failed, site.checksum_failed) == (4, 1, 2, 1)
    assert site.verified_percent == 25
    assert site.first_verification_failure in {"a blob is gone", "the primary is silent"}
    assert families["geo_container_repositories_verification_total"] == 4
    assert families["geo_container_repositories_verified"] == 1
    assert families["geo_container_repositories_verification_failed"] == 2
    assert families["geo_container_repositories_checksum_failed"] == 1
