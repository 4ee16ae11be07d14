"""Pruning: what a site has not read stays."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.database import connection
from app.models import Cursor
from app.replication import event_log
from tests.replication.event_log.stage import insert, names, read_tags
from tests.support.deployment import Deployment, event
from tests.support.sessions import Session

#: A thread that waits for another transaction waits for ever; a test that hangs fails soon.
pytestmark = pytest.mark.timeout(40)


def test_pruning_keeps_what_a_site_has_not_read(state: Deployment) -> None:
    # Given two events read and one not
    state.store(event(tag="v1"), event(tag="v2"))
    state.mark()
    state.store(event(tag="v3"))

    # When everything old enough is pruned, and all is
    event_log.prune(timedelta(seconds=-1))

    # Then the unread one stays
    assert names() == ["v3"]


def test_pruning_keeps_what_is_young_and_goes_by_portions(state: Deployment) -> None:
    state.store(*(event(tag=f"v{number}") for number in range(5)))
    state.mark()
    assert event_log.prune(timedelta(hours=1)) == 0
    assert event_log.prune(timedelta(seconds=-1), limit=3) == 3
    assert names() == ["v3", "v4"]


def test_pruning_keeps_what_comes_after_a_gap(postgresql: Deployment) -> None:
    with Session() as late:
        # Given a cursor that has read beyond an event that is not committed yet
        late.begin()
        insert(late, "late")
        postgresql.store(event(tag="v1"))
        assert read_tags(postgresql) == ["v1"]

        # When the log is pruned
        event_log.prune(timedelta(seconds=-1))
        late.commit()

    # Then the late event is still read
    assert read_tags(postgresql) == ["late"]


def test_without_a_site_everything_old_is_pruned(state: Deployment) -> None:
    with connection():
        Cursor.delete().execute()
    state.store(event(tag="v1"))
    assert event_log.prune(timedelta(seconds=-1)) == 1
