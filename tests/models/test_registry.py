"""The tracking row, as a person at the console meets it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from peewee import DoesNotExist

from app.database import connection
from app.models import ContainerRepositoryRegistry, Event
from app.models import ContainerRepositoryRegistry as Registry
from app.replication.replicator import Replicator
from tests.support.deployment import Deployment, offline_environment


@pytest.fixture
def row(database_url: str) -> Iterator[Registry]:
    deployment = Deployment.start(offline_environment(database_url))
    deployment.event("push", "team/app", "v1")
    deployment.mark()
    yield deployment.row("team/app")
    deployment.close()


def test_the_lines_of_the_seed(row: Registry) -> None:
    assert ContainerRepositoryRegistry.replication_enabled()
    with connection():
        (found,) = Event.select().where(Event.replicable_name == "container_repository")
        assert found.event_name == "updated"
        first = ContainerRepositoryRegistry.first()
        assert first == row
    assert isinstance(row.replicator, Replicator)
    shown = repr(row)
    for name in ("id", "container_repository_id", "state: 0", "retry_count: 0", "last_sync_failure", "last_synced_at"):
        assert name in shown


def test_reload_shows_what_others_wrote(row: Registry) -> None:
    with connection():
        Registry.update(state=3, last_sync_failure="broken").execute()
        assert row.state == 0
        assert row.reload() is row
        assert (row.state, row.last_sync_failure) == (3, "broken")
        assert row.container_repository.path == "team/app"

        # What was read is not written back with the next save.
        assert not row.dirty_fields
        Registry.delete().execute()
        with pytest.raises(DoesNotExist):
            row.reload()
