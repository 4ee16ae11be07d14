"""How long what is past is kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

#: Where nothing else is said: events that every site has read, events that one has not, because it is paused or away,
#: what was done about each tag, and what nobody could read.
KEEP_EVENTS = timedelta(days=14)
KEEP_UNREAD_EVENTS = timedelta(days=60)
KEEP_HISTORY = timedelta(days=30)
KEEP_QUARANTINE = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Retention:
    """Time spans; None: for good."""

    events: timedelta | None = KEEP_EVENTS
    #: Beyond it a site that comes back is told that it missed something, and looks at everything.
    unread_events: timedelta | None = KEEP_UNREAD_EVENTS
    history: timedelta | None = KEEP_HISTORY
    #: Since the very same thing came last.
    quarantine: timedelta | None = KEEP_QUARANTINE
