"""What a control plane is asked, at a real gate."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from app.providers.permitted import permitted
from app.registry import NoLimit, RateLimited, RegistryError, ServerError, TooManyRequests, Unreachable
from app.registry.connections import Deadline
from app.replication.politeness import Gate, Terms


def gate(patience: float = 10.0, maximum: int = 8) -> Gate:
    return Gate("control plane of the secondary", Terms(maximum), process="test", patience=patience)


def failing(*errors: RegistryError) -> tuple[Callable[[], str], list[int]]:
    """Something that is asked and fails so, once each; and how often it was asked."""
    left, asked = list(errors), [0]

    def ask() -> str:
        asked[0] += 1
        if left:
            raise left.pop(0)
        return "done"

    return ask, asked


def test_what_was_too_much_is_asked_again_after_the_wait() -> None:
    # Given a control plane that wants to be left alone for a moment
    ask, asked = failing(TooManyRequests("slowly", status=400, retry_after=0.2))

    # When it is asked, Then once more, when that has passed
    limiter = gate()
    assert permitted(limiter, ask, Deadline(5)) == "done"
    assert asked == [2]
    assert limiter.throttle is not None
    assert limiter.in_flight == 0


def test_nobody_asks_before_the_wait_has_passed() -> None:
    # Given one who was told to wait for longer than there is time
    limiter = gate()
    ask, asked = failing(TooManyRequests("slowly", status=403, retry_after=600.0))
    with pytest.raises(TooManyRequests, match="slowly"):
        permitted(limiter, ask, Deadline(1))
    assert asked == [1]

    # When others ask, Then they are told, too, and nothing is sent
    other, others = failing()
    with pytest.raises(
        RateLimited, match="the control plane of the secondary registry has asked us to pause"
    ) as raised:
        permitted(limiter, other, Deadline(1))
    assert others == [0]
    assert raised.value.retry_after == pytest.approx(600, abs=5)


def test_it_ends_though_it_is_always_too_much() -> None:
    ask, asked = failing(*[TooManyRequests("slowly", retry_after=0.01)] * 9)
    with pytest.raises(TooManyRequests):
        permitted(gate(), ask)
    assert asked == [1 + Gate.resends]


def test_a_server_in_trouble_is_asked_less() -> None:
    limiter = gate()
    ask, asked = failing(ServerError("busy", status=503, retry_after=600.0))
    with pytest.raises(ServerError):
        permitted(limiter, ask, Deadline(1))
    assert (asked, limiter.pause > 500) == ([1], True)


def test_who_cannot_be_reached_says_nothing_of_limits() -> None:
    limiter = gate()
    ask, _ = failing(Unreachable("gone"))
    with pytest.raises(Unreachable):
        permitted(limiter, ask)
    assert (limiter.throttle, limiter.in_flight) == (None, 0)


def test_no_more_ask_at_once_than_may() -> None:
    # Given a control plane that takes two requests at once, and is at work
    limiter, there, go = gate(maximum=2), threading.Semaphore(0), threading.Event()

    def ask() -> None:
        there.release()
        assert go.wait(20)

    threads = [threading.Thread(target=permitted, args=(limiter, ask)) for _ in range(2)]
    for thread in threads:
        thread.start()
        assert there.acquire(timeout=20)

    # When a third comes, Then it is put off
    with pytest.raises(RateLimited, match="used up by others"):
        permitted(limiter, ask, Deadline(0.05))
    go.set()
    for thread in threads:
        thread.join()
    assert limiter.in_flight == 0


def test_without_a_limiter_a_refusal_is_one() -> None:
    ask, asked = failing(TooManyRequests("slowly", retry_after=0.0))
    with pytest.raises(TooManyRequests):
        permitted(NoLimit(), ask)
    assert asked == [1]
