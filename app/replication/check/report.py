"""A report: all findings of all checks. Each check has its time, and none stops the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from peewee import PeeweeException

from app.database import DatabaseUnavailable
from app.registry import RegistryError
from app.replication.check import (
    database,
    deployment,
    notifications,
    pair,
    provider,
    queue,
    registry,
    secondary,
    webhook,
)
from app.replication.check.examination import Examination, Skipped
from app.replication.check.finding import Finding, Id, Severity, error, warning
from app.settings import Settings
from app.site_environment import with_suffix

log = logging.getLogger(__name__)

Check = Callable[[Examination], Sequence[Finding]]

#: What is looked at, in the order in which a person would mend it.
CHECKS: Mapping[str, Check] = {
    "database": database.check,
    "queue": queue.check,
    "primary": registry.primary,
    "secondary": registry.secondary,
    "uploads": secondary.check,
    "registries": pair.check,
    "replication": deployment.check,
    "notifications": notifications.check,
    "webhook": webhook.check,
    "provider": provider.check,
}

#: What of it is about a single secondary, and is looked at once more for each further one.
OF_A_SITE: Mapping[str, Check] = {
    "secondary": registry.secondary,
    "uploads": secondary.check,
    "registries": pair.check,
    "provider": provider.secondary,
}

#: What is named by the site instead, where there are several.
_SUBJECTS = frozenset({"secondary", "registries", "uploads"})


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, check by check."""

    findings: tuple[Finding, ...]

    @property
    def good(self) -> bool:
        """Whether there is no error; warnings are allowed."""
        return not any(finding.severity is Severity.ERROR for finding in self.findings)

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)


def examine(examination: Examination, checks: Mapping[str, Check] = CHECKS) -> Report:
    """Look at everything, one after the other. Never raises for what a check runs into."""
    found = [finding for name, check in checks.items() for finding in _bounded(name, check, examination)]
    if not examination.settings.further:
        return Report(tuple(found))
    found = [_of_site(finding, examination.settings, first=True) for finding in found]
    for site in examination.settings.further:
        for name in [each for each in OF_A_SITE if each in checks]:
            more = _bounded(name, OF_A_SITE[name], replace(examination, settings=site))
            found += [_of_site(finding, site, first=False) for finding in more]
    return Report(tuple(found))


def _of_site(finding: Finding, settings: Settings, *, first: bool) -> Finding:
    """The same, of this one of several secondaries, with the variables that are its own."""
    if finding.subject not in _SUBJECTS:
        return finding
    name = settings.site_name
    title, fix = (text if first else with_suffix(text, name) for text in (finding.title, finding.fix))
    if finding.subject == "registries":
        title = f"it and the primary {title}"
    return replace(finding, subject=name, title=title, fix=fix)


def _bounded(name: str, check: Check, examination: Examination) -> Sequence[Finding]:
    """What a check finds within its time.

    In a thread that is left behind when it hangs: nothing can be done about a system call that does not return, but
    the process ends without it.
    """
    found: list[Sequence[Finding]] = []

    def run() -> None:
        found.append(_safely(name, check, examination))

    thread = threading.Thread(target=run, name=f"check-{name}", daemon=True)
    thread.start()
    thread.join(examination.limit)
    if found:
        return found[0]
    return [
        error(
            Id.CHECK_TIMEOUT,
            name,
            f"not done within {examination.limit:g} s",
            "What is this slow makes every sync as slow.",
            f"Look at the load of {name} and the network there, then run `geo check` again.",
        )
    ]


def _safely(name: str, check: Check, examination: Examination) -> Sequence[Finding]:
    try:
        return check(examination)
    except RegistryError as problem:
        # In short: what is wrong with that registry is told by its own check.
        asked = f"{problem.method} {problem.url}: " if problem.url else ""
        return [_skipped(name, f"{asked}{problem.status or problem.message}")]
    except (Skipped, DatabaseUnavailable, PeeweeException) as problem:
        # PostgreSQL's errors go on with the statement.
        return [_skipped(name, str(problem).partition("\n")[0])]
    except Exception as problem:
        log.exception("a check failed", extra={"check": name})
        return [
            error(
                Id.CHECK_FAILED,
                name,
                f"the check itself failed: {type(problem).__name__}",
                "What is wrong here stays unseen.",
                "This is a mistake of the program; please report it with the traceback in the log.",
            )
        ]


def _skipped(name: str, because: str) -> Finding:
    return warning(
        Id.CHECK_SKIPPED,
        name,
        f"could not be looked at: {because}",
        "What is wrong here stays unseen.",
        "Mend what else is in this list first, then run `geo check` again.",
    )
