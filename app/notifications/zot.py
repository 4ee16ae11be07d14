"""The dialect of zot's events extension: CloudEvents, in binary mode.

https://zotregistry.dev/latest/articles/events/

Sent once and never again; nothing is sent for a tag that already stood on what was pushed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from app.notifications import cloud_events
from app.notifications.cloud_events import CloudEvent
from app.notifications.delivery import Delivery
from app.notifications.errors import InvalidEvent
from app.notifications.event import Action, RegistryEvent
from app.notifications.identity import key_of, key_of_nothing
from app.notifications.notification import Ignored, Notification
from app.notifications.reading import Draft, mapping, read_body, string

_ACTIONS: Final[Mapping[str, Action]] = {
    "zotregistry.image.updated": "push",
    "zotregistry.image.deleted": "delete",
}
#: A repository that is created is empty; what a lint refuses is not there, and a scan changes nothing.
_HARMLESS: Final = frozenset(
    {"zotregistry.repository.created", "zotregistry.image.lint_failed", "zotregistry.image.scanned"}
)


def parse(delivery: Delivery) -> Notification:
    """Read one event. `manifest` is not read: the registry is asked for it. Nor are `request`'s method and `Ce-Source`,
    which is the same for all."""
    return read_body(delivery, partial(_read, delivery))


def _read(delivery: Delivery, document: Mapping[str, object]) -> Ignored | Sequence[Draft]:
    structured = cloud_events.is_structured(document)
    event = cloud_events.structured(document) if structured else cloud_events.binary(delivery, document)
    if not event.type:
        raise InvalidEvent("no_events", "the delivery is no CloudEvent")
    if event.type in _HARMLESS:
        return Ignored("other_event")
    if event.type not in _ACTIONS:
        raise InvalidEvent("unknown_action", f"not a type known here: {event.type!r:.80}")
    return [partial(_event, event, _ACTIONS[event.type])]


def _event(event: CloudEvent, action: Action) -> RegistryEvent:
    data = event.data
    reference, digest = string(data, "reference"), string(data, "digest")
    if not reference and not digest:
        # A delete without either would mean the whole repository.
        raise InvalidEvent("bad_event", "the event names neither a tag nor a digest")
    by_digest = not reference or ":" in reference
    request = mapping(data, "request")
    return RegistryEvent(
        id=key_of("zot", event.id) if event.id else key_of_nothing("zot"),
        action=action,
        repository=string(data, "name"),
        tag=None if by_digest else reference,
        digest=digest or reference if by_digest else digest,
        media_type=string(data, "mediaType"),
        occurred_at=event.time,
        actor=string(mapping(data, "actor"), "name"),
        user_agent=string(request, "useragent"),
    )
