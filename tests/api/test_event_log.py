"""The event log as scripts read it."""

from __future__ import annotations

import pytest

from app.database import connection
from app.models import Event
from tests.api.asking import Asking
from tests.support.seed import Seeded

EVENTS = "/api/v4/geo/event_log"


def test_events_newest_first_page_by_page(asking: Asking, rows: Seeded) -> None:
    # When the links are followed
    found, following = [], f"{EVENTS}?per_page=3"
    while following:
        response = asking.send("GET", following)
        found += response.get_json()
        following = response.headers.get("Link", "").partition(">")[0].strip("<")
    # Then every event was told once, the newest first
    with connection():
        assert [event["id"] for event in found] == [row.id for row in Event.select().order_by(Event.id.desc())]
    assert {event["replicable_name"] for event in found} == {"container_repository"}


def test_events_of_one_repository(asking: Asking, rows: Seeded) -> None:
    (event,) = asking.get(f"{EVENTS}?path=team/app")
    assert (event["path"], event["action"], event["tag"], event["actor"]) == ("team/app", "push", "latest", "ci-bot")
    assert event["occurred_at"].endswith("Z")
    assert asking.get(f"{EVENTS}/{event['id']}") == event


@pytest.mark.parametrize(
    ("address", "status"),
    [
        (f"{EVENTS}?path=team/unknown", 404),
        (f"{EVENTS}?path=Team", 400),
        (f"{EVENTS}?path=", 400),
        (f"{EVENTS}?after=x", 400),
        (f"{EVENTS}?per_page=", 400),
        (f"{EVENTS}/0", 404),
        (f"{EVENTS}/9223372036854775808", 404),
        (f"{EVENTS}/x", 404),
    ],
)
def test_what_is_not_there(asking: Asking, rows: Seeded, address: str, status: int) -> None:
    asking.get(address, status)


def test_the_log_is_for_the_admin_token_and_the_feed_is_not(asking: Asking) -> None:
    assert asking.face.client.get(EVENTS).status_code == 401
    asking.get("/api/v4/geo/events", 401)
