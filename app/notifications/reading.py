"""Bodies that hold one occurrence, of which several events may follow; and reading values from strangers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

from app.notifications.delivery import Delivery
from app.notifications.document import read_json
from app.notifications.errors import InvalidEvent, Reason
from app.notifications.event import RegistryEvent
from app.notifications.notification import MAX_EVENTS, Ignored, Notification, Quarantined, rejected
from app.notifications.text import excerpt_of_bytes

#: An event that is not made yet; it raises InvalidEvent when its values cannot be one.
Draft: TypeAlias = Callable[[], RegistryEvent]
#: Reads the JSON object of a body; raises InvalidEvent where it is none that the vendor sends.
Reader: TypeAlias = Callable[[Mapping[str, object]], "Ignored | Sequence[Draft]"]

_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


def read_body(delivery: Delivery, read: Reader) -> Notification:
    """Read a body that is one JSON object."""
    return read_document(delivery, lambda: read_json(delivery.body), read)


def read_document(delivery: Delivery, document: Callable[[], object], read: Reader) -> Notification:
    """Sort what follows from one JSON object, wherever in the delivery it stands.

    A draft that cannot be an event costs none of the others, and leaves the whole body in quarantine, once: there it
    can be read again, which a piece of it could not.
    """
    try:
        found = document()
        if not isinstance(found, dict):
            raise InvalidEvent("no_events", "the body is not a JSON object")
        drafts = read(found)
        return Notification(ignored={drafts.reason: 1}) if isinstance(drafts, Ignored) else _sort(drafts, delivery)
    except InvalidEvent as error:
        return rejected(error.reason, delivery.body)
    except RecursionError:
        return rejected("too_deep", delivery.body)


def _sort(drafts: Sequence[Draft], delivery: Delivery) -> Notification:
    events: list[RegistryEvent] = []
    faults: Counter[Reason] = Counter()
    for draft in drafts[:MAX_EVENTS]:
        try:
            events.append(draft())
        except InvalidEvent as error:
            faults[error.reason] += 1
    if len(drafts) > MAX_EVENTS:
        faults["too_many"] += 1
    excerpt = excerpt_of_bytes(delivery.body) if faults else ""
    return Notification(events=tuple(events), quarantined=tuple(Quarantined(reason, excerpt) for reason in faults))


def mapping(item: Mapping[str, object], key: str) -> Mapping[str, object]:
    """The object under `key`; an empty one where there is none."""
    value = item.get(key)
    return value if isinstance(value, dict) else _NOTHING


def string(item: Mapping[str, object], key: str) -> str:
    """The text under `key`; empty where there is none."""
    value = item.get(key)
    return value if isinstance(value, str) else ""


def whole_number(item: Mapping[str, object], key: str) -> int | None:
    """The integer under `key`."""
    value = item.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
