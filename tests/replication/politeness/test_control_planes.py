"""Control planes: what one process is told by a provider's API holds for all, and for no registry."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

import pytest

from app.providers import Provider, provider_of
from app.registry import RateLimited, TooManyRequests
from app.replication.politeness import Gate, Politeness
from app.replication.shared import Shared
from app.settings import RegistrySettings, Settings
from tests.replication.check.conftest import answering
from tests.support.answering import Answer, Request
from tests.support.deployment import offline_environment
from tests.support.github import TOKEN
from tests.support.valkey import Valkey
from tests.support.wait import wait_until

DIGEST = "sha256:" + "0" * 64

#: How each vendor says that it was asked too often, and that it is not to be asked for ten minutes.
TOO_OFTEN = {
    "ecr": Answer(
        400,
        json.dumps({"__type": "ThrottlingException", "message": "Rate exceeded"}).encode(),
        {"Content-Type": "application/x-amz-json-1.1", "Retry-After": "600"},
    ),
    "ghcr": Answer(403, b'{"message": "You have exceeded a secondary rate limit"}', {"Retry-After": "600"}),
}


@dataclass
class Process:
    """What one process has of its secondary's provider."""

    polite: Politeness
    settings: RegistrySettings
    provider: Provider

    @property
    def plane(self) -> Gate:
        found = self.polite.plane(self.settings)
        assert found is not None
        return found

    def delete(self) -> None:
        self.provider.plane().delete_digest("octocat/app", DIGEST)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def process(stack: ExitStack, name: str, api: str, redis: Valkey | None, noted: list[tuple[str, str]]) -> Process:
    named = {"PROVIDER": name, "AUTH": "basic", "USERNAME": "octocat", "PASSWORD": TOKEN, "CONTROL_URL": api}
    env = {f"GEO_SECONDARY_REGISTRY_{key}": value for key, value in named.items()}
    settings = Settings.from_env(offline_environment("sqlite:///none.db") | env)
    assert settings.secondary is not None
    shared = Shared(redis.url) if redis is not None else None
    if shared is not None:
        stack.callback(shared.close)
    polite = Politeness(settings, shared, threading.Event(), lambda side, kind: noted.append((side, kind)))
    stack.enter_context(closing(polite))
    provider = stack.enter_context(closing(provider_of(settings.secondary, polite.plane(settings.secondary))))
    return Process(polite, settings.secondary, provider)


@pytest.mark.parametrize("name", sorted(TOO_OFTEN))
def test_what_one_process_is_told_holds_for_all(name: str, stack: ExitStack, valkey: Valkey, amazon: str) -> None:
    # Given three processes, and an API that has enough; one process has asked it for something before
    asked: list[Request] = []

    def refusing(request: Request) -> Answer:
        asked.append(request)
        return TOO_OFTEN[name]

    noted: list[tuple[str, str]] = []
    url = stack.enter_context(answering(refusing))
    first, second, third = (process(stack, name, url, valkey, noted) for _ in range(3))
    second.plane.enter(0).release()

    # When the first is told so
    with pytest.raises(TooManyRequests):
        first.delete()
    assert noted == [("secondary", "429"), ("secondary", "refused")]

    # Then the second hears of it, without asking, and the third when it comes to ask
    wait_until(lambda: second.plane.pause > 500)
    for other in (second, third):
        with pytest.raises(RateLimited, match="control plane of the secondary registry") as raised:
            other.delete()
        assert raised.value.retry_after == pytest.approx(600, abs=30)
    assert len(asked) == 1

    # And the registry itself goes on
    assert all(each.polite.gate(each.settings).pause == 0 for each in (first, second, third))


def test_without_redis_it_holds_for_the_process(stack: ExitStack) -> None:
    asked: list[Request] = []

    def refusing(request: Request) -> Answer:
        asked.append(request)
        return TOO_OFTEN["ghcr"]

    alone = process(stack, "ghcr", stack.enter_context(answering(refusing)), None, [])
    with pytest.raises(TooManyRequests):
        alone.delete()
    with pytest.raises(RateLimited):
        alone.delete()
    assert len(asked) == 1


def test_who_has_no_control_plane_has_no_gate_of_one() -> None:
    settings = Settings.from_env(offline_environment("sqlite:///none.db", GEO_SECONDARY_REGISTRY_PROVIDER="acr"))
    with closing(Politeness(settings, None, threading.Event())) as polite:
        assert settings.secondary is not None
        assert [polite.plane(each) for each in (settings.primary, settings.secondary)] == [None, None]
