"""Why a body or an event cannot be used: the bounded reasons, and the errors that carry them."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

#: Bounded, for metric labels. `too_many` stands for what one body holds beyond `MAX_QUARANTINED`, and for a body of
#: too many parts to be read.
Reason: TypeAlias = Literal[
    "not_json",
    "not_utf8",
    "too_deep",
    "too_many",
    "no_events",
    "bad_event",
    "bad_repository",
    "bad_tag",
    "bad_digest",
    "unknown_action",
    # Said by the receiver, of bodies that were not given to a dialect.
    "too_large",
    "unknown_dialect",
]


class NotificationError(Exception):
    """Anything that this package raises. Sending the same again cannot help, so never `temporary`."""

    reason: str
    temporary: ClassVar[bool] = False


class InvalidEvent(NotificationError):
    """One event, or one body, that cannot be understood; it belongs in quarantine."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason
