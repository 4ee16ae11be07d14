from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.notifications import RegistryEvent
from tests.notifications.delivering import DIGEST, DOCKER_MANIFEST, only, read, reasons, told


def test_a_push_is_read_whole() -> None:
    assert only(read("acr", "acr-push")) == RegistryEvent(
        id="cb8c3971-9adc-488b-bdd8-43cbb4974ff5",
        action="push",
        repository="hello-world",
        tag="v1",
        digest=DIGEST,
        media_type=DOCKER_MANIFEST,
        occurred_at=datetime(2026, 11, 17, 16, 52, 1, 343145, UTC),
        size=524,
        request_id="3cbb6949-7549-4fa1-86cd-a6d5451dffc7",
        user_agent="docker/27.3.1 go/go1.22",
        source_addr="myregistry.azurecr.io",
    )


def test_a_manifest_is_deleted_by_its_digest() -> None:
    assert told(read("acr", "acr-delete")) == [("delete", "hello-world", None, DIGEST)]


@pytest.mark.parametrize(
    ("name", "reason"), [("acr-ping", "ping"), ("acr-chart-push", "chart_push"), ("acr-quarantine", "quarantine")]
)
def test_what_changes_nothing_that_can_be_pulled_is_ignored(name: str, reason: str) -> None:
    found = read("acr", name)
    assert (found.events, found.quarantined, dict(found.ignored)) == ((), (), {reason: 1})


def test_what_is_half_known_is_quarantined() -> None:
    assert reasons(read("acr", "acr-push", lambda body: body.update(action="scan"))) == ["unknown_action"]
    assert reasons(read("acr", "acr-push", lambda body: body.update(target=None))) == ["bad_event"]
    assert reasons(read("acr", "acr-push", lambda body: body["target"].update(repository="A"))) == ["bad_repository"]
    # An envelope is not Azure's.
    assert reasons(read("acr", "distribution-2.8-push")) == ["no_events"]


def test_the_same_delivery_has_the_same_id() -> None:
    assert read("acr", "acr-push") == read("acr", "acr-push")
