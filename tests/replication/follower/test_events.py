"""Events and position move together, whoever reads."""

from __future__ import annotations

import pytest

from app.replication import event_log
from app.replication.log import Reset
from tests.replication.follower.stage import Recording, follower, nothing_asked, reading, reason, row, tags, told
from tests.support.deployment import Deployment

pytestmark = pytest.mark.timeout(60)


def test_it_begins_where_the_log_ends_and_asks_for_a_backfill(state: Deployment) -> None:
    one, log = follower(state, reading("p0"), reading("p1", [told(7, "v1")]))
    one.step()
    assert (log.asked, row().position) == ([None], "p0")
    assert "followed from here" in reason(state)
    one.step()
    assert (log.asked, row().position) == ([None, "p0"], "p1")


def test_events_are_in_our_own_log_and_are_work_at_once(state: Deployment) -> None:
    # Given a follower that has begun
    woken: list[int] = []
    state.context.wake = Recording(woken)
    one, _ = follower(state, reading("p0"), reading("p1", [told(7, "v1"), told(9, "v2")]))
    one.step()

    # When events come
    one.step()

    # Then they are in our log as they were, marked, and a worker is woken
    assert tags() == ["v1", "v2"]
    assert set(state.references("team/app")) == {"v1", "v2"}
    assert woken == [1]
    assert (row().last_event_id, row().source_last_event_id) == (9, 9)


def test_an_event_that_is_told_twice_is_stored_once(state: Deployment) -> None:
    one, _ = follower(
        state, reading("p0"), reading("p1", [told(7, "v1")]), reading("p2", [told(7, "v1"), told(8, "v2")])
    )
    for _ in range(3):
        one.step()
    assert tags() == ["v1", "v2"]
    assert row().position == "p2"


def test_the_position_does_not_move_without_its_events(state: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a follower whose events cannot be written
    one, _ = follower(state, reading("p0"), reading("p1", [told(7, "v1")]))
    one.step()

    def fail(*_: object) -> int:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(event_log, "append", fail)
        with pytest.raises(ZeroDivisionError):
            one.step()

    # Then it stands where it was
    assert (row().position, tags()) == ("p0", [])


def test_of_two_that_read_at_once_one_writes(state: Deployment) -> None:
    # Given two followers, the first of which stands still while it has read
    one, log = follower(state, reading("p0"), reading("p1", [told(7, "v1")]))
    one.step()
    other, _ = follower(state, reading("q1", [told(7, "v1")]), reading("q2", [told(8, "v2")]))

    def meanwhile() -> None:
        other.step()
        other.step()

    # When the other reads on meanwhile
    log.before = meanwhile
    one.step()

    # Then what the first has read changes nothing
    assert row().position == "q2"
    assert tags() == ["v1", "v2"]


def test_what_was_missed_is_left_to_a_backfill_and_said(state: Deployment) -> None:
    lost = Reset("pruned", "the event log was pruned up to 9, and was read up to 3")
    one, _ = follower(state, reading("p0"), reading("p9", reset=lost), reading("p10", [told(12, "v1")]))
    one.step()
    nothing_asked()
    one.step()
    assert reason(state) == lost.message
    assert (row().position, row().reset_reason) == ("p9", lost.message)
    one.step()
    assert tags() == ["v1"]


def test_an_event_of_a_kind_that_we_do_not_know_stops_nothing(state: Deployment) -> None:
    one, _ = follower(state, reading("p0"), reading("p1", [told(7, "v1", action="rename"), told(8, "v2")]))
    one.step()
    one.step()
    assert tags() == ["v2"]
    assert "could not be read" in reason(state)
