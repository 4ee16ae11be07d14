"""The schema: brought to what this program needs, one process at a time, and watched while a process lives."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from peewee import PeeweeException
from playhouse.migrations import Runner

from app.database import DatabaseUnavailable, connection, database, migration_lock

log = logging.getLogger(__name__)

#: The state before the first migration: no table of ours.
ZERO = "zero"

#: Seconds for which a look at the schema holds: for so long a process may go on after another has changed it. And
#: where it was not the program's: somebody is about to put that right.
LOOK_EVERY, LOOK_AGAIN = 5.0, 1.0


class Unmigrated(Exception):
    """The schema is not the one that this version needs; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How the database's schema differs from this program's."""

    #: Migrations that the program has and the database has not, in their order.
    pending: tuple[str, ...] = ()
    #: Migrations that the database has and the program has not: a newer version was here.
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        """What is wrong and what to do, in a sentence; empty where nothing is."""
        if self.unknown:
            return (
                f"The database was migrated by a newer version ({', '.join(self.unknown)}): run that version here, or"
                " have it go back with `geo migrate --to` before this one is started."
            )
        if self.pending:
            return f"The database is not migrated; run `geo migrate` ({self.pending[0]} …)."
        return ""


def migrate() -> list[str]:
    """Apply what is pending; return the names applied. Safe when several processes call it at once.

    Raises:
        Unmigrated: when a newer version has migrated it further than this one knows, or a migration fails.
    """
    with migration_lock():
        _require_known()
        with _telling(lambda: pending()[0]):
            return _changed(_runner().up())


def revert() -> list[str]:
    """Undo the last migration; return the names undone.

    Raises:
        Unmigrated: when this version does not know what was applied last, or a migration fails.
    """
    with migration_lock():
        _require_known()
        with _telling(lambda: applied()[-1]):
            return _changed(_runner().down())


def go_to(target: str) -> tuple[list[str], list[str]]:
    """Bring the schema to the state after the migration `target`, its number or `ZERO`; return what was applied and
    what was undone.

    Raises:
        ValueError: for what is no migration of this version.
        Unmigrated: as for `revert`.
    """
    with migration_lock():
        _require_known()
        runner = _runner()
        names = [each.name for each in runner.migrations()]
        place = -1 if target == ZERO else _place(target, names)
        there = runner.applied()
        beyond = [name for name in names[place + 1 :] if name in there]
        with _telling(lambda: applied()[-1]):
            undone = runner.down(beyond[0]) if beyond else []
        with _telling(lambda: pending()[0]):
            done = runner.up(names[place]) if place >= 0 else []
        return _changed(done), _changed(undone)


def applied() -> list[str]:
    """Names of the migrations that the database has, in their order."""
    with connection():
        return [each.name for each in _runner().status() if each.applied is not None]


def pending() -> list[str]:
    """Names of the migrations that this version has and the database has not."""
    return list(difference().pending)


def difference() -> Difference:
    """Compare the database's schema with this program's.

    Raises:
        DatabaseUnavailable, peewee.PeeweeException: when it cannot be told.
    """
    with connection():
        every = _runner().status()
    return Difference(
        pending=tuple(each.name for each in every if each.applied is None),
        unknown=tuple(each.name for each in every if each.path is None),
    )


class Watch:
    """Looks every few seconds whether the schema is this program's: another version may change it meanwhile.

    What is written by a program that knows less of the schema than its rows say is worse than what is written late.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._looked: float | None = None
        self._at: object = None
        self._wrong = ""

    def wrong(self) -> str:
        """What is wrong with the schema and what to do; empty while it is right, or cannot be told."""
        if self._due() and self._lock.acquire(blocking=self._looked is None):
            try:
                if self._due():
                    self._look()
            finally:
                self._lock.release()
        return self._wrong

    def forget(self) -> None:
        """Look anew the next time."""
        self._looked = None

    def _due(self) -> bool:
        if self._looked is None or self._at is not database.obj:
            return True
        return self._clock() - self._looked >= (LOOK_AGAIN if self._wrong else LOOK_EVERY)

    def _look(self) -> None:
        try:
            found = str(difference())
        except (DatabaseUnavailable, PeeweeException, Unmigrated):
            # Whoever needs the database says so by himself.
            found = ""
        if found and found != self._wrong:
            log.error("nothing is done here: %s", found)
        elif self._wrong and not found:
            log.info("the schema is this version's again")
        self._wrong, self._at, self._looked = found, database.obj, self._clock()


#: The process's own.
watch = Watch()


@contextlib.contextmanager
def _telling(which: Callable[[], str]) -> Iterator[None]:
    """Each migration is one transaction, which holds what is known of it: the first that is not done has failed."""
    try:
        yield
    except PeeweeException as error:
        watch.forget()
        # PostgreSQL's errors go on with the statement.
        said = str(error).partition("\n")[0]
        try:
            name = which()
        except (PeeweeException, DatabaseUnavailable, IndexError):
            # It was the connection that failed, perhaps with the answer to a commit.
            raise Unmigrated(
                f"A migration was cut off ({said}). `geo migrate --status` says how far it came; then run `geo migrate`"
                " again."
            ) from error
        raise Unmigrated(
            f"The migration {name} failed ({said}), and the database is as it was before it. Go on with the version"
            " that ran so far, or mend what is said here and run `geo migrate` again."
        ) from error


def _changed(names: list[str]) -> list[str]:
    watch.forget()
    return list(names)


def _require_known() -> None:
    found = difference()
    if found.unknown:
        raise Unmigrated(str(found))


def _place(target: str, names: list[str]) -> int:
    for place, name in enumerate(names):
        if target == name or (target.isdecimal() and int(target) == int(name.partition("_")[0])):
            return place
    raise ValueError(f"there is no migration {target}; there are {', '.join(names)}, and {ZERO}")


def _runner() -> Runner:
    spec = importlib.util.find_spec("migrations")
    if spec is None or spec.origin is None:
        raise Unmigrated("the migrations are not installed beside the application")
    return Runner(database.obj, str(Path(spec.origin).parent))
