from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from app.replication.check import Examination, Finding, Id
from app.replication.check.finding import fine
from app.replication.check.turn import Busy, examine_in_turn
from app.settings import Settings
from tests.support.deployment import offline_environment

pytestmark = pytest.mark.timeout(60)


def examination(state: Path) -> Examination:
    settings = Settings.from_env(offline_environment("sqlite:///nowhere.db"))
    return Examination(replace(settings, state_directory=state))


def good(_: Examination) -> Sequence[Finding]:
    return [fine("good", "is")]


def test_what_there_is_no_time_for_is_said_to_be_skipped(tmp_path: Path) -> None:
    # Given a clock by which the first check takes all the time
    times = iter((0.0, 1.0, 26.0, 27.0))
    report = examine_in_turn(
        examination(tmp_path), {"first": good, "second": good, "third": good}, clock=lambda: next(times)
    )
    assert [finding.id for finding in report.findings] == [Id.FINE, Id.CHECK_SKIPPED, Id.CHECK_SKIPPED]


def test_a_check_has_no_more_time_than_is_left(tmp_path: Path) -> None:
    limits = []

    def limited(given: Examination) -> Sequence[Finding]:
        limits.append(given.limit)
        return []

    times = iter((0.0, 0.0, 20.0))
    examine_in_turn(examination(tmp_path), {"first": limited, "second": limited}, clock=lambda: next(times))
    assert limits == [25.0, 5.0]


@pytest.mark.parametrize("writable", [True, False])
def test_one_at_a_time_and_then_the_next(tmp_path: Path, writable: bool) -> None:
    # Given one that is under way, where a lock can be kept and where none can
    state = tmp_path / "state"
    if not writable:
        (tmp_path / "file").touch()
        state = tmp_path / "file" / "state"
    begun, over = threading.Event(), threading.Event()

    def waits(_: Examination) -> Sequence[Finding]:
        begun.set()
        over.wait(30)
        return []

    first = threading.Thread(target=examine_in_turn, args=(examination(state), {"first": waits}))
    first.start()
    try:
        assert begun.wait(10)
        # Then another is turned away
        with pytest.raises(Busy, match="already"):
            examine_in_turn(examination(state), {"second": good})
    finally:
        over.set()
        first.join()
    # And has its turn when that is over
    assert examine_in_turn(examination(state), {"second": good}).good


def test_where_no_lock_can_be_had_nobody_is_turned_away_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a file system that keeps no locks
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    # Then it is looked at all the same
    assert examine_in_turn(examination(tmp_path), {"good": good}).good
