"""A CloudEvent over HTTP, in binary or structured mode.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from app.notifications.delivery import Delivery
from app.notifications.reading import mapping, string
from app.notifications.timestamps import moment


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """Its attributes as they came, and its data; an attribute that is not there is empty."""

    id: str
    source: str
    type: str
    time: datetime | None
    data: Mapping[str, object]
    #: Extension attributes, in structured mode beside the others.
    attributes: Mapping[str, object]


def is_structured(document: Mapping[str, object]) -> bool:
    """Whether the attributes stand in the body. Told by the body: the content type is lost on a way of relays."""
    return isinstance(document.get("specversion"), str)


def structured(document: Mapping[str, object]) -> CloudEvent:
    """Attributes and data from one JSON object."""
    return CloudEvent(
        id=string(document, "id"),
        source=string(document, "source"),
        type=string(document, "type"),
        time=moment(document.get("time")),
        data=mapping(document, "data"),
        attributes=document,
    )


def binary(delivery: Delivery, document: Mapping[str, object]) -> CloudEvent:
    """Attributes from `Ce-…` headers; the body is the data."""
    attributes = {name[3:]: value for name, value in delivery.headers.items() if name.startswith("ce-")}
    return CloudEvent(
        id=string(attributes, "id"),
        source=string(attributes, "source"),
        type=string(attributes, "type"),
        time=moment(attributes.get("time")),
        data=document,
        attributes=attributes,
    )
