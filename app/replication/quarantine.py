"""Quarantine: what could not be read when it came is read again, by a program that has learnt to, or thrown away."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from app.database import MAX_ROWS, connection, now, transaction
from app.models import QuarantinedEvent
from app.notifications import Notification, Quarantined, UnknownDialect, parse
from app.replication import event_log
from app.replication.context import Context
from app.replication.event_log import Origin
from app.replication.paging import MAX_ID

log = logging.getLogger(__name__)

#: What is kept however young all of it is: a sender that nobody understands must not fill the disk.
KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of it."""

    accepted: int = 0
    duplicate: int = 0
    ignored: int = 0
    #: Why some of it, or all, still cannot be read; None where all of it could.
    unreadable: str | None = None


def replay(quarantined_id: int, context: Context) -> Replayed | None:
    """Read it again as its dialect is read now, and put its events into the log; None when there is no such.

    Only what was kept can be read: of more than 64 KiB that is the head. What can be read now leaves the quarantine;
    what still cannot stays. To do it twice does no harm: an event is stored once.

    Raises:
        DatabaseUnavailable, peewee.PeeweeException: when it could not be stored; it stays where it is.
    """
    found = _find(quarantined_id)
    if found is None:
        return None
    notification = _read(found)
    stored = (
        event_log.store(notification.events, [], Origin(found.dialect, found.size)) if notification.events else None
    )
    unreadable = notification.quarantined[0].reason if notification.quarantined else None
    if unreadable is None:
        discard(quarantined_id)
    if stored is not None and stored.accepted:
        context.wake.events()
    log.info("quarantined event %s was replayed", quarantined_id, extra={"unreadable": unreadable})
    return Replayed(
        accepted=stored.accepted if stored else 0,
        duplicate=stored.duplicate if stored else 0,
        ignored=sum(notification.ignored.values()),
        unreadable=unreadable,
    )


def discard(quarantined_id: int) -> bool:
    """Forget it; False when there is no such."""
    if quarantined_id > MAX_ID:
        return False
    with transaction():
        return bool(QuarantinedEvent.delete().where(QuarantinedEvent.id == quarantined_id).execute())


def prune(older_than: timedelta | None, limit: int = MAX_ROWS) -> int:
    """Forget what has not come again for so long, and what came first of more than `KEPT`, at most `limit`; return how
    many. None forgets nothing for its age."""
    with connection():
        # By their ids: further along a row there is what came, and it is long.
        every = QuarantinedEvent.select(QuarantinedEvent.id)
        ids = [row.id for row in every.order_by(QuarantinedEvent.id.desc()).offset(KEPT).limit(limit)]
        if older_than is not None and len(ids) < limit:
            before = now() - older_than
            old = (QuarantinedEvent.created_at < before) & (QuarantinedEvent.last_seen_at < before)
            ids += [row.id for row in every.where(old).limit(limit - len(ids))]
        deleted: int = QuarantinedEvent.delete().where(QuarantinedEvent.id.in_(ids)).execute() if ids else 0
    if deleted:
        log.warning("%d quarantined events were kept long enough, or were too many, and are forgotten", deleted)
    return deleted


def _find(quarantined_id: int) -> QuarantinedEvent | None:
    if quarantined_id > MAX_ID:
        return None
    with connection():
        found: QuarantinedEvent | None = QuarantinedEvent.get_or_none(QuarantinedEvent.id == quarantined_id)
        return found


def _read(found: QuarantinedEvent) -> Notification:
    try:
        return parse(found.dialect, found.excerpt.encode(), found.content_type)
    except UnknownDialect:
        return Notification(quarantined=(Quarantined("unknown_dialect", found.excerpt),))
    except Exception:
        log.exception("a quarantined event still cannot be read")
        return Notification(quarantined=(Quarantined("bad_event", found.excerpt),))
