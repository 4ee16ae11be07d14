"""The dialect of CNCF Distribution 2.x and 3.x; those of GitLab's and Azure's registries are made of it.

https://distribution.github.io/distribution/about/notifications/
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from app.notifications.delivery import Delivery
from app.notifications.document import read_json
from app.notifications.errors import InvalidEvent
from app.notifications.event import MAX_EVENT_ID, Action, RegistryEvent
from app.notifications.notification import Ignored, Notification, rejected, sort_events
from app.notifications.text import free_text
from app.notifications.timestamps import moment
from app.registry.media_types import OCTET_STREAM, essence, is_manifest

#: What Distribution calls every blob, whatever the layer's own type.
BLOB_MEDIA_TYPE: Final = OCTET_STREAM

#: Reading changes nothing, and a mounted blob shows in no tag until a manifest names it.
_HARMLESS: Final = frozenset({"pull", "mount"})

_NOTHING: Final[Mapping[str, object]] = {}


def parse(delivery: Delivery) -> Notification:
    """Read an envelope, a bare event or a bare list of events, under any content type.

    2.x sends `…events.v1+json` and 3.x `…events.v2+json`; the body is the same, so only the body counts.
    """
    try:
        items = _events_of(read_json(delivery.body))
    except InvalidEvent as error:
        return rejected(error.reason, delivery.body)
    return sort_events(items, read_event, _source_instance, delivery.body)


def _events_of(document: object) -> Sequence[object]:
    if isinstance(document, list):
        return document
    if not isinstance(document, dict):
        raise InvalidEvent("no_events", "the body is neither an envelope nor an event")
    if "events" not in document:
        if "action" in document:
            return [document]
        raise InvalidEvent("no_events", "the body has no events")
    events = document["events"]
    if isinstance(events, list):
        return events
    # Go writes an empty list that was never made as null.
    return [] if events is None else [events]


def read_event(item: Mapping[str, object]) -> RegistryEvent | Ignored:
    """Read one event.

    Left aside are `target.url` of a manifest (it says what the digest does), `target.references` (the manifest is read
    anyway), `target.fromRepository` of a mount, and `request.addr`, `request.host` and `request.method`.

    :raises InvalidEvent: it cannot be understood.
    """
    action = item.get("action")
    if isinstance(action, str) and action in _HARMLESS:
        return Ignored(action)
    if action != "push" and action != "delete":
        raise InvalidEvent("unknown_action", f"not an action known here: {action!r:.80}")
    target = item.get("target")
    if not isinstance(target, dict):
        raise InvalidEvent("bad_event", "the event has no target")
    # The delete of a blob looks exactly like that of a manifest; only the registry can tell.
    if action == "push" and not target.get("tag") and _kind(target) == "blob":
        return Ignored("blob")
    return _event(item, target, "push" if action == "push" else "delete")


def _kind(target: Mapping[str, object]) -> Literal["manifest", "blob"]:
    """What was pushed without a tag. In doubt a manifest: that costs one request, a missed one an image."""
    media_type = essence(_string(target.get("mediaType")))
    # Any other type is judged by the URL it was pushed to.
    if is_manifest(media_type):
        return "manifest"
    # Counted from the end, for a repository may be called a/blobs/b; and by hand, for urlsplit raises.
    steps = _string(target.get("url")).split("?", 1)[0].rsplit("/", 2)
    if len(steps) == 3 and steps[1] in {"manifests", "blobs"}:
        return "manifest" if steps[1] == "manifests" else "blob"
    return "blob" if media_type == BLOB_MEDIA_TYPE else "manifest"


def _event(item: Mapping[str, object], target: Mapping[str, object], action: Action) -> RegistryEvent:
    repository, tag, digest = target.get("repository"), target.get("tag"), target.get("digest")
    if not isinstance(repository, str):
        raise InvalidEvent("bad_repository", "the event names no repository")
    # 3.x writes what a delete does not have as an empty string, 2.x leaves it out.
    if tag and not isinstance(tag, str):
        raise InvalidEvent("bad_tag", "the event's tag is not a string")
    if digest and not isinstance(digest, str):
        raise InvalidEvent("bad_digest", "the event's digest is not a string")
    request, source = _mapping(item, "request"), _mapping(item, "source")
    return RegistryEvent(
        id=_identity(item),
        action=action,
        repository=repository,
        tag=_string(tag),
        digest=_string(digest),
        media_type=_string(target.get("mediaType")),
        occurred_at=moment(item.get("timestamp")),
        size=_size(target),
        request_id=_string(request.get("id")),
        actor=_string(_mapping(item, "actor").get("name")),
        user_agent=_string(request.get("useragent")),
        source_addr=_string(source.get("addr")),
        source_instance_id=_string(source.get("instanceID")),
    )


def _identity(item: Mapping[str, object]) -> str:
    """The event's own id, or one that the same event, delivered again, comes by again.

    An event with neither id nor time may be the like of another, so it is never taken for a repetition.
    """
    given = item.get("id")
    if isinstance(given, int) and given:
        given = str(given)
    if isinstance(given, str) and 0 < len(given) <= MAX_EVENT_ID and free_text(given) == given:
        return given
    if not given and moment(item.get("timestamp")) is None:
        return str(uuid.uuid4())
    canonical = json.dumps(item, sort_keys=True, separators=(",", ":"))
    return f"derived:{hashlib.sha256(canonical.encode()).hexdigest()}"


def _source_instance(item: Mapping[str, object]) -> object:
    return _mapping(item, "source").get("instanceID")


def _size(target: Mapping[str, object]) -> int | None:
    size = target.get("size") or target.get("length")
    return size if isinstance(size, int) and not isinstance(size, bool) else None


def _mapping(item: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = item.get(key)
    return value if isinstance(value, dict) else _NOTHING


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""
