"""Leases: rights that end by themselves, on rows and by name, kept alive by one heartbeat in each process."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from app.database import connection, now, transaction
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Lease, SyncState

log = logging.getLogger(__name__)

#: Seconds that a lease lasts without a heartbeat. A killed worker's row is taken over after that, within 90 seconds.
TTL = 45.0

#: Seconds between heartbeats; three may fail before the lease is lost.
HEARTBEAT = 10.0

#: Seconds that who lets go of a lease waits for a beat of it that is under way. A database that hangs keeps nobody.
LEAVING = 5.0


def monotonic() -> float:
    """Seconds on a clock that nobody sets and that runs on while the machine sleeps, where there is one."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


def owner() -> str:
    """This process, for people who ask who holds a row."""
    return f"{socket.gethostname()[:200]}:{os.getpid()}"


@dataclass(eq=False)
class HeldLease:
    """A lease in the hand of its holder, who measures it by a clock of his own.

    `deadline` is counted from before the request that granted it, so the holder believes in it no longer than the
    database does.
    """

    renew: Callable[[], bool]
    deadline: float
    #: Seconds that a renewal grants.
    ttl: float = TTL
    clock: Callable[[], float] = monotonic
    lost: bool = False

    def remaining(self) -> float:
        """Seconds for which nobody else can hold it; 0 when it is lost."""
        return 0.0 if self.lost else max(0.0, self.deadline - self.clock())

    def beat(self) -> None:
        """Renew once. An unreachable database leaves the deadline where it was."""
        asked = self.clock()
        if self.remaining() <= 0.0:
            self.lost = True
        elif self.renew():
            self.deadline = asked + self.ttl
        else:
            self.lost = True


class Heartbeat:
    """One thread that renews all leases of the process. It starts with the first lease and lives with the process."""

    def __init__(self, interval: float = HEARTBEAT) -> None:
        self._interval = interval
        self._held: set[HeldLease] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        #: The one that is being renewed.
        self._beating: HeldLease | None = None

    @contextlib.contextmanager
    def keeping(self, lease: HeldLease) -> Iterator[HeldLease]:
        """Renew the lease meanwhile. Not after that: a beat under way is waited for, since whoever is done may close
        all connections, and one that is closed while another thread uses it takes the process down with it (SQLite)."""
        with self._changed:
            self._held.add(lease)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
                self._thread.start()
        try:
            yield lease
        finally:
            with self._changed:
                self._held.discard(lease)
                self._changed.wait_for(lambda: self._beating is not lease, LEAVING)

    def _run(self) -> None:
        while True:
            time.sleep(self._interval)
            with self._changed:
                held = list(self._held)
            for lease in held:
                self._beat(lease)

    def _beat(self, lease: HeldLease) -> None:
        with self._changed:
            if lease not in self._held:
                return
            self._beating = lease
        try:
            with connection():
                lease.beat()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next beat tries again
            log.warning("heartbeat failed: %s", error)
        finally:
            with self._changed:
                self._beating = None
                self._changed.notify_all()


#: The process's own. A fork's child starts a thread of its own with its first lease.
heartbeat = Heartbeat()


def renew_row(registry_id: int, token: int) -> bool:
    """Prolong the lease on a tracking row; False when somebody else has it."""
    changed: int = (
        Registry.update(lease_expires_at=now() + timedelta(seconds=TTL))
        .where((Registry.id == registry_id) & (Registry.lease_token == token) & (Registry.state == SyncState.STARTED))
        .execute()
    )
    return changed == 1


@contextlib.contextmanager
def named(name: str, ttl: float = TTL) -> Iterator[HeldLease | None]:
    """Hold the lease `name` while inside, or get None because another process has it."""
    holder = f"{owner()}:{uuid.uuid4()}"
    asked = monotonic()
    token = _acquire(name, holder, ttl)
    if token is None:
        yield None
        return
    lease = HeldLease(renew=lambda: _renew(name, holder, token, ttl), deadline=asked + ttl, ttl=ttl)
    try:
        yield lease
    finally:
        with connection():
            Lease.update(owner=None, expires_at=now()).where((Lease.name == name) & (Lease.token == token)).execute()


def _acquire(name: str, holder: str, ttl: float) -> int | None:
    with transaction():
        instant = now()
        new = Lease.insert(name=name, owner=None, token=0, expires_at=instant)
        new.on_conflict(action="NOTHING", conflict_target=[Lease.name]).execute()
        taken = (
            Lease.update(owner=holder, token=Lease.token + 1, expires_at=instant + timedelta(seconds=ttl))
            .where((Lease.name == name) & (Lease.owner.is_null() | (Lease.expires_at <= instant)))
            .returning(Lease)
            .execute()
        )
        rows = list(taken)
        return rows[0].token if rows else None


def _renew(name: str, holder: str, token: int, ttl: float) -> bool:
    changed: int = (
        Lease.update(expires_at=now() + timedelta(seconds=ttl))
        .where((Lease.name == name) & (Lease.token == token) & (Lease.owner == holder))
        .execute()
    )
    return changed == 1
