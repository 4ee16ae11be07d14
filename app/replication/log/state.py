"""What the log as a whole remembers: who it is, how far it was pruned, and the fence for those who read a standby."""

from __future__ import annotations

import uuid
from typing import Any

from peewee import fn

from app.database import is_sqlite, transaction, transaction_id
from app.models import Event, LogState

#: The key of the only row.
_KEY = 1


def state() -> LogState:
    """The row, made when it is first asked for."""
    found: LogState | None = LogState.get_or_none(LogState.id == _KEY)
    if found is not None:
        return found
    new = LogState.insert(id=_KEY, identity=uuid.uuid4().hex)
    new.on_conflict(action="NOTHING", conflict_target=[LogState.id]).execute()
    return LogState.get_by_id(_KEY)


def pruned_to() -> int:
    """The highest id that was ever pruned. Writes nothing, so that a reader's transaction stays without an id."""
    return int(LogState.select(LogState.pruned_to).where(LogState.id == _KEY).scalar() or 0)


def pruned(up_to: int) -> None:
    """Remember that events up to this id may be gone. Call it in the transaction that deletes them."""
    state()
    LogState.update(pruned_to=up_to).where((LogState.id == _KEY) & (LogState.pruned_to < up_to)).execute()


def set_fence() -> bool:
    """Write down a fence for the gaps that readers of a standby see; whether there was reason to.

    A standby cannot draw a transaction id. This transaction draws one after it has seen the newest event: whoever drew
    a lower event id had a transaction id by then. Call it outside of any transaction. SQLite has no standby.
    """
    if is_sqlite():
        return False
    known = state()
    newest: Any = Event.select(fn.MAX(Event.id))
    with transaction():
        last = int(newest.scalar() or 0)
        if last <= known.fenced_to:
            return False
        fence = transaction_id()
        # Somebody who was stopped in between may come late with less: what holds for more ids stands.
        values = {"fenced_to": last, "fence": fence}
        changed: int = LogState.update(**values).where((LogState.id == _KEY) & (LogState.fenced_to < last)).execute()
    return changed == 1
