from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.registry import Anonymous, RegistryClient, TimedOut, Unreachable
from app.replication.copying.referrers_api import ASK_AGAIN, SILENT_FOR, Support
from tests.support import images
from tests.support.answering import Answer, Request
from tests.support.oci_content import Refused
from tests.support.oci_registry import OciRegistry
from tests.support.wait import wait_until
from tests.support.wire import push


def test_a_registry_is_asked_again_in_time(repository: str) -> None:
    # Given a registry without the API
    time = 0.0
    support = Support(clock=lambda: time)
    with OciRegistry(referrers=False) as registry, RegistryClient(registry.url, Anonymous()) as client:
        digest = push(registry, repository, None, images.image())
        assert support.referrers(client, repository, digest) is None

        # When it gets it, that counts after ten minutes
        registry.features.referrers = True
        assert not support.has(client, repository, digest)
        time = ASK_AGAIN + 1
        assert support.has(client, repository, digest)
        assert support.referrers(client, repository, digest) == []
        assert registry.count("/referrers/") == 3


def test_an_unknown_repository_says_nothing_of_the_others(repository: str) -> None:
    # Given a registry that calls a repository unknown which holds nothing
    class Strict(OciRegistry):
        def respond(self, request: Request) -> Answer:
            if "/referrers/" in request.path and f"/{repository}/" not in request.path:
                raise Refused(404, "NAME_UNKNOWN", "no such repository")
            return super().respond(request)

    support = Support()
    with Strict() as registry, RegistryClient(registry.url, Anonymous()) as client:
        digest = push(registry, repository, None, images.image())

        # Then its API counts as absent there, and is asked for elsewhere
        assert not support.has(client, "other/repository", digest)
        assert support.has(client, repository, digest)
        assert not support.has(client, "other/repository", digest)
        assert registry.count("/other/repository/referrers/") == 1


class Silent(OciRegistry):
    """Keeps silent when asked for referrers, until it `speaks`."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.speaks = threading.Event()

    def respond(self, request: Request) -> Answer:
        if "/referrers/" in request.path and not self.speaks.is_set():
            self.asked += 1
            self.speaks.wait(10)
        return super().respond(request)


def test_a_silent_registry_is_asked_once(repository: str) -> None:
    # Given eight who want to know of a registry that keeps silent
    now = 0.0
    support = Support(clock=lambda: now)
    with Silent() as registry, RegistryClient(registry.url, Anonymous(), read_timeout=0.3) as client:
        digest = push(registry, repository, None, images.image())

        def ask(_: int) -> None:
            with pytest.raises(TimedOut):
                support.referrers(client, repository, digest)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(ask, range(8)))

        # Then one has waited for it, and for half a minute nobody does
        asked = registry.asked
        now = SILENT_FOR - 1
        ask(0)
        assert registry.asked == asked

        # And after that it is asked again
        registry.speaks.set()
        now = SILENT_FOR + 1
        with RegistryClient(registry.url, Anonymous()) as patient:
            assert support.referrers(patient, repository, digest) == []


def test_who_waited_while_the_registry_broke_off_is_told_and_the_next_one_asks() -> None:
    # Given a registry that breaks off when one has asked and another waits
    class Broken:
        name = "registry"
        asked = 0
        both = threading.Event()

        def referrers(self, repository: str, digest: str) -> list[object]:
            self.asked += 1
            if self.asked > 1:
                return []
            assert self.both.wait(10)
            raise Unreachable("broken off")

    moments = iter(range(100))
    came: list[int] = []

    def clock() -> float:
        came.append(next(moments))
        return came[-1]

    support, broken = Support(clock), Broken()
    with ThreadPoolExecutor(2) as threads:
        asking = [threads.submit(support.referrers, broken, "a/x", f"sha256:{n}") for n in range(2)]  # type: ignore[arg-type]
        # Each looks at the clock when it comes and when it looks for what is known, the first once more
        wait_until(lambda: broken.asked == 1 and len(came) == 5)
        broken.both.set()

        # Then both are told
        for each in asking:
            with pytest.raises(Unreachable):
                each.result(10)
    assert broken.asked == 1

    # And who comes later asks: it may have been the connection alone
    assert support.referrers(broken, "a/x", "sha256:3") == []  # type: ignore[arg-type]
