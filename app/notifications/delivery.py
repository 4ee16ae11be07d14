"""One webhook request, as a dialect sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: Where registries deliver, below the deployment's address. One in another dialect adds its name.
WEBHOOK_PATH = "/api/v4/container_registry_event/events"


@dataclass(frozen=True, slots=True)
class Delivery:
    """The body with what came beside it. `headers` may be given in any case and are kept in lower case."""

    body: bytes
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "headers", {name.lower(): value for name, value in self.headers.items()})
