"""Deliveries as vendors make them, from the bodies under fixtures/."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from app.notifications import Notification, RegistryEvent, parse

FIXTURES = Path(__file__).parent / "fixtures"

#: The digests in the fixtures.
DIGEST = "sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd1234a1b2"
OTHER_DIGEST = "sha256:413d1c2f6e8ba7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c5b4a39281706f5e"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"

#: What stands beside the body of some dialects, and is the same for all that is asked here.
HEADERS: Mapping[str, Mapping[str, str]] = {
    "ghcr": {"X-GitHub-Event": "package", "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958"},
    "zot": {
        "Ce-Specversion": "1.0",
        "Ce-Id": "b1a5f0c4-8f0e-4a4b-9a0e-6f3c1d2e3f40",
        "Ce-Source": "zotregistry.dev",
        "Ce-Type": "zotregistry.image.updated",
        "Ce-Time": "2026-11-20T10:00:00Z",
    },
}


def raw(name: str) -> bytes:
    """A recorded body."""
    return (FIXTURES / f"{name}.json").read_bytes()


def read(dialect: str, name: str, change: Callable[[Any], object] | None = None, **headers: str) -> Notification:
    """The recorded body, changed or as it is, read by its dialect."""
    body = raw(name)
    if change is not None:
        document = json.loads(body)
        change(document)
        body = json.dumps(document).encode()
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    lower = {key.lower(): value for key, value in HEADERS.get(dialect, {}).items()}
    return parse(dialect, body, "application/json", {**lower, **named})


def only(notification: Notification) -> RegistryEvent:
    """The one event, when there is nothing beside it."""
    assert notification.quarantined == ()
    assert notification.ignored == {}
    (found,) = notification.events
    return found


def told(notification: Notification) -> list[tuple[str, str, str | None, str | None]]:
    """What the events say, when nothing is beside them."""
    assert notification.quarantined == ()
    return [(each.action, each.repository, each.tag, each.digest) for each in notification.events]


def reasons(notification: Notification) -> list[str]:
    """Why it was quarantined, when nothing of it could be used."""
    assert notification.events == ()
    return [each.reason for each in notification.quarantined]
