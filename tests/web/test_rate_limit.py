"""How often may be asked: by address, in a minute, and told with every answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.web.rate_limit import RateLimit
from tests.api.asking import Asking
from tests.support.deployment import SECRET
from tests.support.face import face


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Asking]:
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state", GEO_API_RATE_LIMIT="3") as started:
        yield Asking(started)


def test_after_so_many_it_is_said_when_to_come_again(limited: Asking) -> None:
    # When one asks as often as one may
    answers = [limited.send("GET", "/api/v4/geo_sites") for _ in range(3)]
    # Then each answer tells what is left
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0"]
    assert {answer.headers["RateLimit-Limit"] for answer in answers} == {"3"}
    # And the next one is refused, and told when to come again
    refused = limited.send("GET", "/api/v4/geo_sites")
    assert (refused.status_code, refused.content_type) == (429, "application/problem+json")
    assert "GEO_API_RATE_LIMIT" in refused.get_json()["detail"]
    assert 1 <= int(refused.headers["Retry-After"]) <= 61
    assert refused.headers["RateLimit-Reset"] == refused.headers["Retry-After"]


def test_events_of_registries_and_probes_are_not_counted(limited: Asking) -> None:
    # Given an address that may not ask any more
    for _ in range(4):
        limited.send("GET", "/api/v4/geo_sites")
    # Then its events are taken in all the same
    webhook = "/api/v4/container_registry_event/events"
    answer = limited.face.client.post(webhook, json={"events": []}, headers={"Authorization": SECRET})
    assert answer.status_code == 200
    for address in ("/-/readiness", "/metrics", "/openapi.json"):
        answer = limited.face.client.get(address)
        assert answer.status_code == 200
        assert "RateLimit-Limit" not in answer.headers


def test_who_has_no_token_uses_up_nobody_s_share(limited: Asking) -> None:
    for _ in range(10):
        assert limited.face.client.get("/api/v4/geo_sites").status_code == 401
    assert limited.send("GET", "/api/v4/geo_sites").headers["RateLimit-Remaining"] == "2"


def test_without_a_limit_nothing_is_told_of_one(tmp_path: Path) -> None:
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state", GEO_API_RATE_LIMIT="0") as started:
        answer = Asking(started).send("GET", "/api/v4/geo_sites")
    assert answer.status_code == 200
    assert not [name for name, _ in answer.headers if re.match("(?i)ratelimit", name)]


def test_a_window_begins_with_the_first_request_and_ends() -> None:
    # Given a clock
    instant = 0.0
    limit = RateLimit(clock=lambda: instant)
    assert [limit.take("192.0.2.1", 2).allowed for _ in range(3)] == [True, True, False]
    # When most of the window is over, and then all of it
    instant = 59.0
    assert limit.take("192.0.2.1", 2).reset == 1.0
    instant = 60.0
    # Then there is a new one
    assert limit.take("192.0.2.1", 2).remaining == 1


def test_each_address_has_its_own() -> None:
    limit = RateLimit()
    assert [limit.take(address, 1).allowed for address in ("192.0.2.1", "192.0.2.2", None)] == [True, True, True]
    assert [limit.take(address, 1).allowed for address in ("2001:db8::1", "2001:db8::2")] == [True, False]


def test_only_so_many_addresses_are_remembered() -> None:
    limit = RateLimit(capacity=2)
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        assert limit.take(address, 1).allowed
    assert limit.take("192.0.2.1", 1).allowed
    assert not limit.take("192.0.2.3", 1).allowed
