from __future__ import annotations

from datetime import timedelta

import pytest

from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, SyncState
from app.replication.running import Running, running
from tests.support.face import Face
from tests.support.seed import Seeded, seed


@pytest.fixture
def rows(installation: Face) -> Seeded:
    return seed(installation.site, synced=1)


def seen(installation: Face, limit: int = 5) -> list[Running]:
    with connection():
        return running(installation.site, limit)


def test_what_is_held_is_running_and_what_it_has_left_is_counted(installation: Face, rows: Seeded) -> None:
    # Given one that has five tags to do and one done
    with connection():
        for number in range(4):
            Reference.create(registry=rows.started, name=f"v{number}", is_tag=True, created_at=now())
        done = {"state": SyncState.SYNCED}
        Reference.create(registry=rows.started, name="done", is_tag=True, created_at=now(), **done)
    (found,) = seen(installation)
    # Then as many are left, and some of them named
    assert found.row.id == rows.started.id
    assert found.left == 5
    assert len(found.names) == 3
    assert "done" not in found.names


def test_what_a_killed_worker_left_behind_is_not_running(installation: Face, rows: Seeded) -> None:
    with connection():
        expired = now() - timedelta(seconds=1)
        Registry.update(lease_expires_at=expired).where(Registry.id == rows.started.id).execute()
    assert seen(installation) == []


def test_the_longest_come_first_and_no_more_than_asked_for(installation: Face, rows: Seeded) -> None:
    with connection():
        for place, row in enumerate((rows.failed, rows.synced, rows.started)):
            held = {"state": SyncState.STARTED, "lease_expires_at": now() + timedelta(seconds=40)}
            begun = now() - timedelta(minutes=place)
            Registry.update(started_at=begun, **held).where(Registry.id == row.id).execute()
    assert [each.row.id for each in seen(installation, limit=2)] == [rows.started.id, rows.synced.id]
