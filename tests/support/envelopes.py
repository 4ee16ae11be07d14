"""What registries send: envelopes of events, as Distribution writes them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from tests.support.images import OCI_MANIFEST, sha256

V1 = "application/vnd.docker.distribution.events.v1+json"
V2 = "application/vnd.docker.distribution.events.v2+json"


def envelope(*events: dict[str, Any]) -> dict[str, Any]:
    return {"events": list(events)}


def push_event(repository: str = "team/app", tag: str | None = "v1", **fields: Any) -> dict[str, Any]:
    """A pushed manifest, with an id of its own unless `id` is given."""
    return _event("push", {"mediaType": OCI_MANIFEST, "digest": sha256(b"any"), **_tag(tag)}, repository, fields)


def delete_event(repository: str = "team/app", tag: str | None = "v1", **fields: Any) -> dict[str, Any]:
    return _event("delete", _tag(tag), repository, fields)


def pull_event(repository: str = "team/app", **fields: Any) -> dict[str, Any]:
    return _event("pull", {"mediaType": OCI_MANIFEST, "digest": sha256(b"any")}, repository, fields)


def mount_event(repository: str = "team/app", **fields: Any) -> dict[str, Any]:
    return _event("mount", {"mediaType": "application/octet-stream", "digest": sha256(b"any")}, repository, fields)


def blob_event(repository: str = "team/app", **fields: Any) -> dict[str, Any]:
    return _event("push", {"mediaType": "application/octet-stream", "digest": sha256(b"any")}, repository, fields)


def _tag(tag: str | None) -> dict[str, str]:
    return {} if tag is None else {"tag": tag}


def _event(action: str, target: dict[str, Any], repository: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "timestamp": datetime.now(UTC).isoformat(),
        "action": action,
        "target": {"repository": repository, **target},
        "request": {"id": str(uuid.uuid4()), "addr": "192.0.2.1:5000", "useragent": "tests/1.0"},
        "source": {"addr": "registry:5000", "instanceID": "9c5b2b61-0c0e-4a1d-8a0e-0d7f6f3a7e11"},
        **fields,
    }
