"""Attempts: what is done about single references of a claimed row. Threads beside each other do them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from peewee import PeeweeException

from app import correlation, tracing
from app.database import DatabaseUnavailable
from app.models import Reference
from app.registry import (
    REGISTRY_WIDE,
    Manifest,
    NotFound,
    RegistryError,
    ServerError,
    Stopped,
    bulk,
)
from app.replication import outcome
from app.replication.claim import Claim, LeaseLost
from app.replication.context import Context
from app.replication.copying.blob_copy import UnderWay
from app.replication.copying.copy import GraphCopy
from app.replication.copying.flights import Elsewhere
from app.replication.copying.moving import Moving
from app.replication.copying.referrers import Referrers, complete
from app.replication.copying.route import Route
from app.replication.copying.tag_write import put_tag
from app.replication.copying.vacancy import Vacancy
from app.replication.copying.writing import Writing
from app.replication.deletion import TAG_WRITE_LIMIT
from app.replication.outcome import Done, Equal, Failed
from app.replication.removals import Gone, NotThereYet, absent
from app.replication.tag_scope import TagScope

log = logging.getLogger(__name__)

#: Statuses by which a registry, or what stands before it, says that it is not at work.
GATEWAY = frozenset({502, 503, 504})

#: What asked for a reference because it changed, failed or is damaged; anything else only asks to look.
URGENT = frozenset({"event", "retry", "repair"})


class DigestMoved(Exception):
    """After a takeover the tag stood on another digest than the one just written: a late write of the former holder."""

    reason = "overwritten"
    temporary = True


class Parked(Exception):
    """The copy of the reference goes on when others' flights have landed: no failure."""

    def __init__(self, reference: Reference, go_on: Callable[[Reference, datetime], Done], flights: Elsewhere) -> None:
        super().__init__(reference.name)
        self.reference = reference
        self.go_on = go_on
        self.flights = flights


@dataclass
class Attempts:
    """Those of one claimed row. `stop` is asked between chunks."""

    claim: Claim
    context: Context
    stop: Callable[[], bool]
    writing: Writing = field(default_factory=Writing)
    vacancy: Vacancy = field(default_factory=Vacancy)
    moving: Moving = field(default_factory=Moving)
    #: What the secondary holds of references that a look found not in order, by id.
    unequal: dict[int, str | None] = field(default_factory=dict)

    def copy(self, reference: Reference) -> Done | Failed:
        """Bring the reference in order. Raises as `guarded`."""
        with nullcontext() if reference.trigger in URGENT else bulk():
            return self.guarded(reference, self._copy)

    def go_on(self, parked: Parked) -> Done | Failed:
        """Take up a copy where it was left. Raises as `guarded`."""
        with nullcontext() if parked.reference.trigger in URGENT else bulk():
            return self.guarded(parked.reference, parked.go_on)

    def guarded(self, reference: Reference, work: Callable[[Reference, datetime], Done]) -> Done | Failed:
        """Do the work; what a registry does to it, or a bug, is an outcome.

        Raises:
            Gone, Parked: it ends in another way.
            Stopped: it was told to.
            LeaseLost, PeeweeException, DatabaseUnavailable: which end the whole sync.
        """
        started = utcnow()
        about = {
            "geo.site": self.claim.site.name,
            "geo.repository": self.claim.path,
            "geo.reference": reference.name,
            "geo.trigger": reference.trigger,
            "geo.event_id": reference.event_id,
        }
        with (
            correlation.bound(reference.correlation_id),
            tracing.span("sync_reference", about, passing=(Gone, Parked)) as span,
        ):
            try:
                done = work(reference, started)
            except (Gone, Parked, Stopped, LeaseLost, PeeweeException, DatabaseUnavailable):
                raise
            except Exception as error:
                if self.stop():
                    raise Stopped(str(error)) from error
                separator = ":" if reference.is_tag else "@"
                failed = failure(f"{self.claim.path}{separator}{reference.name}", error, started)
                span.failed(failed.reason)
                return failed
            span.note({"geo.action": done.action, "geo.digest": done.digest})
            return done

    def _copy(self, reference: Reference, started: datetime) -> Done:
        source, path = self.context.primary, self.claim.path
        # Beside each other: the primary is far away.
        looking = self._look(reference)
        try:
            manifest = source.get_manifest(path, reference.name)
        except NotFound as error:
            return absent(reference, error, started, utcnow)
        finally:
            wait([looking])
        standing = looking.result()
        attached = manifest.subject is not None
        if not (reference.is_tag or reference.observed_digest or TagScope.of(self.claim.site).takes_digest(attached)):
            return Done("forget", started, utcnow())
        if standing == manifest.digest and reference.trigger == "event" and not attached:
            return self._done("keep", manifest, standing, started)
        graph = GraphCopy(self._route())
        if reference.trigger == "repair" or standing not in (manifest.digest, reference.observed_digest):
            # A verification found something missing, or somebody else was at work there, a garbage collection perhaps.
            graph.doubt()
        referrers = Referrers(graph, self.context.referrers, self._put_tag)
        return self._land(manifest, standing, referrers, started, reference, started)

    def _look(self, reference: Reference) -> Future[str | None]:
        """What stands there on the secondary; a check may have seen it, or the listing of the repository."""
        vacant = self.lacking(reference)
        if not vacant and (reference.trigger in URGENT or reference.id not in self.unequal):
            return self.context.lanes.small.submit(self._standing, reference.name)
        seen: Future[str | None] = Future()
        seen.set_result(None if vacant else self.unequal[reference.id])
        return seen

    def vacant(self) -> None:
        """The secondary says that it knows no such repository: nothing that was brought there earlier is there."""
        self.context.presence.forget(self.context.destination().name, self.claim.path)
        self.vacancy.found()

    def lacking(self, reference: Reference) -> bool:
        """Whether the secondary cannot have it: it knows no such repository, and nothing was brought since."""
        return reference.observed_digest is None and self.vacancy.holds()

    def _land(
        self,
        manifest: Manifest,
        standing: str | None,
        referrers: Referrers,
        started: datetime,
        reference: Reference,
        _again: datetime,
    ) -> Done:
        # That the tag stands right says nothing of what is below it, when that is to be repaired.
        graph, equal = referrers.graph, standing == manifest.digest and reference.trigger != "repair"
        creations = self.context.creations
        began = creations.clock()
        bring = partial(self._bring, manifest, referrers, reference, equal=equal)
        try:
            try:
                bring()
            except RegistryError as error:
                if not creations.make(self.claim.path, error, began):
                    raise
                bring()
        except UnderWay as error:
            go_on = partial(self._land, manifest, standing, referrers, started)
            raise Parked(reference, go_on, error.flights) from None
        return self._done("keep" if equal else "copy", manifest, standing, started, graph)

    def _bring(self, manifest: Manifest, referrers: Referrers, reference: Reference, *, equal: bool) -> None:
        graph = referrers.graph
        if not equal:
            graph.below(manifest)
        if reference.is_tag:
            # Before the tag: who pulls by it may want the signature at once.
            referrers.bring(manifest)
        if not equal:
            graph.put(manifest, reference.name, partial(self._put, reference, manifest))
        referrers.attach(manifest)

    def _route(self) -> Route:
        context = self.context
        return Route(
            context.primary,
            context.destination(),
            self.claim.path,
            context.lanes,
            context.flights,
            context.presence,
            self.writing,
            self.vacancy,
            self.stop,
            context.spool,
            self.moving,
            context.secondary_provider.profile,
        )

    def look(self, references: list[Reference]) -> list[Equal]:
        """Return those that are in order, by two HEADs each; what cannot be told is left to be copied."""
        checks = self.context.lanes.checks
        self.unequal |= dict.fromkeys(reference.id for reference in references)
        with bulk():
            futures = [checks.submit(self._equal, reference) for reference in references]
        wait(futures)
        found = [future.result() for future in futures if future.exception() is None]
        return [equal for equal in found if equal is not None]

    def _equal(self, reference: Reference) -> Equal | None:
        if self.stop() or self.context.stopping.is_set():
            return None
        standing = self._standing(reference.name)
        if standing is None:
            return None
        self.unequal[reference.id] = standing
        wanted = self.context.primary.head_manifest(self.claim.path, reference.name)
        if standing != wanted.digest or not complete(self._route(), self.context.referrers, wanted):
            return None
        return Equal(reference, wanted.digest, wanted.media_type)

    def _standing(self, name: str) -> str | None:
        """The digest that the secondary has under the name; None when it has none, or cannot say."""
        try:
            return self.context.destination().head_manifest(self.claim.path, name).digest
        except NotFound:
            return None
        except ServerError as error:
            # Distribution answers so for the moment in which the same manifest is pushed under another name.
            if error.status != 500:
                raise
            return None

    def _put(self, reference: Reference, manifest: Manifest) -> None:
        self._put_tag(reference.name, manifest)
        if self.claim.takeover:
            standing = self._standing(reference.name)
            if standing != manifest.digest:
                raise DigestMoved(f"written as {manifest.digest}, found as {standing}; a stalled worker wrote after us")

    def _put_tag(self, name: str, manifest: Manifest) -> None:
        self.claim.require(TAG_WRITE_LIMIT)
        put_tag(self.context.destination(), self.claim.path, name, manifest, total_timeout=TAG_WRITE_LIMIT)

    def _done(
        self,
        action: outcome.Action,
        manifest: Manifest,
        standing: str | None,
        started: datetime,
        graph: GraphCopy | None = None,
    ) -> Done:
        return Done(
            action,
            started,
            utcnow(),
            manifest.digest,
            standing,
            manifest.media_type,
            tally=graph.tally if graph else None,
        )


def failure(subject: str, error: Exception, started: datetime) -> Failed:
    """The outcome that `error` is for `subject`, a reference or a repository; a bug is one too."""
    known = isinstance(getattr(error, "reason", None), str)
    if not known:
        log.error("unexpected error while syncing %s", subject, exc_info=error)
    return Failed(
        reason=getattr(error, "reason", "internal"),
        message=f"{subject}: {error}" if known else f"{subject}: internal error: {error!r}",
        temporary=bool(getattr(error, "temporary", True)),
        started_at=started,
        finished_at=utcnow(),
        retry_after=getattr(error, "retry_after", None),
        registry_wide=registry_wide(error),
        unwitnessed=isinstance(error, NotThereYet),
    )


def registry_wide(error: Exception) -> bool:
    """Whether the error says something of a registry rather than of one reference: then the others need not try."""
    return isinstance(error, REGISTRY_WIDE) or (isinstance(error, ServerError) and error.status in GATEWAY)


def utcnow() -> datetime:
    return datetime.now(UTC)
