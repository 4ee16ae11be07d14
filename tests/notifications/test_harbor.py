from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.notifications.delivering import DIGEST, OTHER_DIGEST, only, read, reasons, told


@pytest.mark.parametrize("name", ["harbor-push", "harbor-cloud-event-push"])
def test_a_push_is_read_whole_in_either_format(name: str) -> None:
    found = only(read("harbor", name))
    assert (found.action, found.repository, found.tag, found.digest) == ("push", "library/app", "5.0", DIGEST)
    assert (found.actor, found.source_addr) == ("admin", "harbor.example.com")
    assert found.occurred_at in {
        datetime(2020, 4, 15, 3, 45, 8, tzinfo=UTC),
        datetime(2026, 4, 3, 6, 40, 41, tzinfo=UTC),
    }


@pytest.mark.parametrize("name", ["harbor-delete", "harbor-cloud-event-delete"])
def test_a_deleted_artifact_goes_with_all_of_its_tags(name: str) -> None:
    # Only the first of them is named, so it is by the digest that they are looked at
    assert told(read("harbor", name)) == [("delete", "library/app", None, DIGEST)]


def test_a_digest_in_the_place_of_the_tag_is_none() -> None:
    assert told(read("harbor", "harbor-push-untagged")) == [("push", "library/app", None, DIGEST)]


@pytest.mark.parametrize(("name", "reason"), [("harbor-pull", "pull"), ("harbor-scan", "other_event")])
def test_what_changes_nothing_is_ignored(name: str, reason: str) -> None:
    assert read("harbor", name).ignored == {reason: 1}


@pytest.mark.parametrize("kind", ["harbor.scan.completed", "harbor.quota.exceeded", "harbor.not.yet.known"])
def test_other_cloud_events_are_ignored(kind: str) -> None:
    found = read("harbor", "harbor-cloud-event-push", lambda body: body.update(type=kind))
    assert found.ignored == {"other_event": 1}


@pytest.mark.parametrize("name", ["harbor-push", "harbor-cloud-event-push"])
def test_a_repetition_has_the_same_id(name: str) -> None:
    assert read("harbor", name) == read("harbor", name)


def test_cloud_events_are_known_by_their_id_and_others_by_their_content() -> None:
    cloud = only(read("harbor", "harbor-cloud-event-push"))
    assert cloud.id == "harbor:4a3ae6c7-0d1b-4f0a-8a31-2d5dd5ae3a4c:0"
    later = only(read("harbor", "harbor-push", lambda body: body.update(occur_at=1586922309)))
    assert later.id != only(read("harbor", "harbor-push")).id


def test_every_artifact_is_an_event() -> None:
    def second(body: Any) -> None:
        body["event_data"]["resources"].append({"digest": OTHER_DIGEST, "tag": "6.0"})

    found = read("harbor", "harbor-push", second)
    assert [(each.tag, each.digest) for each in found.events] == [("5.0", DIGEST), ("6.0", OTHER_DIGEST)]
    assert len({each.id for each in found.events}) == 2


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("harbor-push", lambda body: body.pop("type"), "no_events"),
        ("harbor-push", lambda body: body.update(type="PAINT_ARTIFACT"), "unknown_action"),
        ("harbor-push", lambda body: body["event_data"].update(resources=[]), "bad_event"),
        ("harbor-push", lambda body: body["event_data"].update(resources=[1]), "bad_event"),
        ("harbor-push", lambda body: body["event_data"].pop("repository"), "bad_repository"),
        # Without the digest the whole repository would be meant.
        ("harbor-delete", lambda body: body["event_data"]["resources"][0].pop("digest"), "bad_digest"),
    ],
)
def test_what_is_half_known_is_quarantined(name: str, change: Any, reason: str) -> None:
    assert reasons(read("harbor", name, change)) == [reason]
