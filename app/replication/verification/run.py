"""A run: whoever holds a row for verification looks at its references, and writes down what he saw."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from peewee import PeeweeException

from app import metrics, tracing
from app.database import DatabaseUnavailable, connection, now
from app.models import Reference, SyncState, VerificationState
from app.registry import NotFound, RegistryError, Stopped
from app.replication.context import Context
from app.replication.lease import heartbeat, monotonic
from app.replication.tag_scope import TagScope
from app.replication.verification import claim as claims
from app.replication.verification import owing, references, repair
from app.replication.verification.checksum import Checksums
from app.replication.verification.claim import Verdict, VerificationLost, Verifying
from app.replication.verification.finding import Broken, brief
from app.replication.verification.looking import REGISTRY_WIDE, Look, Looking, Problem
from app.replication.verification.walk import Place, PrimaryUnsure
from app.settings import VerificationLevel as Level

log = logging.getLogger(__name__)

#: References that are named in a result; the others are counted.
NAMED = 1000


@dataclass
class Verified:
    """What a run found. `state` is how it left the row; None: somebody took it over, or it was not finished."""

    level: Level
    state: VerificationState | None = None
    #: References looked at, and those of which something is missing.
    looked_at: int = 0
    broken: int = 0
    #: The first of those, and of what kept others from being seen.
    named: list[Broken] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unsure: int = 0
    #: Tags that the primary has moved or deleted, or that only it knows, and tags that wait for a sync or failed.
    behind: int = 0
    unsynced: int = 0
    checksums: Checksums | None = None
    failure: str | None = None

    @property
    def in_order(self) -> bool:
        """Whether all that the primary is known to have is there."""
        return self.state is VerificationState.SUCCEEDED and not self.unsynced


def verify(
    claim: Verifying,
    context: Context,
    *,
    enough: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Verified:
    """Look at what the claimed row owes, and close it. Never raises for what a registry does: that is in the result.

    `enough` is asked between batches, and true gives the row back: it is gone on with later. `progress` is told how
    many references of how many were looked at.
    """
    context = context.at(claim.site.name)
    about = {"geo.site": claim.site.name, "geo.repository": claim.path, "geo.level": claim.level.value}
    with tracing.span("verify_repository", about) as span, heartbeat.keeping(claim.lease):
        result = _Run(claim, context, enough, progress).run()
        found = {"geo.references": result.looked_at, "geo.broken": result.broken, "geo.unsure": result.unsure}
        span.note({"geo.state": None if result.state is None else result.state.name.lower(), **found})
        return result


class _Outage(Exception):
    """The secondary does not answer: asking on would tell nothing."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class _Run:
    def __init__(
        self, claim: Verifying, context: Context, enough: Callable[[], bool], progress: Callable[[int, int], None]
    ) -> None:
        self._claim = claim
        self._context = context
        self._enough = enough
        self._progress = progress
        self._result = Verified(claim.level)
        self._began = monotonic()
        #: Tags that do not stand where they should, with the digest on which they stand.
        self._standing: dict[str, str | None] = {}
        self._first_problem: Problem | None = None

    def run(self) -> Verified:
        claim = self._claim
        try:
            self._look()
        except Stopped:
            claims.release(claim)
            self._measure("unfinished")
        except _Outage as outage:
            self._close(self._verdict_of(outage.problem, outage=True))
        except VerificationLost as error:
            log.warning("verification was taken over: %s", error)
        except (PeeweeException, DatabaseUnavailable) as error:
            log.error("the database failed during the verification of %s: %s", claim.path, error)
        else:
            self._close(self._verdict())
        return self._result

    # --- looking ----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        claim = self._claim
        if claim.full:
            self._list()
        looking = Looking(
            Place(
                self._context.destination(),
                self._context.primary,
                claim.path,
                self._context.verification.pace,
                self._stop,
            ),
            self._context.lanes.checks,
            self._context.stopping,
            # What the primary has is known; at this level alone it is asked again, as GitLab does.
            self._primary_digest if claim.full and claim.level is Level.TAGS else None,
        )
        total = references.count(claim)
        self._progress(0, total)
        for batch in references.batches(claim):
            if self._stop() or self._enough():
                raise Stopped("the verification goes on later")
            self._take_in(looking.batch(batch))
            self._progress(self._result.looked_at, max(total, self._result.looked_at))
        self._result.unsynced = references.unsynced(claim.registry_id)

    def _stop(self) -> bool:
        return self._context.stopping.is_set() or self._claim.lease.remaining() <= 0

    def _take_in(self, looks: Sequence[Look]) -> None:
        """Write down what was seen of a batch, so that whoever takes over need not look again."""
        claim, result = self._claim, self._result
        with connection():
            references.verified(claim, [look.due for look in looks if look.good], now())
            broken = {
                look.due: Broken(look.due.name, look.due.is_tag, look.findings)
                for look in looks
                if look.findings and not look.behind
            }
            marked = repair.mark(claim, broken) if broken else 0
            behind = [look.due for look in looks if look.behind]
            repair.catch_up(claim, [look.due for look in looks if look.behind and not look.gone])
            if any(look.gone for look in looks):
                repair.list_anew(claim)
        if marked:
            self._context.wake.bulk(1)
        result.looked_at += len(looks)
        result.behind += len(behind)
        self._note(looks)
        outage = next((look.problem for look in looks if isinstance(look.problem, REGISTRY_WIDE)), None)
        if outage is not None:
            raise _Outage(outage)

    def _note(self, looks: Sequence[Look]) -> None:
        result = self._result
        for look in looks:
            if look.findings and not look.behind:
                result.broken += 1
                if len(result.named) < NAMED:
                    result.named.append(Broken(look.due.name, look.due.is_tag, look.findings))
                if look.due.is_tag:
                    self._standing[look.due.name] = look.standing
            if look.problem is not None:
                result.unsure += 1
                self._first_problem = self._first_problem or look.problem
                if len(result.problems) < NAMED:
                    result.problems.append(f"{look.due.name}: {look.problem}")

    # --- the primary ------------------------------------------------------------------------------------------------

    def _list(self) -> None:
        """Compare the names that the primary lists with those that we know; a full sync sees to what differs."""
        claim = self._claim
        scope = TagScope.of(claim.site)
        try:
            listed = {tag for tag in self._context.primary.list_tags(claim.path) if scope.covers(tag)}
        except NotFound as error:
            if error.witnessed and not self._known():
                return
            self._unlisted(PrimaryUnsure(error))
            return
        except RegistryError as error:
            self._unlisted(PrimaryUnsure(error))
            return
        known = self._known()
        current = {name for name, (synced, same) in known.items() if synced and same and scope.covers(name)}
        waiting = {name for name, (synced, _) in known.items() if not synced}
        # Listed and none of both: unknown, or kept and taken for drift until now.
        differing = (listed - current - waiting) | (current - listed)
        if differing:
            self._result.behind += len(differing)
            with connection():
                repair.list_anew(claim)
            self._context.wake.bulk(1)

    def _unlisted(self, problem: PrimaryUnsure) -> None:
        """What was replicated is looked at all the same: that is worth most while the primary is away."""
        self._result.unsure += 1
        self._result.problems.append(str(problem))
        self._first_problem = problem

    def _known(self) -> dict[str, tuple[bool, bool]]:
        """The tags we know of: whether each is settled, and whether it stands on the same digest on both sides."""
        tags = Reference.select(
            Reference.name, Reference.state, Reference.desired_digest, Reference.observed_digest
        ).where((Reference.registry == self._claim.registry_id) & Reference.is_tag)
        with connection():
            rows: Any = tags.tuples()
            return {
                name: (state == SyncState.SYNCED, desired is not None and desired == observed)
                for name, state, desired, observed in rows
            }

    def _primary_digest(self, tag: str) -> str | None:
        try:
            return self._context.primary.standing(self._claim.path, tag)
        except RegistryError as error:
            raise PrimaryUnsure(error) from error

    # --- the end ----------------------------------------------------------------------------------------------------

    def _verdict(self) -> Verdict:
        result = self._result
        with connection():
            checksums = Checksums.of(self._claim.registry_id, self._standing)
            unrepaired = owing.unrepaired(self._claim.registry_id)
        result.checksums = checksums
        if result.broken:
            return Verdict(
                self._mismatch(), "mismatch", complete=result.unsure == 0, behind=result.behind > 0, checksums=checksums
            )
        if self._first_problem is not None:
            return self._verdict_of(self._first_problem, checksums=checksums)
        if unrepaired:
            lines = [f"{tag.name}: {tag.failure}" for tag in unrepaired]
            text = f"{len(lines)} tags of {self._claim.path} were found broken and are not repaired yet"
            told = f"{text}: {brief(lines, len(lines))}"
            return Verdict(told, "mismatch", unrepaired=True, checksums=checksums)
        return Verdict(behind=result.behind > 0, checksums=checksums)

    def _verdict_of(self, problem: Problem, *, outage: bool = False, checksums: Checksums | None = None) -> Verdict:
        others = f" (and {self._result.unsure - 1} more like it)" if self._result.unsure > 1 else ""
        return Verdict(
            f"it could not be told whether everything is there: {problem}{others}",
            problem.reason,
            outage=outage,
            retry_after=getattr(problem, "retry_after", None),
            complete=False,
            checksums=checksums,
        )

    def _mismatch(self) -> str:
        result, claim = self._result, self._claim
        text = (
            f"{result.broken} of {result.looked_at} references of {claim.path} are not on {claim.site.name} as they"
            f" should be, and are copied again: {brief(result.named, result.broken)}"
        )
        if claim.retry_count and any(finding.kind.damaged for each in result.named for finding in each.findings):
            text += (
                ". It was copied again before: this registry keeps the damaged file that it has, so remove that from"
                " its storage by hand, and verify again"
            )
        return text

    def _close(self, verdict: Verdict) -> None:
        result, claim = self._result, self._claim
        result.failure = verdict.failure
        try:
            result.state = claims.close(claim, verdict)
        except (PeeweeException, DatabaseUnavailable) as error:
            # Its lease ends by itself, and what was seen is written down.
            log.error("the verification of %s could not be closed: %s", claim.path, error)
            return
        outcome = {VerificationState.SUCCEEDED: "succeeded", VerificationState.FAILED: "failed"}
        told = "failed" if result.broken else "unsure" if verdict.failure else ""
        self._measure(told or outcome.get(result.state or VerificationState.PENDING, "unfinished"))
        if verdict.failure is not None:
            about = {"site": claim.site.name, "container_repository_name": claim.path, "level": claim.level.value}
            log.warning("verification failed", extra={**about, "error": verdict.failure})

    def _measure(self, outcome: str) -> None:
        site, level = {"site": self._claim.site.name}, {"level": self._claim.level.value}
        samples = metrics.Samples()
        samples.count("geo_verifications_total", {**site, **level, "outcome": outcome})
        samples.observe("geo_verification_duration_seconds", {**site, **level}, monotonic() - self._began)
        samples.count("geo_verified_references_total", {**site, **level}, self._result.looked_at)
        for each in self._result.named:
            for finding in each.findings:
                samples.count("geo_verification_findings_total", {**site, "kind": finding.kind.value})
        try:
            samples.write()
        except (PeeweeException, DatabaseUnavailable) as error:
            log.warning("a verification was not counted: %s", error)
