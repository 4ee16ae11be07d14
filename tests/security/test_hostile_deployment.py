"""What a primary's deployment can tell a site that follows it: a reading, or what is none and does no harm."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from app.models import ContainerRepository, Event
from app.replication.log import LogUnavailable, Reading, Terms, wire
from app.replication.log.feed import FeedLog, PrimaryClient
from tests.support.answering import Answer, Request, Server


def honest() -> dict[str, Any]:
    event = Event(
        id=7,
        event_key="key",
        container_repository=ContainerRepository(path="team/app"),
        occurred_at=datetime(2026, 5, 1, tzinfo=UTC),
        action="push",
        tag="v1",
    )
    answer = wire.dump(Reading([event], "position", 7, 7, Terms("berlin", ("team/**",))))
    return dict(json.loads(json.dumps(answer)))


class Primary:
    """Says whatever the test wants."""

    def __init__(self) -> None:
        self.body = b""
        self.server = Server(self.serve)

    def serve(self, request: Request) -> Answer:
        return Answer(200, self.body, {"Content-Type": "application/json"})


@pytest.fixture
def primary() -> Iterator[Primary]:
    made = Primary()
    made.server.start()
    yield made
    made.server.stop()


@pytest.fixture
def log(primary: Primary) -> Iterator[FeedLog]:
    client = PrimaryClient(f"http://127.0.0.1:{primary.server.port}", "geosite_x")
    yield FeedLog(client)
    client.close()


def test_an_honest_answer_is_read(primary: Primary, log: FeedLog) -> None:
    primary.body = json.dumps(honest()).encode()
    reading = log.read(None, limit=10)
    assert [event.id for event in reading.events] == [7]


def places(document: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in the document."""
    yield path
    inside = (
        document.items() if isinstance(document, dict) else enumerate(document if isinstance(document, list) else [])
    )
    for key, value in inside:
        yield from places(value, (*path, key))


@pytest.mark.parametrize(
    "value",
    [2**63, -1, 10**400, 1.5, float("nan"), True, "x", "\x00", [], {}, [[]], {"a": 1}, "9" * 5000],
    ids=lambda value: f"{type(value).__name__} {value!r:.12}",
)
def test_any_value_in_any_place_is_a_reading_or_none(primary: Primary, log: FeedLog, value: object) -> None:
    # Given an answer in which one value after the other is this one
    said: list[str] = []
    for path in places(honest()):
        answer: Any = copy.deepcopy(honest())
        inside = answer
        for step in path[:-1]:
            inside = inside[step]
        if path:
            inside[path[-1]] = value
        else:
            answer = value
        primary.body = json.dumps(answer).encode()

        # When it is read, Then it is a reading that can be written down, or said to be none
        try:
            reading = log.read(None, limit=10)
        except LogUnavailable as error:
            said.append(str(error))
            continue
        assert all(0 <= number < 2**63 for number in (reading.last_event_id, reading.newest_event_id))
        assert 0 <= reading.retry_after <= 60
        wire.as_registry_events(reading.events)
    assert all(len(each) < 1000 for each in said)


@pytest.mark.parametrize("body", [b"", b"[" * 100_000, b'{"events":[' + b"{}," * 1_000_000 + b"{}]}", b"\xff", b"null"])
def test_what_is_no_answer_is_said_to_be_none(primary: Primary, log: FeedLog, body: bytes) -> None:
    primary.body = body
    with pytest.raises(LogUnavailable):
        log.read(None, limit=10)
