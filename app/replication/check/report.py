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
    workers,
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
    "workers": workers.check,
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


@dataclass(frozen=True, slots=True)
class Look:
    """One check of one thing: of everything, or of a single one of several secondaries."""

    name: str
    check: Check
    #: The site's settings, or all.
    settings: Settings
    #: How the site is named; None where the deployment has no other.
    site: str | None = None
    #: Whether it is a site beside the first, whose variables have its name behind theirs.
    further: bool = False

    @property
    def subject(self) -> str:
        """What a finding about the look itself is about."""
        return self.site if self.further and self.site is not None else self.name

    def found(self, examination: Examination) -> list[Finding]:
        """What it finds within the examination's limit. Never raises."""
        found = _bounded(self.name, self.check, replace(examination, settings=self.settings))
        return [self._of_site(finding) for finding in found]

    def _of_site(self, finding: Finding) -> Finding:
        """The same, of this one of several secondaries, with the variables that are its own."""
        if self.site is None or finding.subject not in _SUBJECTS:
            return finding
        title, fix = finding.title, finding.fix
        if self.further:
            title, fix = with_suffix(title, self.site), with_suffix(fix, self.site)
        if finding.subject == "registries":
            title = f"it and the primary {title}"
        return replace(finding, subject=self.site, title=title, fix=fix)


def looks(settings: Settings, checks: Mapping[str, Check] = CHECKS) -> list[Look]:
    """Everything that is to be looked at, one after the other."""
    first = settings.site_name if settings.further else None
    found = [Look(name, check, settings, first) for name, check in checks.items()]
    of_a_site = {name: check for name, check in OF_A_SITE.items() if name in checks}
    for site in settings.further:
        found += [Look(name, check, site, site.site_name, further=True) for name, check in of_a_site.items()]
    return found


def examine(examination: Examination, checks: Mapping[str, Check] = CHECKS) -> Report:
    """Look at everything, one after the other. Never raises for what a check runs into."""
    every = looks(examination.settings, checks)
    return Report(tuple(finding for look in every for finding in look.found(examination)))


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
