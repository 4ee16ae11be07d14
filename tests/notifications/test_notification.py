from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from app.notifications import notification
from app.notifications.errors import InvalidEvent
from app.notifications.event import RegistryEvent
from app.notifications.notification import MAX_QUARANTINED, MAX_SOURCE_INSTANCES, Ignored, sort_events


def read(item: Mapping[str, object]) -> RegistryEvent | Ignored:
    if item.get("bad"):
        raise InvalidEvent("bad_event", "bad")
    return RegistryEvent(id=str(item["n"]), action="push", repository="a", tag="v1")


def source(item: Mapping[str, object]) -> object:
    return item.get("source")


def test_a_body_full_of_rubbish_leaves_a_bounded_quarantine_and_costs_no_event() -> None:
    # Given far more bad events than are kept one by one, and a good one at the end
    items: list[object] = [{"bad": True, "n": n} for n in range(10_000)]
    items.append({"n": 1})

    # When they are sorted
    found = sort_events(items, read, source, b"")

    # Then the first are kept each, the rest together, and the good one is an event
    assert [each.id for each in found.events] == ["1"]
    assert [each.reason for each in found.quarantined] == ["bad_event"] * (MAX_QUARANTINED - 1) + ["too_many"]
    assert found.quarantined[-1].excerpt.startswith(json.dumps([items[MAX_QUARANTINED - 1]])[:-1])


def test_more_events_than_one_body_holds_are_quarantined_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notification, "MAX_EVENTS", 2)
    found = sort_events([{"n": 1}, {"n": 2}, {"n": 3}], read, source, b"")
    assert [each.id for each in found.events] == ["1", "2"]
    assert [(each.reason, json.loads(each.excerpt)) for each in found.quarantined] == [("too_many", [{"n": 3}])]


def test_sources_are_bounded() -> None:
    found = sort_events([{"n": n, "source": str(n)} for n in range(1000)], read, source, b"")
    assert len(found.source_instances) == MAX_SOURCE_INSTANCES
    assert len(found.events) == 1000
