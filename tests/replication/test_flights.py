from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from app.replication import flights
from app.replication.flights import Flights
from app.replication.shared import Shared
from tests.support.valkey import Valkey
from tests.support.wait import wait_until

Processes = Callable[[], Flights]


@pytest.fixture
def process(valkey: Valkey) -> Iterator[Processes]:
    """Makes what another process of the same deployment has."""
    with ExitStack() as stack:

        def make() -> Flights:
            shared = Shared(valkey.url)
            made = Flights(shared)
            stack.callback(shared.close)
            stack.callback(made.close)
            return made

        yield make


def test_a_flight_is_one_threads_at_a_time() -> None:
    # Given a flight that is under way
    here = Flights()
    assert here.begin(["a"]) == ({"a"}, flights.Elsewhere())

    # When somebody else wants it and another one, Then he gets the other one and is told
    ours, elsewhere = here.begin(["a", "b"])
    assert ours == {"b"}
    assert len(elsewhere.here) == 1
    assert not here.over(elsewhere)

    # And it is free once it has ended
    here.end(["a"])
    assert here.over(elsewhere)
    assert here.begin(["a"])[0] == {"a"}


def test_a_flight_is_one_processs_at_a_time(process: Processes) -> None:
    one, two = process(), process()
    assert one.begin(["a"])[0] == {"a"}

    ours, elsewhere = two.begin(["a", "b"])
    assert ours == {"b"}
    assert elsewhere.others == ("a",)
    assert not two.over(elsewhere)

    one.end(["a"])
    assert two.over(elsewhere)
    assert two.begin(["a"])[0] == {"a"}


def test_who_ends_a_flight_that_is_no_longer_his_ends_nothing(process: Processes, valkey: Valkey) -> None:
    # Given a process that stood still until its flight was somebody else's
    one, two, three = process(), process(), process()
    one.begin(["a"])
    with valkey.client() as client:
        client.delete("geo:flight:a")
    two.begin(["a"])

    one.end(["a"])

    assert three.begin(["a"])[0] == set()


def test_a_killed_processs_flights_end_by_themselves(process: Processes, valkey: Valkey) -> None:
    process().begin(["a"])
    with valkey.client() as client:
        assert 0 < client.ttl("geo:flight:a") <= flights.TTL  # type: ignore[operator]  # the stub allows await


def test_a_long_flight_stays_ours(process: Processes, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a flight that has little time left
    monkeypatch.setattr(flights, "BEAT", 0.05)
    one = process()
    one.begin(["a"])
    with valkey.client() as client:
        client.expire("geo:flight:a", 5)

        # Then signs of life lengthen it
        wait_until(lambda: client.ttl("geo:flight:a") > 10)  # type: ignore[operator]


def test_without_redis_each_process_flies_alone(process: Processes, valkey: Valkey) -> None:
    one, two = process(), process()
    one.begin(["a"])
    _, elsewhere = two.begin(["a"])
    valkey.kill()

    # Then who waits stops waiting, and goes himself
    assert two.over(elsewhere)
    assert two.begin(["a"])[0] == {"a"}
    one.end(["a"])
    two.end(["a"])


def test_a_registry_that_does_not_mount_has_flights_for_each_repository() -> None:
    now = [0.0]
    here = Flights(clock=lambda: now[0])
    assert here.key("reg", "one", "d") == here.key("reg", "two", "d")

    here.part("reg")
    assert here.key("reg", "one", "d") != here.key("reg", "two", "d")
    assert here.key("other", "one", "d") == here.key("other", "two", "d")

    now[0] += flights.APART_FOR + 1
    assert here.key("reg", "one", "d") == here.key("reg", "two", "d")
