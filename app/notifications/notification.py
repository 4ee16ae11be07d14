"""`Notification`: what one webhook body came to, and how its events are sorted into it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

from app.notifications.errors import InvalidEvent, Reason
from app.notifications.event import RegistryEvent
from app.notifications.text import excerpt_of_bytes, excerpt_of_value, free_text

#: Several times what 16 MiB hold of real events; what lies beyond is quarantined unread, for time's sake.
MAX_EVENTS: Final = 100_000
#: One body leaves at most this many quarantined events; 16 MiB of `[1,1,…]` would leave eight million.
MAX_QUARANTINED: Final = 100
#: A body has one source in practice; more than these say nothing further.
MAX_SOURCE_INSTANCES: Final = 100


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Something that was not understood: `reason` is bounded, `excerpt` at most 64 KiB of storable text."""

    reason: Reason
    excerpt: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something that was understood and changes nothing; `reason` is bounded: `pull`, `mount`, `blob`, …"""

    reason: str


@dataclass(frozen=True, slots=True)
class Notification:
    """One body, sorted. `ignored` counts by reason.

    `source_instances` are the registry processes that spoke, pulls included: a new one means a restart,
    and whatever the old one still had queued is lost.
    """

    events: tuple[RegistryEvent, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    quarantined: tuple[Quarantined, ...] = ()
    source_instances: frozenset[str] = frozenset()


#: Reads one event of an envelope, a JSON object; raises InvalidEvent for one that cannot be understood.
EventReader: TypeAlias = Callable[[Mapping[str, object]], "RegistryEvent | Ignored"]
#: Finds the identity of the registry process in one event of an envelope.
SourceReader: TypeAlias = Callable[[Mapping[str, object]], object]


def rejected(reason: Reason, body: bytes) -> Notification:
    """A body of which nothing could be read."""
    return Notification(quarantined=(Quarantined(reason, excerpt_of_bytes(body)),))


def sort_events(items: Sequence[object], read: EventReader, source: SourceReader, body: bytes) -> Notification:
    """Read each of an envelope's events on its own: a bad one costs none of the others.

    What exceeds `MAX_QUARANTINED` or `MAX_EVENTS` becomes one `too_many`.
    """
    events: list[RegistryEvent] = []
    ignored: Counter[str] = Counter()
    quarantined: list[Quarantined] = []
    surplus: list[object] = list(items[MAX_EVENTS:])
    instances: set[str] = set()
    for item in items[:MAX_EVENTS]:
        try:
            if not isinstance(item, dict):
                raise InvalidEvent("bad_event", "an event is a JSON object")
            instance = free_text(source(item))
            if instance is not None and len(instances) < MAX_SOURCE_INSTANCES:
                instances.add(instance)
            outcome = _outcome(item, read)
        except InvalidEvent as error:
            if len(quarantined) < MAX_QUARANTINED - 1:
                quarantined.append(Quarantined(error.reason, _excerpt(item, body)))
            else:
                surplus.append(item)
        else:
            if isinstance(outcome, Ignored):
                ignored[outcome.reason] += 1
            else:
                events.append(outcome)
    if surplus:
        quarantined.append(Quarantined("too_many", _excerpt(surplus, body)))
    return Notification(tuple(events), MappingProxyType(dict(ignored)), tuple(quarantined), frozenset(instances))


def _outcome(item: Mapping[str, object], read: EventReader) -> RegistryEvent | Ignored:
    try:
        return read(item)
    except RecursionError:
        # What could be read can be too deep to be written out again, which an identity may take.
        raise InvalidEvent("too_deep", "the event nests too deeply") from None


def _excerpt(item: object, body: bytes) -> str:
    try:
        return excerpt_of_value(item)
    except RecursionError:
        return excerpt_of_bytes(body)
