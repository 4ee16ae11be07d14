"""Leases by name, and the heartbeat that keeps them."""

from __future__ import annotations

import contextlib
import threading
from datetime import UTC, datetime, timedelta

import pytest

from app.database import connection
from app.models import Lease
from app.replication import lease
from app.replication.lease import Heartbeat, HeldLease, named
from tests.support.deployment import Deployment
from tests.support.sessions import Session, at_once
from tests.support.wait import wait_until

pytestmark = pytest.mark.timeout(40)


def test_one_of_many_holds_it(state: Deployment) -> None:
    def hold(_: int) -> bool:
        with named("one") as held:
            return held is not None and held.remaining() > 40

    # When many ask at once and let go again, then at least one got it, and afterwards anyone can
    assert any(at_once(6, hold))
    assert hold(0)


def test_it_is_exclusive_until_it_is_given_back(state: Deployment) -> None:
    with Session() as other, named("one") as mine:
        assert mine is not None
        with named("other") as different:
            assert different is not None
        assert other.do(lambda: _try("one")) is False
    assert _try("one")


def _try(name: str) -> bool:
    with named(name) as held:
        return held is not None


def test_one_that_ran_out_is_taken_over_and_its_former_holder_fenced_off(state: Deployment) -> None:
    with named("one") as former:
        assert former is not None
        with connection():
            Lease.update(expires_at=datetime.now(UTC) - timedelta(seconds=1)).execute()
        with named("one") as new:
            assert new is not None
            with connection():
                former.beat()
                new.beat()
            assert former.lost
            assert former.remaining() == 0.0
            assert not new.lost

            # And what the former gives back is not the new one's
            with connection():
                token = Lease.get(Lease.name == "one").token
        with connection():
            assert Lease.get(Lease.name == "one").token == token


def test_a_renewal_grants_no_more_than_the_database_does(state: Deployment) -> None:
    with named("short", ttl=5.0) as held:
        assert held is not None
        with connection():
            held.beat()
            until = Lease.get(Lease.name == "short").expires_at
        assert held.remaining() <= 5.0
        assert until - datetime.now(UTC) <= timedelta(seconds=5.1)


def test_a_failed_renewal_leaves_the_deadline(state: Deployment) -> None:
    def broken() -> bool:
        raise ConnectionError

    time = [0.0]
    held = HeldLease(renew=broken, deadline=10.0, clock=lambda: time[0])
    with pytest.raises(ConnectionError):
        held.beat()
    assert held.remaining() == 10.0
    time[0] = 11.0
    assert held.remaining() == 0.0


def test_the_heartbeat_goes_on_after_a_failure(state: Deployment) -> None:
    # Given a heartbeat with two leases, one of which cannot be renewed at first
    beats: list[str] = []

    def flaky() -> bool:
        beats.append("flaky")
        if len(beats) < 3:
            raise ConnectionError
        return True

    def sound() -> bool:
        beats.append("sound")
        return True

    heart = Heartbeat(interval=0.02)
    first = HeldLease(renew=flaky, deadline=lease.monotonic() + 30)
    second = HeldLease(renew=sound, deadline=lease.monotonic() + 30)

    # When it beats
    with heart.keeping(first), heart.keeping(second):
        wait_until(lambda: first.deadline > lease.monotonic() + 40 and second.deadline > lease.monotonic() + 40)
    assert not first.lost

    # Then it leaves those alone that were let go
    wait_until(lambda: not heart._held)
    seen = len(beats)
    with heart.keeping(HeldLease(renew=lambda: beats.append("last") or True, deadline=lease.monotonic() + 30)):  # type: ignore[func-returns-value]
        wait_until(lambda: beats.count("last") > 3)
    assert "sound" not in beats[seen + 1 :]


def test_who_lets_go_waits_for_the_beat_under_way(state: Deployment) -> None:
    # Given a beat that is still asking
    asking, answer = threading.Event(), threading.Event()

    def renew() -> bool:
        asking.set()
        return answer.wait(20)

    heart = Heartbeat(interval=0.02)
    held = HeldLease(renew=renew, deadline=lease.monotonic() + 30)
    left = threading.Event()

    def hold() -> None:
        with heart.keeping(held):
            assert asking.wait(20)
        left.set()

    # When its holder lets go
    holder = threading.Thread(target=hold)
    holder.start()
    wait_until(lambda: asking.is_set() and held not in heart._held)

    # Then he goes on when it has been answered: he may close the connection
    assert not left.is_set()
    answer.set()
    assert left.wait(20)
    holder.join()
    assert not held.lost


def test_a_database_that_hangs_keeps_nobody(state: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEAVING", 0.05)
    asking, answer = threading.Event(), threading.Event()
    heart = Heartbeat(interval=0.02)
    with heart.keeping(HeldLease(renew=lambda: asking.set() or answer.wait(20), deadline=lease.monotonic() + 30)):  # type: ignore[func-returns-value]
        assert asking.wait(20)
    assert not answer.is_set()
    answer.set()


def test_what_was_let_go_before_its_turn_is_not_renewed(state: Deployment) -> None:
    # Given two leases, the first of which is being renewed while the other is let go
    asking, answer = threading.Event(), threading.Event()
    beats: list[str] = []
    heart = Heartbeat(interval=0.02)

    def make(name: str) -> HeldLease:
        def renew() -> bool:
            beats.append(name)
            asking.set()
            return answer.wait(20)

        return HeldLease(renew=renew, deadline=lease.monotonic() + 30)

    with contextlib.ExitStack() as one, contextlib.ExitStack() as other:
        leases = {"one": make("one"), "other": make("other")}
        one.enter_context(heart.keeping(leases["one"]))
        other.enter_context(heart.keeping(leases["other"]))
        assert asking.wait(20)
        first = beats[0]
        {"one": other, "other": one}[first].close()

        # When the first has been answered
        answer.set()
        wait_until(lambda: beats.count(first) > 2)

    # Then the other has never been asked for
    assert set(beats) == {first}
