from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import redis

from app.replication.copying import flights
from app.replication.copying.flights import Flights
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
    # What Redis said a moment ago is believed for that moment.
    wait_until(lambda: two.over(elsewhere))
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
        assert 0 < client.ttl("geo:flight:a") <= flights.TTL


def test_a_long_flight_stays_ours(process: Processes, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a flight that has little time left
    monkeypatch.setattr(flights, "BEAT", 0.05)
    one = process()
    one.begin(["a"])
    with valkey.client() as client:
        client.expire("geo:flight:a", 5)

        # Then signs of life lengthen it
        wait_until(lambda: client.ttl("geo:flight:a") > 10)


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


def test_a_flight_is_taken_whose_answer_or_end_got_lost(process: Processes, valkey: Valkey) -> None:
    # Given flights that Redis took to be ours, though we do not know of it
    one, two = process(), process()
    one.begin(["a"])
    with valkey.client() as client:
        ours = client.get("geo:flight:a")
        client.set("geo:flight:b", ours, ex=5)

    # Then we have it at once, for as long as any other, and nobody else has
    assert two.begin(["b"])[0] == set()
    assert one.begin(["b"]) == ({"b"}, flights.Elsewhere())
    with valkey.client() as client:
        assert client.ttl("geo:flight:b") > 10


def test_a_flight_that_could_not_be_begun_is_nobodys(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Shared(valkey.url)
    here = Flights(shared)

    # Given a process that is out of threads, and a bug
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def bug(_: Callable[[redis.Redis], object], __: object) -> None:
        raise ValueError("a bug")

    for name, owner, error, failing in (
        ("start", threading.Thread, RuntimeError, no_thread),
        ("ask", shared, ValueError, bug),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, failing)
            with pytest.raises(error):
                here.begin(["a"])

    # Then it can be begun afterwards
    assert here.begin(["a"]) == ({"a"}, flights.Elsewhere())

    # And who waits for it is told of its end, whatever happens to that
    _, elsewhere = here.begin(["a"])
    with monkeypatch.context() as patch:
        patch.setattr(shared, "ask", bug)
        with pytest.raises(ValueError, match="a bug"):
            here.end(["a"])
    assert here.over(elsewhere)
    here.close()
    shared.close()
