"""Instances: which registry processes have spoken. A new one means that another may have died with events in memory.

A registry keeps what it could not deliver in memory alone, so the events of one that was restarted in the middle of
pushes are lost: only a reconcile finds what they told of.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from app.database import MAX_ROWS, connection, now, transaction
from app.models import RegistryInstance, Site
from app.replication import backfill, progress
from app.replication.lease import monotonic

log = logging.getLogger(__name__)

#: Between one reconcile for the sake of a new instance and the next: nodes that start one after the other share one.
GAP = timedelta(minutes=10)

#: How much longer the next one waits for the former to be done. A registry that restarts again and again must not keep
#: all repositories being listed for ever; what a long backfill has done already must not wait for its end either.
PATIENCE = timedelta(hours=1)

#: Seconds between notes that an instance is still there.
REFRESH = 3600.0

#: Instances that a process remembers without asking the database.
CACHED = 1000

#: Instances that are kept, and for how long after they were last heard of. The last of all is always kept: without
#: it, the next one would pass for the first.
KEPT = 1000
KEEP = timedelta(days=30)

REASON = "a registry process is new, and events that its predecessor held in memory may be lost"


class Instances:
    """The registry processes known to this process of ours; shared by threads."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._noted: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, ids: Iterable[str]) -> None:
        """Remember that these have spoken; of a new one, that a reconcile is owed. Known ones cost nothing.

        The first of all owes none: the initial backfill looks at everything anyway.

        Raises:
            DatabaseUnavailable, peewee.PeeweeException: when that could not be written; it has to be said again.
        """
        instant = self._clock()
        with self._lock:
            unsaid = sorted({id_ for id_ in ids if instant - self._noted.get(id_, float("-inf")) > REFRESH})
        if not unsaid:
            return
        with transaction():
            _write(unsaid, now())
        with self._lock:
            for id_ in unsaid:
                self._noted[id_] = instant
                self._noted.move_to_end(id_)
            while len(self._noted) > CACHED:
                self._noted.popitem(last=False)


def _write(ids: list[str], instant: datetime) -> None:
    first = not RegistryInstance.select().exists()
    rows = [
        {"instance_id": id_, "first_seen_at": instant, "last_seen_at": instant, "reconcile_owed": not first}
        for id_ in ids
    ]
    insert = RegistryInstance.insert_many(rows)
    insert = insert.on_conflict(action="NOTHING", conflict_target=[RegistryInstance.instance_id])
    new = {row.instance_id for row in insert.returning(RegistryInstance.instance_id).execute()}
    known = [id_ for id_ in ids if id_ not in new]
    if known:
        RegistryInstance.update(last_seen_at=instant).where(RegistryInstance.instance_id.in_(known)).execute()
    for id_ in sorted(new):
        log.info("a registry process is new", extra={"instance": id_, "first": first})


def ask_for_reconcile() -> bool:
    """Ask for the reconcile that new instances owe, if there are any and the former is long enough ago; whether."""
    with transaction():
        owing = RegistryInstance.reconcile_owed
        if not RegistryInstance.select().where(owing).exists():
            return False
        instant = now()
        last = _last_asked()
        if last is not None and (instant - last < GAP or (instant - last < PATIENCE and _under_way())):
            return False
        backfill.request(REASON)
        RegistryInstance.update(reconcile_owed=False, reconcile_asked_at=instant).where(owing).execute()
    log.warning("a reconcile is asked for: %s", REASON)
    return True


def _last_asked() -> datetime | None:
    newest = RegistryInstance.select().order_by(RegistryInstance.reconcile_asked_at.desc(nulls="LAST")).first()
    asked: datetime | None = newest.reconcile_asked_at if newest is not None else None
    return asked


def _under_way() -> bool:
    sites = Site.select().where(Site.here() & Site.enabled)
    found = [progress.backfill(site) for site in sites]
    return any(each is not None and not each.done for each in found)


def prune(limit: int = MAX_ROWS) -> int:
    """Forget instances that were last heard of long ago, or are too many, at most `limit`; return how many."""
    with connection():
        instant = now()
        newest = RegistryInstance.select(RegistryInstance.last_seen_at).order_by(RegistryInstance.last_seen_at.desc())
        first, last_kept = newest.first(), newest.offset(KEPT - 1).first()
        if first is None:
            return 0
        before = min(instant - KEEP, first.last_seen_at)
        old = RegistryInstance.last_seen_at < before
        if last_kept is not None:
            old |= RegistryInstance.last_seen_at < last_kept.last_seen_at
        unasked = RegistryInstance.select(RegistryInstance.instance_id).where(old & ~RegistryInstance.reconcile_owed)
        ids = [row.instance_id for row in unasked.limit(limit)]
        deleted: int = RegistryInstance.delete().where(RegistryInstance.instance_id.in_(ids)).execute() if ids else 0
        return deleted
