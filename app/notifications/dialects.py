"""The dialects that registries speak, by the name in the webhook's address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from app.notifications import acr, distribution, docker_hub, ecr, gar, ghcr, gitlab, harbor, quay, zot
from app.notifications.delivery import Delivery
from app.notifications.errors import NotificationError
from app.notifications.notification import Notification

#: Reads one delivery; never raises for what is in it.
Dialect: TypeAlias = Callable[[Delivery], Notification]

#: CNCF Distribution; it also reads what shares its envelope or its events, GitLab's registry and Azure's.
DEFAULT_DIALECT: Final = "distribution"

DIALECTS: Final[Mapping[str, Dialect]] = MappingProxyType(
    {
        "acr": acr.parse,
        "distribution": distribution.parse,
        "docker-hub": docker_hub.parse,
        "ecr": ecr.parse,
        "gar": gar.parse,
        "ghcr": ghcr.parse,
        "gitlab": gitlab.parse,
        "harbor": harbor.parse,
        "quay": quay.parse,
        "zot": zot.parse,
    }
)


class UnknownDialect(NotificationError):
    """The address names a dialect that is not spoken here; nothing of the body was read."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no notification dialect {name[:64]!r}; known: {', '.join(sorted(DIALECTS))}")
        self.reason = "unknown_dialect"


def parse(
    dialect: str | None, body: bytes, content_type: str | None = None, headers: Mapping[str, str] | None = None
) -> Notification:
    """Read one webhook body; `None` means `DEFAULT_DIALECT`.

    Whatever the body holds, the answer is a `Notification`: what cannot be understood is in its
    `quarantined`. A refusal would be sent again for ever by Distribution, with every later event behind it.

    :raises UnknownDialect: the only error, and one of the caller's address, not of the content.
    """
    read = DIALECTS.get(DEFAULT_DIALECT if dialect is None else dialect)
    if read is None:
        raise UnknownDialect(str(dialect))
    return read(Delivery(body, content_type, headers or {}))
