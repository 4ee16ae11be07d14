"""Tokens in common through a real Valkey."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from app.providers.credentials.shared_tokens import FLIGHT, SharedTokens
from app.registry import Issued
from app.replication.shared import Shared
from app.sealing import Sealing
from tests.support.valkey import Valkey

REGISTRY = "https://registry.example.com"


class Process(Protocol):
    def __call__(self, *keys: str, account: str = "geo:hidden-password", registry: str = REGISTRY) -> SharedTokens: ...


@pytest.fixture
def process(valkey: Valkey) -> Iterator[Process]:
    """What one process of a deployment has, by these secret keys."""
    with ExitStack() as stack:

        def make(*keys: str, account: str = "geo:hidden-password", registry: str = REGISTRY) -> SharedTokens:
            shared = Shared(valkey.url)
            stack.callback(shared.close)
            return SharedTokens(shared, lambda: Sealing(keys or ("a key",), "tokens"), registry, lambda: account)

        yield make


class Issuing:
    """Gives `token-1`, `token-2` and so on."""

    def __init__(self, lifetime: float = 3600.0, early: float = 30.0) -> None:
        self.lifetime, self.early = lifetime, early
        self.asked = 0

    def __call__(self) -> Issued:
        self.asked += 1
        return Issued(f"token-{self.asked}", self.lifetime, self.early)


def test_one_asks_and_the_others_have_it(process: Process) -> None:
    # Given two processes
    issuing = Issuing()

    # When both need it
    first, second = process().obtain("pull", issuing), process().obtain("pull", issuing)

    # Then it was asked for once, and the second knows how long it is good
    assert (first.secret, second.secret, issuing.asked) == ("token-1", "token-1", 1)
    assert 3500 < second.lifetime <= 3600
    assert second.early == 30.0

    # And one for something else is another
    assert process().obtain("push", issuing).secret == "token-2"


def test_many_at_once_ask_once(process: Process) -> None:
    # Given many processes, and an issuer that takes its time
    go, started, found = threading.Event(), threading.Event(), []
    asked = [0]

    def issue() -> Issued:
        asked[0] += 1
        started.set()
        assert go.wait(20)
        return Issued("token", 3600.0)

    shares = [process() for _ in range(8)]
    threads = [threading.Thread(target=lambda s=s: found.append(s.obtain("pull", issue).secret)) for s in shares]
    for thread in threads:
        thread.start()
    started.wait(20)
    go.set()
    for thread in threads:
        thread.join()
    assert (found, asked) == (["token"] * 8, [1])


def test_real_processes_ask_once(valkey: Valkey, tmp_path: Path) -> None:
    # Given programs that need the same token at once, and write down when they ask for it
    number = 4
    script = f"""
import os, time
from pathlib import Path
from app.providers.credentials.shared_tokens import SharedTokens
from app.registry import Issued
from app.replication.shared import Shared
from app.sealing import Sealing

there = Path({str(tmp_path)!r})

def issue():
    print("asked", flush=True)
    # Until all of them want it.
    while len(list(there.iterdir())) < {number}:
        time.sleep(0.01)
    return Issued("token", 3600.0)

shared = Shared({valkey.url!r})
tokens = SharedTokens(shared, lambda: Sealing(["a key"], "tokens"), "r", lambda: "a")
(there / str(os.getpid())).touch()
print(tokens.obtain("pull", issue).secret)
"""
    command = [sys.executable, "-c", script]
    programs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(number)]
    output = "".join(program.communicate(timeout=60)[0] for program in programs)

    # Then one asked, and all have it
    assert sorted(output.split()) == ["asked", *["token"] * number]


def test_nothing_can_be_read_there(process: Process, valkey: Valkey) -> None:
    # Given a token in common
    process().obtain("repository:team/secret:pull", lambda: Issued("hidden-token", 3600.0))

    # When everything is read that is there
    with valkey.client() as client:
        keys = list(client.scan_iter())
        everything = b"\n".join([*keys, *(client.get(key) or b"" for key in keys)])

    # Then neither the token is there, nor whose it is, nor what for; and it goes by itself
    assert b"hidden" not in everything
    assert b"secret" not in everything
    with valkey.client() as client:
        assert len(keys) == 1
        assert 3500 < client.ttl(keys[0]) <= 3600


def test_a_key_is_changed_without_asking_anew(process: Process) -> None:
    # Given a token sealed by the old key
    issuing = Issuing()
    process("old").obtain("pull", issuing)

    # When processes know both, Then they have it; those who know only the new one ask anew
    assert process("new", "old").obtain("pull", issuing).secret == "token-1"
    assert process("new").obtain("pull", issuing).secret == "token-2"


@pytest.mark.parametrize(
    "other",
    [{"account": "geo:another-password"}, {"registry": "https://other.example.com"}],
    ids=["account", "registry"],
)
def test_another_account_has_others(process: Process, other: dict[str, str]) -> None:
    issuing = Issuing()
    process().obtain("pull", issuing)
    assert process(**other).obtain("pull", issuing).secret == "token-2"


@pytest.mark.parametrize("value", [b"", b"nonsense", b"\xff", b"gAAAA"])
def test_what_cannot_be_opened_is_as_if_absent(process: Process, valkey: Valkey, value: bytes) -> None:
    # Given something else in its place
    issuing = Issuing()
    process().obtain("pull", issuing)
    with valkey.client() as client:
        (key,) = client.scan_iter()
        client.set(key, value, ex=100)

    # Then it is asked for anew, and there again
    assert process().obtain("pull", issuing).secret == "token-2"
    assert process().obtain("pull", issuing).secret == "token-2"


def test_what_never_ends_is_not_ours(process: Process, valkey: Valkey) -> None:
    issuing = Issuing()
    process().obtain("pull", issuing)
    with valkey.client() as client:
        (key,) = client.scan_iter()
        client.persist(key)
    assert process().obtain("pull", issuing).secret == "token-2"


def test_one_that_was_refused_or_is_due_is_replaced(process: Process) -> None:
    # Given one that is there
    issuing = Issuing()
    process().obtain("pull", issuing)

    # When it was refused, Then there is another
    assert process().obtain("pull", issuing, besides="token-1").secret == "token-2"
    assert process().obtain("pull", issuing, besides="token-1").secret == "token-2"

    # And one that has come to its last part is replaced too
    due = Issuing(lifetime=60.0, early=60.0)
    process().obtain("push", due)
    assert process().obtain("push", due).secret == "token-2"


def test_one_that_ends_at_once_is_not_put_there(process: Process, valkey: Valkey) -> None:
    process().obtain("pull", Issuing(lifetime=1.0))
    with valkey.client() as client:
        assert list(client.scan_iter()) == []


def test_whoever_fails_lets_the_next_one_try(process: Process, valkey: Valkey) -> None:
    # Given one who asks in vain
    def fail() -> Issued:
        raise OSError("in vain")

    with pytest.raises(OSError, match="in vain"):
        process().obtain("pull", fail)

    # Then nothing is in the way of the next
    with valkey.client() as client:
        assert list(client.scan_iter()) == []
    assert process().obtain("pull", Issuing()).secret == "token-1"


def test_a_process_that_was_killed_is_not_waited_for_for_ever(process: Process, valkey: Valkey) -> None:
    # Given a flight whose process is gone, shortly before it ends by itself
    process().obtain("pull", Issuing())
    with valkey.client() as client:
        (key,) = client.scan_iter()
        client.delete(key)
        assert client.set(f"{key.decode()}:flight", "gone", px=300)

    # Then the next one asks when it has ended
    assert process().obtain("pull", Issuing()).secret == "token-1"
    assert FLIGHT < 60


def test_who_has_waited_long_enough_asks_by_itself(valkey: Valkey, process: Process) -> None:
    # Given a flight that does not end
    process().obtain("pull", Issuing())
    with valkey.client() as client:
        (key,) = client.scan_iter()
        client.delete(key)
        client.set(f"{key.decode()}:flight", "slow")
    shared, now = Shared(valkey.url), [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    try:
        impatient = SharedTokens(
            shared, lambda: Sealing(["a key"], "tokens"), REGISTRY, lambda: "a", clock=lambda: now[0], sleep=sleep
        )
        assert impatient.obtain("pull", Issuing()).secret == "token-1"
    finally:
        shared.close()
    # And the other's flight is left alone
    with valkey.client() as client:
        assert client.get(f"{key.decode()}:flight") == b"slow"


def test_without_redis_each_asks_for_itself(process: Process, valkey: Valkey) -> None:
    # Given two processes whose Redis goes away
    first, second, issuing = process(), process(), Issuing()
    first.obtain("pull", issuing)
    valkey.stop()

    # Then each has a token all the same
    assert first.obtain("pull", issuing).secret == "token-2"
    assert second.obtain("pull", issuing).secret == "token-3"


def test_no_key_is_made_before_it_is_needed(valkey: Valkey) -> None:
    made: list[int] = []

    def sealing() -> Sealing:
        made.append(1)
        return Sealing(["a key"], "tokens")

    shared = Shared(valkey.url)
    try:
        tokens = SharedTokens(shared, sealing, REGISTRY, lambda: "a")
        assert made == []
        for _ in range(3):
            tokens.obtain("pull", Issuing())
        assert made == [1]
    finally:
        shared.close()


def test_an_account_that_became_another_takes_no_token_of_the_former(valkey: Valkey, process: Process) -> None:
    # Given a process whose account is in a file, and a token of it
    accounts, issuing = ["a key"], Issuing()
    shared = Shared(valkey.url)
    try:
        tokens = SharedTokens(shared, lambda: Sealing(["a key"], "tokens"), REGISTRY, lambda: accounts[-1])
        assert tokens.obtain("pull", issuing).secret == "token-1"

        # When another key is put there, Then one is asked for with it
        accounts.append("another key")
        assert tokens.obtain("pull", issuing).secret == "token-2"

        # And whoever was started since has the same
        assert process(account="another key").obtain("pull", issuing).secret == "token-2"
        assert process(account="a key").obtain("pull", issuing).secret == "token-3"
    finally:
        shared.close()
