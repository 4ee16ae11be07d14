"""The dialect of Azure Container Registry's webhooks: a bare event of Distribution, and some actions of Azure's own.

https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference

Not told: that a tag was removed; only that a manifest or a repository was. Event Grid, Azure's other way, is not
spoken here: it wants its handshake answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from app.notifications import distribution
from app.notifications.delivery import Delivery
from app.notifications.errors import InvalidEvent
from app.notifications.event import RegistryEvent
from app.notifications.notification import Ignored, Notification
from app.notifications.reading import Draft, mapping, read_body, string

#: `ping` tries the address; an image in `quarantine` cannot be pulled yet, and is told of by `push` once it can; charts
#: told of by `chart_…` are those of Helm 2, which the distribution API does not show.
_HARMLESS: Final = frozenset({"ping", "quarantine", "chart_push", "chart_delete"})


def parse(delivery: Delivery) -> Notification:
    """Read one event."""
    return read_body(delivery, _read)


def _read(document: Mapping[str, object]) -> Ignored | Sequence[Draft]:
    if "action" not in document:
        raise InvalidEvent("no_events", "the body is no event")
    action = string(document, "action")
    if action in _HARMLESS:
        return Ignored(action)
    found = distribution.read_event(document)
    if isinstance(found, Ignored):
        return found
    return [lambda: _named(found, document)]


def _named(event: RegistryEvent, document: Mapping[str, object]) -> RegistryEvent:
    # There is no `source`; the host that was pushed to is the registry.
    return replace(event, source_addr=event.source_addr or string(mapping(document, "request"), "host"))
