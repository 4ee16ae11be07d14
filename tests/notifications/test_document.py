from __future__ import annotations

import json

import pytest

from app.api.webhook import MAX_BODY
from app.notifications.document import MAX_PARTS, MAX_VALUES, read_json
from app.notifications.errors import InvalidEvent
from tests.notifications.delivering import raw


def test_json_is_read_with_or_without_a_byte_order_mark() -> None:
    assert read_json(b'{"a": 1}') == read_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


def test_an_integer_that_python_refuses_is_kept_as_text() -> None:
    assert read_json(b"[1, -2, %s]" % (b"9" * 5000)) == [1, -2, "9" * 5000]


@pytest.mark.parametrize("name", ["distribution-3-delete-tag", "distribution-2.8-push", "quay-push"])
def test_as_many_events_as_are_parsed_are_read(name: str) -> None:
    # Given as much of the shortest events as there may be, without a blank
    one = json.dumps(json.loads(raw(name)), separators=(",", ":")).encode()
    body = b"[" + b",".join([one] * (MAX_BODY // (len(one) + 1))) + b"]"
    assert MAX_BODY - len(body) < len(one) + 2

    # Then it is what it says
    assert read_json(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff", "not_utf8"),
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"[" * 100_000, "too_deep"),
        (b"[" * 1_000_000, "too_many"),
        (b"[" + b"{}," * MAX_PARTS + b"{}]", "too_many"),
        (b"[" + b"0," * (MAX_VALUES + 1) + b"0]", "too_many"),
    ],
)
def test_no_document(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        read_json(body)
    assert caught.value.reason == reason
