from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.replication.copying.presence import MOUNTABLE_FOR, PRESENT_FOR, LocalPresence, Presence, SharedPresence
from app.replication.shared import Shared
from tests.support.clock import Clock
from tests.support.valkey import Valkey

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64
HERE, THERE = "127.0.0.1:5000", "127.0.0.1:5001"


@pytest.fixture
def clock() -> Clock:
    return Clock(1_000_000.0)


@pytest.fixture(params=["local", "shared"])
def presence(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Presence]:
    if request.param == "local":
        yield LocalPresence(clock)
        return
    valkey: Valkey = request.getfixturevalue("valkey")
    shared = Shared(valkey.url)
    yield SharedPresence(shared, clock)
    shared.close()


def test_nothing_is_known_at_first(presence: Presence) -> None:
    known = presence.look(HERE, "team/app", [ONE, TWO])
    assert (known.present, known.sources) == (frozenset(), {})
    assert presence.look(HERE, "team/app", []).present == frozenset()


def test_what_was_proven_is_present_in_that_repository_and_mountable_into_others(presence: Presence) -> None:
    presence.proven(HERE, "team/app", [ONE])

    assert presence.look(HERE, "team/app", [ONE, TWO]).present == {ONE}
    assert presence.look(HERE, "team/app", [ONE]).sources == {}
    other = presence.look(HERE, "team/other", [ONE, TWO])
    assert (other.present, other.sources) == (frozenset(), {ONE: "team/app"})


def test_one_registry_says_nothing_of_another(presence: Presence) -> None:
    presence.proven(HERE, "team/app", [ONE])
    known = presence.look(THERE, "team/app", [ONE])
    assert (known.present, known.sources) == (frozenset(), {})


def test_presence_ages_out(presence: Presence, clock: Clock) -> None:
    presence.proven(HERE, "team/app", [ONE])
    clock.now += PRESENT_FOR - 1
    assert presence.look(HERE, "team/app", [ONE]).present == {ONE}
    clock.now += 2
    assert presence.look(HERE, "team/app", [ONE]).present == frozenset()


def test_a_source_ages_out(clock: Clock) -> None:
    presence = LocalPresence(clock)
    presence.proven(HERE, "team/app", [ONE])
    clock.now += MOUNTABLE_FOR + 1
    assert presence.look(HERE, "team/other", [ONE]).sources == {}


def test_a_blob_is_forgotten_with_its_source(presence: Presence) -> None:
    presence.proven(HERE, "team/app", [ONE, TWO])
    presence.forget(HERE, "team/app", ONE)

    assert presence.look(HERE, "team/app", [ONE, TWO]).present == {TWO}
    assert presence.look(HERE, "team/other", [ONE, TWO]).sources == {TWO: "team/app"}


def test_another_repositorys_source_is_kept(presence: Presence) -> None:
    presence.proven(HERE, "team/app", [ONE])
    presence.forget(HERE, "team/third", ONE)
    assert presence.look(HERE, "team/other", [ONE]).sources == {ONE: "team/app"}


def test_a_whole_repository_is_forgotten(presence: Presence) -> None:
    presence.proven(HERE, "team/app", [ONE, TWO])
    presence.proven(HERE, "team/other", [ONE])
    presence.forget(HERE, "team/app")

    assert presence.look(HERE, "team/app", [ONE, TWO]).present == frozenset()
    assert presence.look(HERE, "team/other", [ONE]).present == {ONE}


def test_other_processes_know_it_too(valkey: Valkey) -> None:
    one, two = Shared(valkey.url), Shared(valkey.url)
    SharedPresence(one).proven(HERE, "team/app", [ONE])
    assert SharedPresence(two).look(HERE, "team/app", [ONE]).present == {ONE}
    one.close()
    two.close()


def test_without_redis_nothing_is_known_and_nothing_fails(valkey: Valkey) -> None:
    # Given something that is known
    clock = Clock(1_000_000.0)
    shared = Shared(valkey.url, clock=clock)
    presence = SharedPresence(shared)
    presence.proven(HERE, "team/app", [ONE])

    # When Redis is gone, Then nobody is told anything wrong
    valkey.kill()
    assert presence.look(HERE, "team/app", [ONE]).present == frozenset()
    presence.proven(HERE, "team/app", [ONE])
    presence.forget(HERE, "team/app")

    # And when it is back, it is asked again, after a while
    valkey.start()
    assert presence.look(HERE, "team/app", [ONE]).present == frozenset()
    clock.now += 60
    presence.proven(HERE, "team/app", [ONE])
    assert presence.look(HERE, "team/app", [ONE]).present == {ONE}
    shared.close()


def test_what_is_known_here_does_not_grow_without_end(clock: Clock) -> None:
    # Given a repository that gets a new blob every minute, and one that is proven again and again
    presence = LocalPresence(clock)
    for number in range(600):
        presence.proven(HERE, "team/app", [ONE, f"sha256:{number:064x}"])
        clock.now += 60

    # Then what has aged out is gone, and the other one is not
    assert len(presence._present[HERE, "team/app"]) <= PRESENT_FOR / 60 + 2
    assert presence.look(HERE, "team/app", [ONE]).present == {ONE}


def test_a_redis_before_6_2_will_do(valkey: Valkey) -> None:
    # Given a server without what came with 6.2
    with valkey.client() as client:
        client.execute_command("ACL", "SETUSER", "old", "on", ">p", "~*", "&*", "+@all", "-zmscore")
    shared = Shared(valkey.url.replace("redis://", "redis://old:p@"))
    presence = SharedPresence(shared)

    presence.proven(HERE, "team/app", [ONE])
    assert presence.look(HERE, "team/app", [TWO, ONE]).present == {ONE}
    shared.close()
