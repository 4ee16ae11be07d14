from __future__ import annotations

from app.web.throttle import Throttle
from tests.support.clock import Clock


def test_an_address_waits_until_its_oldest_failure_is_past() -> None:
    # Given a failure each second, as many as are let pass
    clock = Clock(100.0)
    throttle = Throttle(limit=3, window=60, clock=clock)
    for _ in range(3):
        assert throttle.wait("192.0.2.1") == 0
        throttle.failed("192.0.2.1")
        clock.now += 1
    # Then it has to wait for the first to be a minute old, and others do not
    assert throttle.wait("192.0.2.1") == 57
    assert throttle.wait("192.0.2.2") == 0
    # When that is over, one more try is free, and only one
    clock.now += 57
    assert throttle.wait("192.0.2.1") == 0
    throttle.failed("192.0.2.1")
    assert throttle.wait("192.0.2.1") > 0


def test_whoever_has_one_ipv6_address_has_its_whole_network() -> None:
    throttle = Throttle(limit=2)
    throttle.failed("2001:db8::1")
    throttle.failed("2001:db8::2")
    assert throttle.wait("2001:db8::3") > 0
    assert throttle.wait("2001:db8:0:1::3") == 0


def test_memory_is_bounded() -> None:
    throttle = Throttle(limit=1, capacity=10)
    for number in range(100):
        throttle.failed(f"192.0.2.{number}")
    assert sum(throttle.wait(f"192.0.2.{number}") > 0 for number in range(100)) == 10
    assert throttle.wait("192.0.2.99") > 0


def test_a_connection_without_an_address_counts_as_one() -> None:
    throttle = Throttle(limit=1)
    throttle.failed(None)
    assert throttle.wait(None) > 0
