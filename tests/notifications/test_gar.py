from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from app.notifications import RegistryEvent
from tests.notifications.delivering import DIGEST, only, read, reasons, told

PATH = "my-project/my-repo/team/app"
IMAGE = f"us-docker.pkg.dev/{PATH}"


def saying(data: object) -> Callable[[Any], None]:
    """Another message in the same envelope."""
    text = base64.b64encode(json.dumps(data).encode()).decode()
    return lambda body: body["message"].update(data=text)


def test_an_insert_is_read_whole() -> None:
    assert only(read("gar", "gar-insert")) == RegistryEvent(
        id=f"gar:{PATH}:136969346945:push",
        action="push",
        repository=PATH,
        tag="v1",
        digest=DIGEST,
        occurred_at=datetime(2026, 2, 26, 19, 13, 55, 749000, UTC),
        source_addr="us-docker.pkg.dev",
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gar-insert-by-digest", ("push", PATH, None, DIGEST)),
        ("gar-delete-tag", ("delete", PATH, "v1", None)),
        ("gar-delete-digest", ("delete", PATH, None, DIGEST)),
    ],
)
def test_each_message_is_understood(name: str, expected: tuple[str, str, str | None, str | None]) -> None:
    assert told(read("gar", name)) == [expected]


def test_a_delete_that_names_both_is_of_both() -> None:
    found = read("gar", "gar-insert", saying({"action": "DELETE", "digest": f"{IMAGE}@{DIGEST}", "tag": f"{IMAGE}:v1"}))
    assert told(found) == [("delete", PATH, "v1", None), ("delete", PATH, None, DIGEST)]
    assert len({each.id for each in found.events}) == 2


def test_redelivered_messages_have_the_same_id() -> None:
    older = read("gar", "gar-insert", lambda body: body["message"].pop("messageId"))
    assert only(older).id == only(read("gar", "gar-insert")).id


def test_without_a_message_id_nothing_is_a_repetition() -> None:
    def forget(body: Any) -> None:
        del body["message"]["messageId"], body["message"]["message_id"]

    assert only(read("gar", "gar-insert", forget)).id != only(read("gar", "gar-insert", forget)).id


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda body: body.pop("message"), "no_events"),
        (lambda body: body["message"].update(data="%%%"), "bad_event"),
        (lambda body: body["message"].update(data="\u00e9"), "bad_event"),
        (lambda body: body["message"].update(data="e30K\n"), "bad_event"),
        (lambda body: body["message"].update(data=""), "not_json"),
        (saying([1]), "bad_event"),
        (saying({}), "unknown_action"),
        (saying({"action": "UPDATE", "tag": f"{IMAGE}:v1"}), "unknown_action"),
        (saying({"action": "INSERT"}), "bad_event"),
        (saying({"action": "DELETE"}), "bad_event"),
        (saying({"action": "DELETE", "digest": IMAGE}), "bad_repository"),
        (saying({"action": "DELETE", "tag": "nothing"}), "bad_repository"),
        (saying({"action": "DELETE", "tag": ":"}), "bad_repository"),
        (saying({"action": "INSERT", "tag": f"{IMAGE}2:v1", "digest": f"{IMAGE}@{DIGEST}"}), "bad_repository"),
        (saying({"action": "INSERT", "digest": f"{IMAGE}@sha256:12"}), "bad_digest"),
    ],
)
def test_what_is_half_known_is_quarantined(change: Any, reason: str) -> None:
    assert reasons(read("gar", "gar-insert", change)) == [reason]
