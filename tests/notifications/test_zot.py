from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from app.notifications import RegistryEvent
from tests.notifications.delivering import DIGEST, OCI_MANIFEST, only, raw, read, reasons, told

DELETED = {"ce_type": "zotregistry.image.deleted"}


def test_an_update_is_read_whole() -> None:
    assert only(read("zot", "zot-updated")) == RegistryEvent(
        id="zot:b1a5f0c4-8f0e-4a4b-9a0e-6f3c1d2e3f40",
        action="push",
        repository="team/app",
        tag="v1",
        digest=DIGEST,
        media_type=OCI_MANIFEST,
        occurred_at=datetime(2026, 11, 20, 10, tzinfo=UTC),
        actor="alice",
        user_agent="skopeo/1.9.3",
    )


def test_a_deleted_tag_is_named() -> None:
    assert told(read("zot", "zot-deleted", None, **DELETED)) == [("delete", "team/app", "v1", DIGEST)]


def test_a_digest_in_the_place_of_the_tag_is_none() -> None:
    found = read("zot", "zot-deleted", lambda body: body.update(reference=DIGEST, digest=""), **DELETED)
    assert told(found) == [("delete", "team/app", None, DIGEST)]


@pytest.mark.parametrize("kind", ["repository.created", "image.lint_failed", "image.scanned"])
def test_what_changes_nothing_is_ignored(kind: str) -> None:
    assert read("zot", "zot-repository-created", ce_type=f"zotregistry.{kind}").ignored == {"other_event": 1}


def test_structured_mode_says_the_same() -> None:
    def structure(body: dict[str, Any]) -> None:
        data = dict(body)
        body.clear()
        body.update(specversion="1.0", id="b1a5f0c4-8f0e-4a4b-9a0e-6f3c1d2e3f40", type="zotregistry.image.updated")
        body.update(source="zotregistry.dev", time="2026-11-20T10:00:00Z", data=data)

    assert read("zot", "zot-updated", structure, ce_type="") == read("zot", "zot-updated")


def test_without_an_id_nothing_is_a_repetition() -> None:
    assert only(read("zot", "zot-updated", ce_id="")).id != only(read("zot", "zot-updated", ce_id="")).id


@pytest.mark.parametrize(
    ("headers", "change", "reason"),
    [
        ({"ce_type": ""}, None, "no_events"),
        ({"ce_type": "zotregistry.image.painted"}, None, "unknown_action"),
        ({}, lambda body: body.update(name="../etc"), "bad_repository"),
        # A delete of nothing would be one of everything.
        (DELETED, lambda body: body.update(reference="", digest=""), "bad_event"),
    ],
)
def test_what_is_half_known_is_quarantined(headers: dict[str, str], change: Any, reason: str) -> None:
    found = read("zot", "zot-updated", change, **headers)
    assert reasons(found) == [reason]
    assert change is not None or found.quarantined[0].excerpt == raw("zot-updated").decode()
