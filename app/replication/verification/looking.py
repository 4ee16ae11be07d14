"""Looking: a batch of references, a few at a time, and what is wrong once more before it is said."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field, replace

from app.registry import RegistryError, Stopped, bulk
from app.replication.copying.copy import GraphTooLarge
from app.replication.verification.finding import Findings, Kind
from app.replication.verification.references import Due
from app.replication.verification.walk import Place, PrimaryUnsure, Walk
from app.settings import VerificationLevel as Level

#: References of one repository that are looked at beside each other; syncs use the same threads.
SLOTS = 6

#: Seconds after which what is wrong is looked at once more: Distribution empties files for a moment when a tag or
#: manifest is pushed again.
SECOND_LOOK = 0.5

Problem = RegistryError | PrimaryUnsure | GraphTooLarge


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of one reference: findings, or a problem that kept it from being seen."""

    due: Due
    findings: Findings = ()
    problem: Problem | None = None
    #: The primary stands elsewhere by now, or has no such tag any more.
    behind: bool = False
    gone: bool = False

    @property
    def good(self) -> bool:
        return not self.findings and self.problem is None and not self.behind

    @property
    def standing(self) -> str | None:
        """The digest on which the tag stands on the secondary."""
        for finding in self.findings:
            if finding.kind is Kind.TAG_DIFFERS:
                return finding.instead
            if finding.kind is Kind.TAG_MISSING:
                return None
        return self.due.digest


@dataclass
class Looking:
    """Looks at references of one repository in threads that are shared with others.

    `primary_digest` tells where a tag stands on the primary, None if it is not there; without it that is not asked.
    """

    place: Place
    threads: Executor
    stopping: threading.Event
    primary_digest: Callable[[str], str | None] | None = None
    _walks: dict[Level, Walk] = field(default_factory=dict)

    def batch(self, references: Sequence[Due]) -> list[Look]:
        """Look at these; what is not right, a second time.

        Raises:
            Stopped: when told to stop.
        """
        looks = self._all(references)
        wrong = [look.due for look in looks if not look.good]
        if not wrong:
            return looks
        self.stopping.wait(SECOND_LOOK)
        for walk in self._walks.values():
            walk.memory.doubt()
        again = {look.due.id: look for look in self._all(wrong)}
        return [again.get(look.due.id, look) for look in looks]

    def _all(self, references: Iterable[Due]) -> list[Look]:
        waiting: set[Future[Look]] = set()
        looks: list[Look] = []
        try:
            for due in references:
                if len(waiting) >= SLOTS:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    looks += [future.result() for future in done]
                waiting.add(self.threads.submit(self._one, self._walk(due.level), due))
            looks += [future.result() for future in wait(waiting).done]
        except BaseException:
            # Nothing of this run may ask for anything once it is over.
            wait([future for future in waiting if not future.cancel()])
            raise
        return sorted(looks, key=lambda look: look.due.name)

    def _walk(self, level: Level) -> Walk:
        # What was found of a digest at one level says nothing of it at a deeper one.
        if level not in self._walks:
            self._walks[level] = Walk(self.place, level)
        return self._walks[level]

    def _one(self, walk: Walk, due: Due) -> Look:
        try:
            with bulk():
                look = Look(due, walk.look(due))
                if not due.is_tag or self.primary_digest is None:
                    return look
                digest = self.primary_digest(due.name)
                return replace(look, behind=digest != due.digest, gone=digest is None)
        except Stopped:
            raise
        except (RegistryError, PrimaryUnsure, GraphTooLarge) as error:
            return Look(due, problem=error)
