from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from app.database import connection, database, now
from app.models import ContainerRepository, Reference, Site, SyncState, VerificationState
from app.models import ContainerRepositoryRegistry as Registry
from app.replication import bulk, marking, replicator
from app.replication.context import Context
from app.replication.narrowing import Filter
from app.settings import VerificationLevel
from tests.support.face import SITE, Face
from tests.support.seed import Seeded, seed


@pytest.fixture
def rows(installation: Face) -> Seeded:
    return seed(installation.site, synced=3)


@pytest.fixture
def context(installation: Face) -> Context:
    found: Context = installation.app.extensions["geo"]
    return found


def full_syncs() -> set[str]:
    """Paths of which a full sync was asked for since they were seeded."""
    with connection():
        asked = Registry.select(Registry, ContainerRepository).join(ContainerRepository)
        return {row.container_repository.path for row in asked.where(Registry.full_sync_requested_at.is_null(False))}


FILTERS = [
    (Filter(), 8),
    (Filter(state=SyncState.FAILED), 2),
    (Filter(state=SyncState.SYNCED, search="team-"), 3),
    (Filter(verification=VerificationState.FAILED), 1),
    (Filter(site=SITE, search="nginx"), 1),
    (Filter(site="nowhere"), 0),
]


@pytest.mark.parametrize(("narrow", "number"), FILTERS)
def test_a_full_sync_of_all_that_match(
    installation: Face, rows: Seeded, context: Context, narrow: Filter, number: int
) -> None:
    with connection():
        Registry.update(verification_state=VerificationState.FAILED).where(Registry.id == rows.synced.id).execute()
    # When it is counted, and then asked for
    assert bulk.count(narrow) == number
    assert bulk.resync(narrow, context) == number
    # Then exactly those are due for it, and workers were woken
    assert len(full_syncs()) == number
    assert sum(installation.wake.woken) == number
    with connection():
        due = Registry.select().where(Registry.full_sync_requested_at.is_null(False))
        assert {row.state for row in due} <= {SyncState.PENDING, SyncState.STARTED}
        assert all(row.retry_at is None and row.priority <= marking.MANUAL for row in due)


def test_what_failed_in_them_is_tried_once_more(rows: Seeded, context: Context) -> None:
    bulk.resync(Filter(search="team/app"), context)
    with connection():
        references = {row.name: row for row in Reference.select().where(Reference.registry == rows.failed.id)}
        others = Reference.select().where(Reference.registry == rows.hostile.id).get()
    assert references["latest"].state == SyncState.PENDING
    assert (references["latest"].retry_at, references["latest"].trigger) == (None, "manual")
    assert references["stable"].state == SyncState.SYNCED
    assert others.state == SyncState.FAILED


def test_a_repair_stays_one(rows: Seeded, context: Context) -> None:
    with connection():
        Reference.update(trigger="repair").where(Reference.name == "latest").execute()
    bulk.resync(Filter(state=SyncState.FAILED), context)
    with connection():
        assert Reference.get(Reference.name == "latest").trigger == "repair"


def test_what_nobody_could_take_up_is_left_alone(installation: Face, rows: Seeded, context: Context) -> None:
    # Given one repository out of scope, and a site that is no longer this deployment's
    with connection():
        Registry.update(in_scope=False).where(Registry.id == rows.synced.id).execute()
        created = installation.site.created_at
        gone = Site.create(name="gone", url="http://gone", retired=True, created_at=created, updated_at=created)
        Registry.create(site=gone, container_repository=rows.synced.container_repository_id, created_at=created)
    # Then they are neither counted nor marked
    assert bulk.count(Filter()) == bulk.resync(Filter(), context) == bulk.reverify(Filter(), context) == 7
    assert "library/nginx" not in full_syncs()


@pytest.mark.parametrize("level", [None, VerificationLevel.CONTENT])
def test_a_verification_of_all_that_match(rows: Seeded, context: Context, level: VerificationLevel | None) -> None:
    # Given one that failed and waits for its next try
    with connection():
        later = now() + timedelta(days=1)
        failed = {"verification_state": VerificationState.FAILED, "verification_retry_at": later}
        Registry.update(failed).where(Registry.id == rows.synced.id).execute()
    # When
    assert bulk.reverify(Filter(verification=VerificationState.FAILED), context, level) == 1
    # Then it is due at once, as far as was asked
    with connection():
        asked = Registry.select().where(Registry.verification_full)
        assert [row.id for row in asked] == [rows.synced.id]
        assert (asked[0].verification_state, asked[0].verification_retry_at) == (VerificationState.PENDING, None)
        assert asked[0].verification_requested_level == (level or VerificationLevel.BLOBS).value


def test_no_transaction_writes_more_than_some(rows: Seeded, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a repository in which many tags failed, and transactions of few rows
    monkeypatch.setattr(replicator, "MAX_ROWS", 50)
    with connection():
        created = rows.synced.created_at
        many = [
            {
                "registry": rows.synced.id,
                "name": f"broken-{number:04}",
                "is_tag": True,
                "state": SyncState.FAILED,
                "retry_at": created,
                "created_at": created,
            }
            for number in range(420)
        ]
        Reference.insert_many(many).execute()
    marked: list[int] = []
    real = replicator._try_again

    def counted(ids: list[int]) -> None:
        assert database.in_transaction()
        marked.append(len(ids))
        real(ids)

    monkeypatch.setattr(replicator, "_try_again", counted)
    # When a full sync is asked for
    assert bulk.resync(Filter(search="nginx"), context) == 1
    # Then all are tried again, and no transaction had more than those few
    assert (sum(marked), max(marked)) == (420, 50)
    with connection():
        left = Reference.select().where((Reference.registry == rows.synced.id) & (Reference.state == SyncState.FAILED))
        assert left.count() == 0


def test_a_push_does_not_wait_for_all_of_them(
    installation: Face, rows: Seeded, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a bulk request that is halfway
    halfway, go_on = threading.Event(), threading.Event()

    class Halting(type(installation.wake)):  # type: ignore[misc]
        def bulk(self, count: int, busy: int = 0) -> None:
            halfway.set()
            assert go_on.wait(30)

    context.wake = Halting()
    asking = threading.Thread(target=bulk.resync, args=(Filter(), context))
    asking.start()
    assert halfway.wait(30)
    # Then somebody else can write meanwhile
    try:
        with connection():
            Reference.update(failure="x").where(Reference.name == "stable").execute()
    finally:
        go_on.set()
        asking.join(30)


def test_a_verification_of_those_that_failed_or_could_not_tell(
    installation: Face, rows: Seeded, context: Context
) -> None:
    # Given one that is not whole, and one of which it could not be told
    with connection():
        failed = {"verification_state": VerificationState.FAILED}
        Registry.update(failed).where(Registry.id == rows.synced.id).execute()
        Registry.update(verification_retry_count=1).where(Registry.id == rows.failed.id).execute()

    # When those are asked for
    assert bulk.reverify_failed(installation.site, context, VerificationLevel.TAGS) == 2

    # Then they alone are due, as far as was asked, and a worker was woken for each
    with connection():
        asked = {
            row.id: row.verification_requested_level for row in Registry.select().where(Registry.verification_full)
        }
    assert asked == {rows.synced.id: "tags", rows.failed.id: "tags"}
    assert installation.wake.verifying == [2]


def test_those_that_failed_or_in_which_a_tag_did(installation: Face, rows: Seeded, context: Context) -> None:
    # Given a repository that is in sync but for a digest without a tag
    with connection():
        created = rows.synced.created_at
        lone = "sha256:" + "1" * 64
        failed = {"state": SyncState.FAILED, "retry_at": created, "created_at": created}
        Reference.create(registry=rows.synced.id, name=lone, is_tag=False, **failed)
    # When those that failed are asked for
    ids = bulk.resync_failed(installation.site, context)
    # Then it is among them
    assert set(ids) == {rows.synced.id, rows.failed.id, rows.hostile.id}
    assert full_syncs() == {"library/nginx", "team/app", "hostile/strings"}
