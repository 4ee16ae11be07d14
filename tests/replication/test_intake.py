"""The intake: what comes at the same time is written together, and each is told what became of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from peewee import DataError, OperationalError

from app import correlation
from app.database import connection
from app.models import Event
from app.notifications import Quarantined, RegistryEvent
from app.replication import event_log
from app.replication.event_log import Origin, Stored
from app.replication.intake import SMALL, Intake
from tests.support.deployment import Deployment, event
from tests.support.sessions import at_once
from tests.support.wait import wait_until

pytestmark = pytest.mark.timeout(60)

ORIGIN = Origin("distribution", 0)


class Halting:
    """Notes what is written together, and has the first wait until it is let go on."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.together: list[list[str]] = []
        self.reached, self.go_on = threading.Event(), threading.Event()
        self._inner = event_log.store_together
        patch.setattr(event_log, "store_together", self._store)

    def _store(self, events: Sequence[RegistryEvent], occasions: dict[str, str | None]) -> set[str]:
        self.together.append([each.id for each in events])
        if len(self.together) == 1:
            self.reached.set()
            assert self.go_on.wait(30)
        return self._inner(events, occasions)


@contextmanager
def _behind(intake: Intake, halting: Halting, *others: list[RegistryEvent]) -> Iterator[list[Stored | Exception]]:
    """Have others come while one is being written; what became of all, the first at its end, in their order."""
    found: dict[int, Stored | Exception] = {}

    def bring(number: int, events: list[RegistryEvent]) -> None:
        try:
            with correlation.bound(f"occasion-{number}"):
                found[number] = intake.store(events, [], ORIGIN)
        except Exception as error:  # noqa: BLE001 - it is what is looked at
            found[number] = error

    threads = [threading.Thread(target=bring, args=(0, [event(tag="first", key="first")]))]
    threads[0].start()
    assert halting.reached.wait(30)
    for number, events in enumerate(others, 1):
        threads.append(threading.Thread(target=bring, args=(number, events)))
        threads[-1].start()
        wait_until(lambda number=number: len(intake._waiting) == number)  # type: ignore[misc]
    results: list[Stored | Exception] = []
    halting.go_on.set()
    for thread in threads:
        thread.join(30)
    results += [found[number] for number in range(len(threads))]
    yield results


def _stored() -> dict[str, str | None]:
    with connection():
        return {row.event_key: row.correlation_id for row in Event.select().order_by(Event.id)}


def test_what_comes_meanwhile_is_written_together_after_it(state: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given one that is being written, and three that come meanwhile, one of them with an event of another's
    halting = Halting(monkeypatch)
    others = [[event(tag="a", key="a")], [event(tag="a", key="a"), event(tag="b", key="b")], [event(tag="c", key="c")]]

    # When
    with _behind(Intake(), halting, *others) as results:
        # Then the three were one transaction, and each knows what was new of its own
        assert halting.together == [["first"], ["a", "a", "b", "c"]]
        assert results == [Stored(1), Stored(1), Stored(1, 1), Stored(1)]

    # And each event has the occasion of whoever brought it
    assert _stored() == {"first": "occasion-0", "a": "occasion-1", "b": "occasion-2", "c": "occasion-3"}


def test_one_that_cannot_be_written_costs_the_others_nothing(
    state: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a database that does not take one of those that wait
    halting = Halting(monkeypatch)
    inner = event_log._append

    def refuse(events: Sequence[RegistryEvent], occasions: dict[str, str | None]) -> set[str]:
        if any(each.id == "bad" for each in events):
            raise DataError("out of range")
        return inner(events, occasions)

    monkeypatch.setattr(event_log, "_append", refuse)

    # When
    with _behind(Intake(), halting, [event(tag="a", key="a")], [event(tag="b", key="bad")]) as results:
        # Then it alone is told so
        assert results[:2] == [Stored(1), Stored(1)]
        assert isinstance(results[2], DataError)
    assert list(_stored()) == ["first", "a"]


def test_a_database_that_is_away_is_away_for_all_of_them(state: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a database that goes away while some wait
    halting = Halting(monkeypatch)
    tries = []

    def gone(events: Sequence[RegistryEvent], _occasions: dict[str, str | None]) -> set[str]:
        tries.append(len(events))
        raise OperationalError("the disk is gone")

    monkeypatch.setattr(event_log, "_append", gone)

    # When, Then everybody is told, and nobody tries it again for himself
    with _behind(Intake(), halting, [event(tag="a", key="a")], [event(tag="b", key="b")]) as results:
        assert [type(result) for result in results] == [OperationalError] * 3
    assert tries == [1, 2]
    assert _stored() == {}


def test_many_at_once_are_all_written_once(state: Deployment) -> None:
    # Given an intake
    intake = Intake()

    # When ten bring events at the same time, again and again, each of them twice
    def bring(number: int) -> int:
        accepted = 0
        for turn in range(20):
            for _ in range(2):
                accepted += intake.store([event(tag=f"v{turn}", key=f"{number}-{turn}")], [], ORIGIN).accepted
        return accepted

    # Then all is there, once, and counted once
    assert sum(at_once(10, bring)) == 200
    assert len(_stored()) == 200


def test_nothing_is_answered_before_it_is_written(state: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given one that is being written, and one that waits behind it
    halting = Halting(monkeypatch)
    intake = Intake()
    answered = threading.Event()

    def bring(key: str) -> None:
        intake.store([event(tag=key, key=key)], [], ORIGIN)
        answered.set()

    threads = [threading.Thread(target=bring, args=(key,)) for key in ("one", "two")]
    threads[0].start()
    assert halting.reached.wait(30)
    threads[1].start()
    wait_until(lambda: len(intake._waiting) == 1)

    # Then neither is answered, and both are once they are there
    assert not answered.is_set()
    halting.go_on.set()
    for thread in threads:
        thread.join(30)
    assert set(_stored()) == {"one", "two"}


def test_what_is_large_or_cannot_be_read_is_written_by_itself(
    state: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    halting = Halting(monkeypatch)
    intake = Intake()
    large = [event(tag=f"v{number}") for number in range(SMALL + 1)]
    assert intake.store(large, [], ORIGIN) == Stored(SMALL + 1)
    assert intake.store([event(tag="v")], [Quarantined("not_json", "{")], ORIGIN) == Stored(1, 0, 1)
    assert intake.store([], [], ORIGIN) == Stored()
    assert halting.together == []
