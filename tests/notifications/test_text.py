from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.notifications.text import MAX_EXCERPT, excerpt_of_bytes, excerpt_of_value, free_text

#: On a busy machine an example may take its time.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("value", [None, 1, "", "\0\0", "\ud800", ["a"]])
def test_what_holds_no_text_is_none(value: object) -> None:
    assert free_text(value) is None


@unhurried
@given(st.text(st.characters()))
def test_free_text_can_be_stored(value: str) -> None:
    kept = free_text(value) or ""
    assert "\0" not in kept
    assert len(kept) <= 255
    assert kept.encode().decode() == kept


@pytest.mark.parametrize(
    "body", [b"\0" * 100_000, b"\xff" * 100_000, "é".encode() * 50_000, b"a" + "é".encode() * 50_000]
)
def test_excerpt_of_bytes_is_bounded_and_storable(body: bytes) -> None:
    kept = excerpt_of_bytes(body)
    assert "\0" not in kept
    assert MAX_EXCERPT - 3 <= len(kept.encode()) <= MAX_EXCERPT


def test_excerpt_of_a_value_shows_what_cannot_be_stored() -> None:
    value = {"a": "\0\ud800é"}
    kept = excerpt_of_value(value)
    assert kept.isascii()
    assert "\0" not in kept
    assert json.loads(kept) == value
    assert len(excerpt_of_value("x" * 100_000)) == MAX_EXCERPT
