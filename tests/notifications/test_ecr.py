from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from app.notifications import RegistryEvent
from tests.notifications.delivering import DIGEST, OCI_MANIFEST, only, read, reasons, told


def test_a_push_is_read_whole() -> None:
    assert only(read("ecr", "ecr-push")) == RegistryEvent(
        id="ecr:13cde686-328b-6117-af20-0e5566167482:push",
        action="push",
        repository="team/app",
        tag="latest",
        digest=DIGEST,
        media_type=OCI_MANIFEST,
        occurred_at=datetime(2026, 11, 16, 1, 54, 34, tzinfo=UTC),
        # The registry's id and region are no part of the path: they are in the registry's address.
        source_addr="123456789012.dkr.ecr.us-west-2",
    )


def test_a_push_by_digest_has_no_tag() -> None:
    assert told(read("ecr", "ecr-push-by-digest")) == [("push", "team/app", None, DIGEST)]


def test_of_a_delete_both_the_tag_and_what_stood_on_the_digest_are_looked_at() -> None:
    found = read("ecr", "ecr-delete")
    assert told(found) == [("delete", "team/app", "latest", None), ("delete", "team/app", None, DIGEST)]
    assert len({each.id for each in found.events}) == 2


def test_a_cloud_event_says_the_same() -> None:
    plain, cloud = only(read("ecr", "ecr-push")), only(read("ecr", "ecr-cloud-event"))
    names = ("id", "action", "repository", "tag", "digest", "occurred_at", "source_addr")
    assert [getattr(plain, name) for name in names] == [getattr(cloud, name) for name in names]


def test_an_empty_tag_of_a_template_is_none() -> None:
    found = read("ecr", "ecr-cloud-event", lambda body: body["data"].update(imageTag=""))
    assert only(found).tag is None


@pytest.mark.parametrize(("name", "reason"), [("ecr-failure", "failed"), ("ecr-scan", "other_event")])
def test_what_changed_nothing_is_ignored(name: str, reason: str) -> None:
    assert read("ecr", name).ignored == {reason: 1}


def nothing_named(body: Any) -> None:
    body["detail"].update({"action-type": "DELETE", "image-tag": None, "image-digest": ""})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda body: body.update(detail=None), "no_events"),
        (lambda body: body["detail"].update({"action-type": "TOUCH"}), "unknown_action"),
        (lambda body: body["detail"].update({"repository-name": 7}), "bad_repository"),
        (lambda body: body["detail"].update({"image-digest": "sha256:12"}), "bad_digest"),
        (nothing_named, "bad_event"),
    ],
)
def test_what_is_half_known_is_quarantined(change: Any, reason: str) -> None:
    assert reasons(read("ecr", "ecr-push", change)) == [reason]


def test_events_without_an_id_are_never_taken_for_each_other() -> None:
    first, second = (only(read("ecr", "ecr-push", lambda body: body.update(id=""))) for _ in range(2))
    assert first.id != second.id
