from __future__ import annotations

from datetime import UTC, datetime

from app.notifications import Delivery
from app.notifications.cloud_events import binary, is_structured, structured

ATTRIBUTES = {"specversion": "1.0", "id": "7", "source": "here", "type": "a.b", "time": "2026-01-02T03:04:05Z"}


def test_both_modes_say_the_same() -> None:
    data = {"name": "team/app"}
    inside = structured({**ATTRIBUTES, "data": data})
    beside = binary(Delivery(b"", None, {f"CE-{name}": value for name, value in ATTRIBUTES.items()}), data)
    for found in (inside, beside):
        assert (found.id, found.source, found.type, found.data) == ("7", "here", "a.b", data)
        assert found.time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_what_is_missing_is_empty() -> None:
    found = structured({"specversion": "1.0", "id": 7, "data": "text"})
    assert (found.id, found.source, found.type, found.time, dict(found.data)) == ("", "", "", None, {})


def test_the_mode_is_told_by_the_body() -> None:
    assert is_structured(ATTRIBUTES)
    assert not is_structured({"name": "team/app"})
