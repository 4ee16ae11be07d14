"""Retention: what is old is forgotten portion by portion, and what is not stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Event, SyncAttempt
from app.replication import retention
from tests.support.deployment import Deployment, event

pytestmark = pytest.mark.timeout(60)

OLD = datetime.now(UTC) - timedelta(days=40)


@pytest.fixture
def portions(monkeypatch: pytest.MonkeyPatch) -> int:
    """Few at a time, so that there are several portions."""
    monkeypatch.setattr(retention, "MAX_ROWS", 4)
    return 4


def remembered(state: Deployment, number: int) -> None:
    """So many events and attempts, all old, and one of each that is not."""
    state.store(*(event(tag=f"v{place}") for place in range(number + 1)))
    state.mark()
    row = state.row("team/app")
    times = {"started_at": OLD, "finished_at": OLD}
    attempt = {"registry": row, "action": "copy", "trigger": "event", "outcome": "synced", "worker": "w", **times}
    with connection():
        Event.update(created_at=OLD).where(Event.tag != "v0").execute()
        SyncAttempt.insert_many([{**attempt, "reference": f"v{place + 1}"} for place in range(number)]).execute()
        recent = datetime.now(UTC)
        SyncAttempt.create(**{**attempt, "reference": "v0", "started_at": recent, "finished_at": recent})


def left() -> tuple[list[str | None], list[str]]:
    with connection():
        return [each.tag for each in Event.select()], [each.reference for each in SyncAttempt.select()]


def test_all_that_is_old_goes_in_as_many_portions_as_it_takes(state: Deployment, portions: int) -> None:
    # Given more than one portion of each
    remembered(state, 3 * portions + 1)

    # When there is time for all of it, then nothing old is left
    assert retention.forget(lambda: 0.0, 1.0)
    assert left() == (["v0"], ["v0"])


def test_when_the_time_is_over_the_rest_is_left_for_later(state: Deployment, portions: int) -> None:
    # Given a clock by which a portion of each takes half the time that there is
    remembered(state, 3 * portions)
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.5
        return now

    # When it is done again and again, then each time a bit of both is forgotten, and in the end it says so
    assert not retention.forget(clock, 1.0)
    assert [len(each) for each in left()] == [portions + 1, portions + 1]
    times = 1
    while not retention.forget(clock, 1.0):
        times += 1
        assert times < 10
    assert left() == (["v0"], ["v0"])


def test_what_a_site_has_not_read_is_kept_for_it(state: Deployment, portions: int) -> None:
    # Given old events, of which a site has not read the last ones
    remembered(state, portions)
    state.store(*(event(tag=f"unread{place}") for place in range(2 * portions)))
    with connection():
        Event.update(created_at=OLD).where(Event.tag.startswith("unread")).execute()
        assert Registry.select().count() == 1

    # When, then it is no reason to go on for ever
    assert retention.forget(lambda: 0.0, 1.0)
    events, _ = left()
    assert events == ["v0", *(f"unread{place}" for place in range(2 * portions))]
