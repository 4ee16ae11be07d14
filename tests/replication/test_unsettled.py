"""What is to be taken up is found in indexes of nothing else, in the order in which it is taken."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from app.database import connection, database, is_sqlite, now, transaction
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Site, SyncState, VerificationState
from app.replication import claim, event_log, marking
from app.replication.unsettled import taken_up, unsettled, unverified
from app.replication.verification import claim as verifications
from tests.support.deployment import Deployment

pytestmark = pytest.mark.timeout(60)

UNSETTLED, UNVERIFIED = (f"container_repository_registry_{name}" for name in ("unsettled", "unverified"))


def rows_for(state: Deployment, number: int) -> list[int]:
    with transaction():
        ids = event_log.repository_ids([f"team/app{place}" for place in range(number)], now())
    return marking.mark_full(state.fresh_site(), list(ids.values()), priority=marking.BACKFILL)


def plans(work: Callable[[], object]) -> list[str]:
    """What the database does for each statement on tracking rows that the work makes."""
    noted = []
    execute = database.obj.execute_sql

    def noting(sql: str, params: object = None, *rest: object) -> object:
        noted.append((sql, params))
        return execute(sql, params, *rest)

    database.obj.execute_sql = noting
    try:
        work()
    finally:
        del database.obj.execute_sql
    wanted = [(sql, params) for sql, params in noted if '"container_repository_registry"' in sql]
    with connection(), database.atomic():
        explain = "EXPLAIN QUERY PLAN "
        if not is_sqlite():
            # Of a few hundred rows it rather reads them all: what is asked is whether it need not.
            database.execute_sql("SET LOCAL enable_seqscan = off")
            explain = "EXPLAIN (COSTS OFF) "
        return [
            "\n".join(str(row[-1]) for row in database.execute_sql(explain + sql, params).fetchall())
            for sql, params in wanted
            if sql.startswith(("SELECT", "WITH"))
        ]


def test_each_state_is_told_apart(state: Deployment) -> None:
    # Given a row in every state of both kinds, in scope and out of it
    ids = rows_for(state, len(SyncState) * len(VerificationState) * 2)
    kinds = [(a, b, c) for a in SyncState for b in VerificationState for c in (True, False)]
    with connection():
        for registry_id, (sync, verification, in_scope) in zip(ids, kinds, strict=True):
            values = {"state": sync, "verification_state": verification, "in_scope": in_scope}
            Registry.update(**values).where(Registry.id == registry_id).execute()

        # When, then
        found = {(r.state, r.verification_state, r.in_scope) for r in Registry.select().where(unsettled())}
        assert found == {kind for kind in kinds if kind[2] and kind[0] != SyncState.SYNCED}
        found = {(r.state, r.verification_state, r.in_scope) for r in Registry.select().where(unverified())}
        settled = {VerificationState.SUCCEEDED, VerificationState.DISABLED}
        synced = {SyncState.SYNCED, SyncState.FAILED}
        assert found == {kind for kind in kinds if kind[2] and kind[0] in synced and kind[1] not in settled}


def test_a_paused_site_is_not_taken_up(state: Deployment) -> None:
    with connection():
        assert [site.id for site in taken_up()] == [state.site.id]
        for values in ({"enabled": False}, {"enabled": True, "retired": True}):
            Site.update(**values).where(Site.id == state.site.id).execute()
            assert list(taken_up()) == []


def test_a_claim_reads_no_row_that_does_not_wait(state: Deployment) -> None:
    # Given many rows, most of which wait for nobody
    ids = rows_for(state, 400)
    settings = state.context.settings
    with connection():
        Registry.update(state=SyncState.SYNCED, verification_state=VerificationState.SUCCEEDED).where(
            Registry.id.in_(ids[10:])
        ).execute()
        Registry.update(state=SyncState.SYNCED).where(Registry.id.in_(ids[:5])).execute()
        database.execute_sql("ANALYZE")

    # When they are claimed and counted, then each time the database goes through what waits alone
    for work, index in (
        (lambda: claim.claim_next(settings), UNSETTLED),
        (lambda: claim.count_due(32), UNSETTLED),
        (lambda: verifications.claim_next(settings), UNVERIFIED),
    ):
        first, *_ = plans(work)
        assert index in first
        assert "TEMP B-TREE" not in first
        assert "Sort" not in first


def test_a_claim_on_sqlite_needs_no_statistics(state: Deployment) -> None:
    """It makes none by itself."""
    if not is_sqlite():
        return
    rows_for(state, 3)
    (look, *_) = plans(lambda: claim.claim_next(state.context.settings))
    assert UNSETTLED in look
    assert "TEMP B-TREE" not in look


def test_who_waits_for_another_try_is_not_counted(state: Deployment) -> None:
    # Given rows that failed, of which one's time has come
    ids = rows_for(state, 3)
    with connection():
        later, past = now() + timedelta(hours=1), now() - timedelta(seconds=1)
        Registry.update(state=SyncState.FAILED, retry_at=later).execute()
        Registry.update(retry_at=past).where(Registry.id == ids[1]).execute()

    # When, then
    assert state.due() == 1
    taken = state.take()
    assert taken is not None
    assert taken.registry_id == ids[1]
    assert state.take() is None
