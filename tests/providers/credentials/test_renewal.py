"""One credential, issued once whoever asks: threads here, the clock by hand."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

from app.logging import clean
from app.providers.credentials.issuer import Granted
from app.providers.credentials.renewal import FIRST_PAUSE, LONGEST_PAUSE, NEW, Renewal
from app.registry import Credential, Fetch, Issued, NoCredentials, RegistryError
from tests.support.clock import Clock
from tests.support.wait import wait_until


def fetch(method: str, url: str, **_: object) -> bytes:
    raise AssertionError("nothing is asked of the registry")


class Issuing:
    """Gives `secret-1`, `secret-2` and so on, each for an hour; fails while there is a `failure`."""

    what = "tests' tokens"
    ends = True

    def __init__(self, *, shared: bool = True, lifetime: float = 3600.0) -> None:
        self.shared = shared
        self.lifetime = lifetime
        self.asked = 0
        self.failure: RegistryError | None = None
        #: Called while a credential is being issued.
        self.meanwhile: Callable[[], object] = lambda: None

    def issue(self, fetch: Fetch) -> Granted:
        self.asked += 1
        number = self.asked
        self.meanwhile()
        if self.failure is not None:
            raise self.failure
        return Granted(Credential("user", f"secret-number-{number}"), self.lifetime)


def secret(renewal: Renewal) -> str:
    return renewal.current(fetch).secret.rpartition("-")[2]


def test_it_is_renewed_at_half_of_its_life() -> None:
    # Given a credential for an hour
    issuing, clock = Issuing(), Clock()
    renewal = Renewal(issuing, clock=clock)
    assert renewal.standing() is None
    assert secret(renewal) == "1"

    # When time goes by
    clock.now += 1799
    assert secret(renewal) == "1"
    clock.now += 2

    # Then there is another from half an hour on
    assert secret(renewal) == "2"
    standing = renewal.standing()
    assert standing is not None
    assert (standing.what, standing.renewed_in) == ("tests' tokens", 1800.0)
    assert 3590 <= standing.lifetime <= 3600


def test_near_its_end_it_is_not_renewed_again_and_again() -> None:
    # Given an issuer that gives what it has, which ends in ever fewer seconds, as a metadata server does
    issuing, clock = Issuing(lifetime=400.0), Clock()
    renewal, end = Renewal(issuing, clock=clock), clock.now + 400

    # When it is needed all the time
    while clock.now < end - 1:
        issuing.lifetime = end - clock.now
        renewal.current(fetch)
        clock.now += 1

    # Then it is asked for a few times
    assert issuing.asked <= 15


def test_many_threads_that_have_none_ask_once() -> None:
    # Given an issuer that takes its time
    issuing, go = Issuing(), threading.Event()
    issuing.meanwhile = lambda: go.wait(10)
    renewal, found = Renewal(issuing), []
    threads = [threading.Thread(target=lambda: found.append(secret(renewal))) for _ in range(16)]

    # When many ask at once
    for thread in threads:
        thread.start()
    wait_until(lambda: issuing.asked)
    go.set()
    for thread in threads:
        thread.join()

    # Then all have the same
    assert (found, issuing.asked) == (["1"] * 16, 1)


def test_who_has_a_good_one_does_not_wait_for_the_renewal() -> None:
    # Given one that is renewed by a thread that hangs
    issuing, clock, go = Issuing(), Clock(), threading.Event()
    renewal = Renewal(issuing, clock=clock)
    renewal.current(fetch)
    clock.now += 2000
    issuing.meanwhile = lambda: go.wait(10)
    thread = threading.Thread(target=renewal.current, args=(fetch,))
    thread.start()
    wait_until(lambda: issuing.asked == 2)

    # When others ask, Then they have the former at once, and the new one when it is there
    assert [secret(renewal) for _ in range(5)] == ["1"] * 5
    go.set()
    thread.join()
    assert secret(renewal) == "2"


def test_while_renewal_fails_the_former_is_used_as_long_as_it_is_good(caplog: pytest.LogCaptureFixture) -> None:
    # Given an issuer that fails from now on
    issuing, clock = Issuing(), Clock()
    renewal = Renewal(issuing, clock=clock)
    renewal.current(fetch)
    issuing.failure = NoCredentials("the cloud is away", fix="wait")
    clock.now += 1800

    # When it is needed all the time, Then the former is used, and the issuer asked at growing intervals
    attempts = []
    with caplog.at_level(logging.WARNING):
        for _ in range(1790):
            assert secret(renewal) == "1"
            attempts.append(issuing.asked)
            clock.now += 1
    assert attempts[:4] == [2, 3, 3, 4]
    assert issuing.asked < 1790 / LONGEST_PAUSE + 10
    # And that is told once
    assert [record.getMessage() for record in caplog.records] == [
        "credentials could not be renewed; the former are used while they are good: the cloud is away; wait"
    ]

    # And when it has ended there is none
    clock.now += LONGEST_PAUSE
    with pytest.raises(NoCredentials, match="the cloud is away"):
        renewal.current(fetch)

    # And as soon as that goes, there is
    issuing.failure = None
    clock.now += LONGEST_PAUSE
    assert renewal.current(fetch).secret.startswith("secret-number-")


def test_without_a_good_one_everybody_is_told_of_the_same_failure_for_a_moment() -> None:
    # Given an issuer that fails
    issuing, clock = Issuing(), Clock()
    issuing.failure = NoCredentials("no role here", fix="give it one")
    renewal = Renewal(issuing, clock=clock)

    # When many ask
    for _ in range(10):
        with pytest.raises(NoCredentials, match="no role here") as raised:
            renewal.current(fetch)
        assert raised.value.fix == "give it one"

    # Then it was asked once, and again after a moment
    assert issuing.asked == 1
    clock.now += FIRST_PAUSE
    with pytest.raises(NoCredentials):
        renewal.current(fetch)
    assert issuing.asked == 2


def test_one_that_was_refused_is_replaced_but_not_again_and_again() -> None:
    # Given a credential of some time ago that the registry refuses
    issuing, clock = Issuing(), Clock()
    renewal = Renewal(issuing, clock=clock)
    first = renewal.current(fetch)
    clock.now += NEW

    # When several threads say so, one after the other, Then it is replaced once
    second = renewal.renewed(first, fetch)
    assert second is not None
    assert second.secret.endswith("2")
    assert renewal.renewed(first, fetch) == second
    assert issuing.asked == 2

    # And the new one is not replaced at once when it is refused too: its age is not the reason
    assert renewal.renewed(second, fetch) is None
    assert issuing.asked == 2


def test_the_same_again_is_no_other() -> None:
    # Given an issuer that has but one, such as a file
    class Same(Issuing):
        def issue(self, fetch: Fetch) -> Granted:
            self.asked += 1
            return Granted(Credential("user", "the-only-one"), 600.0)

    issuing, clock = Same(), Clock()
    renewal = Renewal(issuing, clock=clock)
    only = renewal.current(fetch)
    clock.now += NEW
    assert renewal.renewed(only, fetch) is None
    assert renewal.current(fetch) == only


class Sharing:
    """What another process has put there."""

    def __init__(self, issued: Issued | None = None) -> None:
        self.issued = issued
        self.names: list[str] = []

    def obtain(self, name: str, issue: Callable[[], Issued], besides: str | None = None) -> Issued:
        self.names.append(name)
        if self.issued is None or self.issued.secret == besides:
            self.issued = issue()
        return self.issued


def test_one_of_another_process_is_used_and_may_be_old() -> None:
    # Given two processes
    share, issuing, clock = Sharing(), Issuing(), Clock()
    ours, theirs = (Renewal(issuing, share=share, clock=clock) for _ in range(2))

    # When both need a credential, Then it is issued once
    assert ours.current(fetch) == theirs.current(fetch)
    assert issuing.asked == 1

    # And the one that did not make it does not take it for new when it is refused
    assert theirs.renewed(theirs.current(fetch), fetch) is not None
    assert issuing.asked == 2


def test_what_may_be_a_persons_password_is_not_shared() -> None:
    share = Sharing()
    Renewal(Issuing(shared=False), share=share).current(fetch)
    assert share.names == []


def test_its_secret_is_never_written() -> None:
    # Given a credential that was issued
    credential = Renewal(Issuing()).current(fetch)

    # Then no line has it, in either form
    header = credential.basic.partition(" ")[2]
    assert clean(f"sent {credential.secret} as {header}") == "sent [secret] as [secret]"
