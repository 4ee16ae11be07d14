"""What registries tell us: the body of a webhook, in any dialect, becomes `RegistryEvent` values.

Pure: bytes in, values out. Nothing here knows a model, a setting or a web framework.
"""

from __future__ import annotations

from app.notifications.delivery import WEBHOOK_PATH, Delivery
from app.notifications.dialects import DEFAULT_DIALECT, DIALECTS, UnknownDialect, parse
from app.notifications.errors import InvalidEvent, NotificationError
from app.notifications.event import Action, RegistryEvent
from app.notifications.notification import Notification, Quarantined

__all__ = [
    "DEFAULT_DIALECT",
    "DIALECTS",
    "WEBHOOK_PATH",
    "Action",
    "Delivery",
    "InvalidEvent",
    "Notification",
    "NotificationError",
    "Quarantined",
    "RegistryEvent",
    "UnknownDialect",
    "parse",
]
