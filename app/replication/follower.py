"""The follower: copies the primary's event log into our own, so that all behind it is as in a single deployment."""

from __future__ import annotations

import logging
import random
import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from peewee import PeeweeException

from app import migrate
from app.database import DatabaseUnavailable, connection, lock, now, one_at_a_time, transaction
from app.metrics import buffer
from app.models import Follower as Row
from app.models import Lease, Site
from app.replication import claim, cursor, event_log, holds, marking, sites
from app.replication.binding import Binding, NotApplied
from app.replication.context import Context
from app.replication.lease import HeldLease, heartbeat, named, owner
from app.replication.log import EventLog, LogUnavailable, Reading, Terms
from app.replication.log.wire import as_registry_events
from app.replication.policy import Policy, TagPatterns
from app.replication.scope import Scope
from app.replication.tag_scope import TagScope
from app.settings import Deletion

log = logging.getLogger(__name__)

#: Events in one look: they are written in one transaction, and workers wait meanwhile.
BATCH = 200

#: Seconds that the log may wait for an event: a stop waits as long, so less than what it would bear.
WAIT = 20.0

#: Seconds between looks after a failure: from the first to the most, doubled each time.
BACKOFF = (0.5, 30.0)

#: Seconds between looks at the lease that another holds.
STANDBY = 1.0

#: Class of the advisory locks under which a site's position moves.
FOLLOWER_LOCK = 0x6765_6F75


@dataclass
class Follower:
    """One for a site, in every scheduler; a lease lets one of them read.

    Should two read all the same (one stood still for longer than its lease), only the one whose position still stands
    writes: events and position move together or not at all.
    """

    context: Context
    site: Site
    log: EventLog
    stop: threading.Event = field(default_factory=threading.Event)
    _delay: float = BACKOFF[0]

    def run(self) -> None:
        """Follow until told to stop. Survives the absence of the primary and of our database."""
        while not self.stop.is_set():
            if migrate.watch.wrong():
                self.stop.wait(STANDBY)
                continue
            try:
                with named(self._lease_name) as lease:
                    if lease is None:
                        self.stop.wait(STANDBY)
                        continue
                    with heartbeat.keeping(lease):
                        self._follow(lease)
            except (PeeweeException, DatabaseUnavailable) as error:
                log.warning("following the primary waits for our database: %s", error)
                self.stop.wait(STANDBY)
            except NotApplied as error:
                # Another environment was applied, or the site was promoted: what this process would write is untrue.
                log.error("the primary's log is followed no more by this process: %s", error)
                return

    def _follow(self, lease: HeldLease) -> None:
        while not self.stop.is_set() and lease.remaining() > 0 and not migrate.watch.wrong():
            try:
                self.stop.wait(self.step(lease))
            except LogUnavailable as error:
                self._failed(error)
            except (PeeweeException, DatabaseUnavailable) as error:
                # The lease is kept: given up now it could not be released, and its end would have to be waited for.
                log.warning("following the primary waits for our database: %s", error)
                self.stop.wait(STANDBY)

    def let_go(self) -> None:
        """Give the lease up for a thread that waits for the primary while its process ends: the next need not wait."""
        ours = Lease.owner.startswith(f"{owner()}:")
        with connection():
            Lease.update(owner=None, expires_at=now()).where((Lease.name == self._lease_name) & ours).execute()

    @property
    def _lease_name(self) -> str:
        return f"follower:{self.site.id}"

    def step(self, lease: HeldLease | None = None, wait: float = WAIT) -> float:
        """Read once and write down what came; seconds to wait before the next look.

        Raises:
            LogUnavailable: when the log cannot be read.
            NotApplied: when it is not ours to follow any more.
        """
        row = self._row()
        reading = self.log.read(row.position, limit=BATCH, wait=wait)
        if (lease is not None and lease.remaining() <= 0) or migrate.watch.wrong():
            return 0.0
        terms = reading.terms
        if terms is not None and terms.name != self.site.name:
            raise LogUnavailable(
                f"the primary's deployment takes us for the site {terms.name}, but GEO_SITE_NAME is {self.site.name}:"
                " set it to that, or GEO_SITE_TOKEN to the token of our site",
                "wrong_site",
            )
        if terms is not None:
            _require_scope(terms)
        if self._write(row, reading):
            self._advance()
        self._count(_outcome(reading))
        self._delay = BACKOFF[0]
        return reading.retry_after

    def _row(self) -> Row:
        with connection():
            self._require_applied()
            found: Row | None = Row.get_or_none(Row.site == self.site)
            if found is not None:
                return found
        with transaction():
            # So that no promotion comes between the look and the row: that would find it never came.
            lock(Site, [self.site.id])
            self._require_applied()
            new = Row.insert(site=self.site, created_at=now())
            new.on_conflict(action="NOTHING", conflict_target=[Row.site]).execute()
            return Row.get(Row.site == self.site)

    def _require_applied(self) -> None:
        """Make sure that the log is still the one of our primary. Inside a connection.

        Raises:
            NotApplied: when another environment was applied, or the site's registry is the primary now.
        """
        Binding.of(self.context.settings).site()

    def _write(self, before: Row, reading: Reading) -> int:
        """Write events and position in one transaction; how many events were new."""
        events, unreadable = as_registry_events(reading.events)
        with transaction():
            one_at_a_time(self.site.id, FOLLOWER_LOCK)
            self._require_applied()
            row = Row.get_or_none(Row.site == self.site)
            if row is None:
                raise NotApplied(f"the primary's log is no longer followed for site {self.site.name}")
            if row.position != before.position:
                log.warning("another process follows for %s as well; what it read is not read again", self.site.name)
                return 0
            new = event_log.append(events) if events else 0
            instant = now()
            values: dict[str, Any] = {
                "position": reading.position,
                "last_event_id": reading.last_event_id,
                "source_last_event_id": reading.newest_event_id,
                "heard_at": instant,
                "failing_since": None,
                "failure": None,
            }
            values |= self._heed(row, reading, instant)
            Row.update(**values).where(Row.site == self.site).execute()
            for told in unreadable:
                log.error("what the primary's log says cannot be read and is left to a reconcile: %s", told)
            if unreadable:
                self._reconcile("an event of the primary's log could not be read", instant)
        return new

    def _heed(self, row: Row, reading: Reading, instant: datetime) -> dict[str, Any]:
        """Do what the primary asks for; what to remember of it."""
        seen: dict[str, Any] = {}
        if reading.reset is not None:
            log.warning("events were missed, a backfill finds what they told of: %s", reading.reset.message)
            self._reconcile(reading.reset.message, instant)
            seen |= {"reset_at": instant, "reset_reason": reading.reset.message}
        elif row.position is None:
            self._reconcile("the primary's log is followed from here on", instant)
        terms = reading.terms
        if terms is not None:
            if terms.reconcile is not None and terms.reconcile != row.reconcile_seen and row.position is not None:
                self._reconcile(f"the primary asked for it: {terms.reconcile_reason or 'no reason given'}", instant)
            seen |= {"reconcile_seen": terms.reconcile, "paused": terms.paused}
            self._take_over(row, terms, instant)
        return seen

    def _take_over(self, row: Row, terms: Terms, instant: datetime) -> None:
        """Pause and resume with the primary, and stay within what it lets us replicate and delete."""
        if terms.paused != row.paused:
            log.warning("site %s was %s at the primary", self.site.name, "paused" if terms.paused else "resumed")
            Site.update(enabled=not terms.paused, updated_at=instant).where(Site.id == self.site.id).execute()
        site = Site.get_by_id(self.site.id)
        granted = _granted(terms)
        changed = {name for name, value in granted.items() if getattr(site, name) != value}
        if not changed:
            return
        Site.update(**granted, updated_at=instant).where(Site.id == self.site.id).execute()
        before, after = Policy.of(site), Policy.of(Site.get_by_id(self.site.id))
        if after.most is Deletion.MIRROR and before.most is not Deletion.MIRROR:
            holds.hold_mirror(site, "the primary's deployment lets it be a mirror from now on")
        elif after.most is not Deletion.MIRROR:
            holds.lift_mirror(site)
        if changed & {"granted_repositories", "granted_tags"}:
            self._reconcile("what the primary replicates to this site changed", instant)
        elif before != after:
            # What was kept is judged anew.
            self._reconcile("what the primary lets be deleted on this site changed", instant)

    def _reconcile(self, reason: str, instant: datetime) -> None:
        asked = {"reconcile_requested_at": instant, "reconcile_reason": reason}
        Site.update(**asked).where(Site.id == self.site.id).execute()

    def _advance(self) -> None:
        """Turn the events into work at once: they have waited long enough on their way."""
        if not self.context.settings.replication_enabled:
            return
        with connection():
            for site in sites.enabled_secondaries():
                cursor.drain(site)
            waiting = claim.count_due(1000, at_most=marking.FRESH)
        if waiting:
            self.context.wake.rows(waiting)

    def _failed(self, error: LogUnavailable) -> None:
        self._count(error.reason)
        wait = max(self._delay * random.uniform(0.5, 1.0), error.retry_after or 0.0)  # noqa: S311 - no secret
        self._delay = min(self._delay * 2, BACKOFF[1])
        with connection():
            instant = now()
            row = self._row()
            if row.failure != str(error):
                log.warning("the primary's log cannot be read: %s", error)
            values = {"failure": str(error), "failing_since": row.failing_since or instant}
            Row.update(**values).where(Row.site == self.site).execute()
        self.stop.wait(wait)

    def _count(self, outcome: str) -> None:
        buffer.count("geo_follower_readings_total", {"site": self.site.name, "outcome": outcome})


def _granted(terms: Terms) -> dict[str, Any]:
    """What the primary lets the site do, as its row keeps it."""
    return {
        "granted_repositories": "\n".join(terms.repositories),
        "granted_tags": "\n".join(terms.tags),
        "granted_capacity": terms.capacity,
        "granted_deletion": terms.deletion.value if terms.deletion else None,
        "granted_protected_tags": "\n".join(terms.protected_tags),
        "granted_verification": terms.verification.value if terms.verification else None,
    }


def _require_scope(terms: Terms) -> None:
    """Patterns that cannot be read must not be written down: everything here would stumble over them."""
    try:
        Scope(terms.repositories)
        TagScope(terms.tags)
        TagPatterns(terms.protected_tags)
    except ValueError as error:
        raise LogUnavailable(
            f"the primary's deployment limits this site to patterns that this version cannot read: {error}",
            "invalid_scope",
        ) from error


def _outcome(reading: Reading) -> str:
    if reading.reset is not None:
        return "reset"
    if reading.events:
        return "events"
    if reading.terms is not None and reading.terms.paused:
        return "paused"
    return "busy" if reading.retry_after else "empty"
