from __future__ import annotations

import json
import re

import pytest

from app.database import connection
from app.models import Event, QuarantinedEvent
from app.notifications import Quarantined
from app.replication import event_log
from app.replication.event_log import Origin
from tests.admin.checked import Checked
from tests.support.face import Face, csrf
from tests.support.seed import digest, seed


@pytest.fixture
def signed_in(sqlite_pages: Face) -> Face:
    seed(sqlite_pages.site)
    sqlite_pages.sign_in()
    return sqlite_pages


def test_events_of_one_repository(signed_in: Face) -> None:
    page = signed_in.client.get("/admin/events?repository=/team/app/").text
    Checked(page)
    shown = re.findall(r"/admin/repositories\?search=([^\"]+)\"", page)
    assert set(shown) == {"team/app"}
    assert "No repository has this path" in signed_in.client.get("/admin/events?repository=team").text


def test_a_repository_without_events_is_said_to_have_none(signed_in: Face) -> None:
    assert "No event is kept of it" in signed_in.client.get("/admin/events?repository=team/waiting").text


def quarantined(body: str) -> int:
    """What a dialect that could not read yet would have put there."""
    unreadable = Quarantined("bad_event", body)
    event_log.store([], [unreadable], Origin("distribution", len(body)))
    with connection():
        newest: QuarantinedEvent = QuarantinedEvent.select().order_by(QuarantinedEvent.id.desc()).get()
        return int(newest.id)


def press(pages: Face, quarantined_id: int, button: str) -> str:
    page = pages.client.get("/admin/quarantine").text
    Checked(page)
    response = pages.client.post(
        f"/admin/quarantine/{quarantined_id}/{button}", data={"csrf_token": csrf(page)}, follow_redirects=True
    )
    return response.text


def test_what_can_be_read_now_is_replayed_into_the_log(signed_in: Face) -> None:
    # Given a good event in quarantine
    event = {"id": "e-1", "action": "push", "timestamp": "2026-07-01T00:00:00Z"}
    event["target"] = {"repository": "late/app", "tag": "v1", "digest": digest("v1")}  # type: ignore[assignment]
    row_id = quarantined(json.dumps(event))
    # When it is replayed
    page = press(signed_in, row_id, "replay")
    # Then its event is in the log, somebody is woken by it, and it has left the quarantine
    assert "1 new" in page
    with connection():
        assert Event.get(Event.event_key == "e-1").tag == "v1"
        assert QuarantinedEvent.get_or_none(QuarantinedEvent.id == row_id) is None
    assert (
        signed_in.client.post(f"/admin/quarantine/{row_id}/replay", data={"csrf_token": csrf(page)}).status_code == 404
    )


def test_what_still_cannot_be_read_stays(signed_in: Face) -> None:
    row_id = quarantined('{"events": [')
    page = press(signed_in, row_id, "replay")
    assert "It still cannot be read (not json)" in page
    assert f'id="quarantined-{row_id}"' in page


def test_what_is_of_no_use_is_discarded(signed_in: Face) -> None:
    row_id = quarantined('{"events": [')
    page = press(signed_in, row_id, "discard")
    assert "It is forgotten." in page
    assert f'id="quarantined-{row_id}"' not in page


@pytest.mark.parametrize("button", ["replay", "discard"])
def test_what_is_not_there_is_not_found(signed_in: Face, button: str) -> None:
    for row_id in (999_999, 2**70):
        assert "no such thing in quarantine" in press(signed_in, row_id, button)
