from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from app.notifications import InvalidEvent, RegistryEvent


def event(**fields: Any) -> RegistryEvent:
    return RegistryEvent(**{"id": "1", "action": "push", "repository": "a/x", "tag": "v1", **fields})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": ""}, "bad_event"),
        ({"id": "x" * 256}, "bad_event"),
        ({"id": "a\0"}, "bad_event"),
        ({"action": "pull"}, "unknown_action"),
        ({"repository": ""}, "bad_repository"),
        ({"tag": "x" * 129}, "bad_tag"),
        ({"digest": "md5"}, "bad_digest"),
        ({"digest": "x:" + "0" * 254}, "bad_digest"),
        ({"tag": None}, "bad_event"),
        ({"occurred_at": datetime(2026, 1, 1)}, "bad_event"),  # noqa: DTZ001
    ],
)
def test_an_event_that_does_not_hold_cannot_be_made(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        event(**fields)
    assert caught.value.reason == reason
    assert caught.value.temporary is False


def test_whatever_a_dialect_hands_over_is_made_storable() -> None:
    # Given empty strings, dirty text, a foreign time zone and a size that no column holds
    zone = timezone(timedelta(hours=2))
    found = event(digest="", media_type="", actor="a\0", size=2**63, occurred_at=datetime(2026, 1, 1, 1, tzinfo=zone))

    # Then each is as the receiver expects it
    assert (found.digest, found.media_type, found.actor, found.size) == (None, None, "a", None)
    assert found.occurred_at == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert found.occurred_at.tzinfo is UTC


@pytest.mark.parametrize(
    "time",
    [
        datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-2))),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_a_time_of_no_use_is_none(time: datetime) -> None:
    assert event(occurred_at=time).occurred_at is None


def test_only_a_delete_may_mean_the_whole_repository() -> None:
    found = event(action="delete", tag=None)
    assert found.reference is None
