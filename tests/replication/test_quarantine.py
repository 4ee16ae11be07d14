from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.database import connection
from app.models import Event, QuarantinedEvent
from app.notifications import Quarantined
from app.notifications.errors import Reason
from app.replication import event_log, quarantine
from app.replication.context import Context
from app.replication.event_log import Origin
from app.replication.quarantine import Replayed
from tests.support.face import Face, face


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Face]:
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state") as started:
        yield started


def context(installation: Face) -> Context:
    found: Context = installation.app.extensions["geo"]
    return found


def kept(body: str, dialect: str = "distribution", reason: Reason = "bad_event") -> int:
    event_log.store([], [Quarantined(reason, body)], Origin(dialect, len(body)))
    with connection():
        row: QuarantinedEvent = QuarantinedEvent.get()
        return int(row.id)


def left() -> int:
    with connection():
        return int(QuarantinedEvent.select().count())


def event(key: str, **target: str) -> dict[str, Any]:
    return {"id": key, "action": "push", "target": {"repository": "team/app", "tag": "v1", **target}}


def test_what_can_be_read_of_many_is_stored_and_the_rest_stays(installation: Face) -> None:
    # Given too many events at once, one of which nobody understands
    row_id = kept(json.dumps([event("e-1"), event("e-2"), 7]), reason="too_many")
    # When it is replayed twice
    first = quarantine.replay(row_id, context(installation))
    second = quarantine.replay(row_id, context(installation))
    # Then each event is in the log once, and it stays for the one that is not
    assert first == Replayed(accepted=2, unreadable="bad_event")
    assert second == Replayed(duplicate=2, unreadable="bad_event")
    with connection():
        assert Event.select().count() == 2
    assert left() == 1


def test_what_is_of_no_interest_leaves_all_the_same(installation: Face) -> None:
    row_id = kept(json.dumps({"events": [{**event("e-1"), "action": "pull"}]}))
    assert quarantine.replay(row_id, context(installation)) == Replayed(ignored=1)
    assert left() == 0


def test_of_a_dialect_that_is_still_not_spoken_nothing_is_read(installation: Face) -> None:
    row_id = kept(json.dumps(event("e-1")), dialect="klingon")
    assert quarantine.replay(row_id, context(installation)) == Replayed(unreadable="unknown_dialect")
    assert left() == 1


def test_what_is_gone_is_gone(installation: Face) -> None:
    row_id = kept("{}")
    assert quarantine.discard(row_id)
    for gone in (row_id, 2**63, 2**70):
        assert not quarantine.discard(gone)
        assert quarantine.replay(gone, context(installation)) is None
