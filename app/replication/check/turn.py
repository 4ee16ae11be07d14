"""A turn: one examination at a time on this machine, and over in bounded time as a whole."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, ClassVar

from app.replication.check.examination import Examination
from app.replication.check.finding import Finding, Id, warning
from app.replication.check.report import CHECKS, Check, Report, looks

#: Seconds that it takes at most. Who waits for the answer over HTTP is cut off after 30 on some platforms.
WHOLE = 25.0

#: The file under the state directory that is locked meanwhile.
LOCK = "check.lock"

_ours = threading.Lock()


class Busy(Exception):
    """Somebody else looks at everything now."""

    reason: ClassVar[str] = "check_busy"
    temporary: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__("everything is being looked at already; try again when that is done")


def examine_in_turn(
    examination: Examination,
    checks: Mapping[str, Check] = CHECKS,
    *,
    whole: float = WHOLE,
    clock: Callable[[], float] = time.monotonic,
) -> Report:
    """As `examine`, within `whole` seconds: what is not begun by then is said to be skipped.

    Raises:
        Busy: when another one is under way on this machine.
    """
    with _turn(examination.settings.state_directory):
        deadline = clock() + whole
        findings: list[Finding] = []
        for look in looks(examination.settings, checks):
            left = deadline - clock()
            if left <= 0:
                findings.append(_skipped(look.subject, whole))
            else:
                findings += look.found(replace(examination, limit=min(examination.limit, left)))
        return Report(tuple(findings))


@contextmanager
def _turn(directory: Path) -> Iterator[None]:
    """Ours alone among the threads of this process, and, where `directory` can be written, among all processes."""
    if not _ours.acquire(blocking=False):
        raise Busy
    try:
        with _locked(directory):
            yield
    finally:
        _ours.release()


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    file = _opened(directory)
    if file is None:
        yield
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy from None
        except OSError:
            # Some network file systems keep no locks. Then there are only the threads of this process to mind.
            pass
        yield


def _opened(directory: Path) -> IO[str] | None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return (directory / LOCK).open("w")
    except OSError:
        return None


def _skipped(name: str, whole: float) -> Finding:
    return warning(
        Id.CHECK_SKIPPED,
        name,
        f"not looked at: what came before took the {whole:g} s that there are here",
        "What is wrong here stays unseen.",
        "Mend what else is in this list first, or run `geo check`, which waits longer.",
    )
