from __future__ import annotations

import pytest

from app.notifications.event import MAX_EVENT_ID
from app.notifications.identity import key_of, key_of_content, key_of_nothing
from app.notifications.text import free_text


def test_a_key_names_the_dialect_and_what_the_vendor_calls_it() -> None:
    assert key_of("ecr", "a-1", "push") == "ecr:a-1:push"
    assert key_of("harbor", "a-1", 0) == "harbor:a-1:0"


@pytest.mark.parametrize("given", ["x" * 300, "\x00", "\ud800", "a\x00b"])
def test_what_no_column_holds_is_hashed(given: str) -> None:
    found, other = key_of("ecr", given), key_of("ecr", given + "2")
    assert found == key_of("ecr", given) != other
    assert len(found) <= MAX_EVENT_ID
    assert free_text(found) == found


def test_content_is_known_whatever_the_order_of_its_members() -> None:
    assert key_of_content("hub", {"a": 1, "b": [2]}) == key_of_content("hub", {"b": [2], "a": 1})
    assert key_of_content("hub", {"a": 1}) != key_of_content("hub", {"a": 2})
    assert key_of_content("hub", {"a": "\ud800"}) == key_of_content("hub", {"a": "\ud800"})


def test_nothing_is_like_nothing_else() -> None:
    assert key_of_nothing("quay") != key_of_nothing("quay")
