from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from app.notifications import RegistryEvent, parse
from tests.notifications.delivering import DOCKER_MANIFEST, OTHER_DIGEST, only, raw, read, reasons, told


@pytest.mark.parametrize("event", ["package", "registry_package"])
def test_a_published_version_is_read_whole(event: str) -> None:
    found = read("ghcr", f"ghcr-{event.replace('_', '-')}", x_github_event=event)
    assert only(found) == RegistryEvent(
        id="ghcr:72d3162e-cc78-11e3-81ab-4c9367dc0958",
        action="push",
        # Of Codertocat/Hello-World.
        repository="codertocat/hello-world",
        tag="v1",
        digest=OTHER_DIGEST,
        media_type=DOCKER_MANIFEST,
        occurred_at=datetime(2026, 5, 15, 15, 20, 30, tzinfo=UTC),
        size=1782,
        actor="Codertocat",
        source_addr="ghcr.io",
    )


def test_a_child_of_an_index_has_no_tag() -> None:
    assert told(read("ghcr", "ghcr-child")) == [("push", "codertocat/hello-world", None, OTHER_DIGEST)]


def test_a_version_without_metadata_is_known_by_its_name() -> None:
    assert told(read("ghcr", "ghcr-no-metadata")) == [("push", "codertocat/hello-world", None, OTHER_DIGEST)]


def test_an_image_is_one_whatever_type_the_package_claims() -> None:
    def claim(body: Any) -> None:
        body["package"].update(package_type="npm", ecosystem="npm")

    assert only(read("ghcr", "ghcr-package", claim)).tag == "v1"


def test_a_form_is_read_as_json_is() -> None:
    # Given the content type that GitHub sends where nobody chose another
    form = urlencode({"payload": raw("ghcr-package").decode()}).encode()
    headers = {"X-GitHub-Event": "package", "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958"}

    # Then it says the same
    found = parse("ghcr", form, "application/x-www-form-urlencoded", headers)
    assert found == read("ghcr", "ghcr-package")


@pytest.mark.parametrize("body", [b"", b"payload=", b"payload=%7B", b"\xff", b"a=1&" * 200, b"payload=%ff"])
def test_a_form_that_cannot_be_read_is_quarantined(body: bytes) -> None:
    found = parse("ghcr", body, "application/x-www-form-urlencoded", {})
    assert reasons(found) == ["not_json"]


@pytest.mark.parametrize(
    ("name", "event", "reason"),
    [
        ("ghcr-ping", "ping", "ping"),
        ("ghcr-ping", "", "ping"),
        ("ghcr-npm", "package", "other_package"),
        ("ghcr-package", "push", "other_event"),
    ],
)
def test_what_tells_of_no_image_is_ignored(name: str, event: str, reason: str) -> None:
    assert read("ghcr", name, x_github_event=event).ignored == {reason: 1}


def test_another_delivery_is_another_event() -> None:
    assert only(read("ghcr", "ghcr-package", x_github_delivery="other")).id == "ghcr:other"
    unnamed = [only(read("ghcr", "ghcr-package", x_github_delivery="")).id for _ in range(2)]
    assert unnamed[0] != unnamed[1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda body: body.pop("package"), "no_events"),
        (lambda body: body.update(action="deleted"), "unknown_action"),
        (lambda body: body["package"].update(name="a b"), "bad_repository"),
        (lambda body: body["package"].update(package_version=None), "bad_event"),
    ],
)
def test_what_is_half_known_is_quarantined(change: Any, reason: str) -> None:
    found = read("ghcr", "ghcr-package", change)
    assert reasons(found) == [reason]
    assert json.loads(found.quarantined[0].excerpt)["repository"]["full_name"] == "Codertocat/Hello-World"
