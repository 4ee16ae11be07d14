from __future__ import annotations

from typing import Any

import pytest

from app.notifications.notification import MAX_EVENTS
from tests.notifications.delivering import read, reasons, told

BOTH = [("push", "team/app", "latest", None), ("push", "team/app", "v1", None)]


def test_every_tag_is_an_event() -> None:
    assert told(read("quay", "quay-push")) == BOTH


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.update(updated_tags={"latest": "a", "v1": "b"}),
        lambda body: [body.pop(name) for name in ("repository", "docker_url", "homepage")],
        lambda body: body.update(colour="blue"),
    ],
    ids=["older versions", "a template with less", "a template with more"],
)
def test_other_shapes_are_understood(change: Any) -> None:
    assert told(read("quay", "quay-push", change)) == BOTH


def test_one_tag_may_be_bare() -> None:
    assert told(read("quay", "quay-push", lambda body: body.update(updated_tags="latest"))) == BOTH[:1]


def test_nothing_is_taken_for_a_repetition() -> None:
    first, second = read("quay", "quay-push"), read("quay", "quay-push")
    assert len({each.id for each in (*first.events, *second.events)}) == 4


def test_a_push_without_tags_is_ignored() -> None:
    assert read("quay", "quay-push", lambda body: body.update(updated_tags=[])).ignored == {"untagged": 1}


def test_a_bad_tag_costs_none_of_the_others() -> None:
    # When some of the tags are none
    found = read("quay", "quay-push", lambda body: body.update(updated_tags=["latest", "a b", 7, "c d"]))

    # Then the body is in quarantine for each kind of fault once, whole, to be read again
    assert [each.tag for each in found.events] == ["latest"]
    assert [each.reason for each in found.quarantined] == ["bad_tag"]
    assert '"a b"' in found.quarantined[0].excerpt
    assert found.quarantined[0].excerpt.startswith("{")


def test_more_tags_than_are_read_are_told_of() -> None:
    found = read("quay", "quay-push", lambda body: body.update(updated_tags=["v1"] * (MAX_EVENTS + 1)))
    assert len(found.events) == MAX_EVENTS
    assert [each.reason for each in found.quarantined] == ["too_many"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda body: body.pop("updated_tags"), "no_events"),
        (lambda body: body.update(updated_tags=7), "bad_event"),
        (lambda body: body.update(repository="../etc"), "bad_repository"),
    ],
)
def test_what_is_half_known_is_quarantined(change: Any, reason: str) -> None:
    assert reasons(read("quay", "quay-push", change)) == [reason]
