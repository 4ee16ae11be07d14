"""Awaiting: whether an image has come to a site, and if not, what it waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from app.database import connection
from app.models import ContainerRepository, Reference, Site, SyncState, VerificationState
from app.models import ContainerRepositoryRegistry as Registry
from app.replication.explain import explain
from app.replication.explanation import Cause, Explanation
from app.replication.scope import Scope
from app.replication.site_option import site_option

#: Seconds between two looks.
INTERVAL = 0.25

#: How many times as long as a look takes nobody looks again: a repository may have a hundred thousand tags.
RESTS = 10

#: What may hold an image up besides the causes of an explanation: the tag stands on another digest; it is there, and
#: nobody has verified it yet.
OTHER_DIGEST, UNVERIFIED = "other_digest", "unverified"


@dataclass(frozen=True, slots=True)
class Awaited:
    """What is to come: a tag, a digest, or a tag that stands on a digest; and whether it is to be verified."""

    site: Site
    path: str
    tag: str | None
    digest: str | None
    verified: bool

    def __post_init__(self) -> None:
        if self.tag is None and self.digest is None:
            raise ValueError("an image is named by a tag, a digest or both")

    @property
    def name(self) -> str:
        return self.tag or self.digest or ""

    def __str__(self) -> str:
        tag, digest = f":{self.tag}" if self.tag else "", f"@{self.digest}" if self.digest else ""
        return f"{self.path}{tag}{digest}"


@dataclass(frozen=True, slots=True)
class Delay:
    """It is not there: why, what to do or what happens by itself, and what is known of it."""

    cause: str
    why: str
    next: str
    reference: Reference | None = None
    #: It will not come by itself.
    vain: bool = False


def wait(
    awaited: Awaited,
    seconds: float,
    *,
    replication_enabled: bool,
    alive: Callable[[], bool] = lambda: True,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Reference | Delay:
    """Look until it is there, for so many seconds at most, as long as `alive` says so and it may still come.

    Holds no connection between looks. Returns what is there, or what it waits for at the end.
    """
    deadline = clock() + seconds
    delay: Delay | None = None
    while True:
        began = clock()
        with connection():
            # First: what it said when it was retired stands on, whatever became of its registry since.
            if not _taken_up(awaited.site):
                return _retired(awaited, enabled=replication_enabled)
            found = _find(awaited)
            if found is not None and (awaited.digest is not None or _settled(awaited, enabled=replication_enabled)):
                return found
            last = clock() >= deadline or not alive()
            if delay is None or last:
                delay = _delay(awaited, enabled=replication_enabled)
        if last or delay.vain:
            return delay
        sleep(max(0.0, min(max(INTERVAL, RESTS * (clock() - began)), deadline - clock())))


def _taken_up(site: Site) -> bool:
    return bool(Site.select().where((Site.id == site.id) & ~Site.retired).exists())


def _retired(awaited: Awaited, *, enabled: bool) -> Delay:
    told = _explanation(awaited, enabled=enabled)
    if told is not None and told.cause is Cause.RETIRED:
        return Delay(told.cause, told.why, told.next, told.record, vain=True)
    why = f"{awaited.site.name} is no longer a site of this deployment."
    return Delay(Cause.RETIRED, why, "Name another site.", vain=True)


def _find(awaited: Awaited) -> Reference | None:
    """A reference that says that it is there, and verified if that is wanted."""
    row = Registry.select(Registry.id).join(ContainerRepository)
    row = row.where((Registry.site == awaited.site) & (ContainerRepository.path == awaited.path))
    in_sync = (Reference.state == SyncState.SYNCED) & (Reference.desired_digest == Reference.observed_digest)
    proven = Reference.verified_digest == Reference.observed_digest
    wanted = Reference.registry.in_(row)
    if awaited.tag is not None:
        wanted &= Reference.name == awaited.tag
    if awaited.digest is None:
        wanted &= in_sync & proven if awaited.verified else in_sync
    else:
        # What was proven to be there is, even while a later push waits to take its place.
        wanted &= (Reference.observed_digest == awaited.digest) & (proven if awaited.verified else proven | in_sync)
    found: Reference | None = Reference.select().where(wanted).first()
    return found


def _settled(awaited: Awaited, *, enabled: bool) -> bool:
    """Whether no event about the tag waits to be read: what is there may be what it stood on before."""
    told = _explanation(awaited, enabled=enabled)
    return told is not None and told.cause is Cause.SYNCED


def _explanation(awaited: Awaited, *, enabled: bool) -> Explanation | None:
    every = explain(awaited.path, awaited.name, replication_enabled=enabled)
    return next((each for each in every if each.site == awaited.site.name), None)


def _delay(awaited: Awaited, *, enabled: bool) -> Delay:
    told = _explanation(awaited, enabled=enabled)
    if told is None:
        # It was taken away between two statements.
        return _retired(awaited, enabled=enabled)
    if told.cause is not Cause.SYNCED:
        return Delay(told.cause, told.why, told.next, told.record, vain=_vain(awaited, told.cause))
    record = told.record
    if record is not None and awaited.digest is not None and record.observed_digest != awaited.digest:
        return Delay(
            OTHER_DIGEST,
            f"{awaited.path}:{awaited.tag} is on {awaited.site.name} as {record.observed_digest}.",
            f"If {awaited.digest} was pushed later, its event has not come yet: does `geo events` show it?",
            record,
        )
    return _unverified(awaited, record)


def _vain(awaited: Awaited, cause: Cause) -> bool:
    """Whether the cause does not pass by itself. A digest is out of scope until a tag in scope is known for it."""
    if cause is Cause.OUT_OF_SCOPE:
        return awaited.tag is not None or not Scope.of(awaited.site).covers(awaited.path)
    return cause is Cause.RETIRED


def _unverified(awaited: Awaited, record: Reference | None) -> Delay:
    row: Registry | None = Registry.get_or_none(
        (Registry.site == awaited.site)
        & Registry.container_repository.in_(
            ContainerRepository.select(ContainerRepository.id).where(ContainerRepository.path == awaited.path)
        )
    )
    why = f"{awaited} is on {awaited.site.name}, and was not verified there yet."
    if row is not None and row.verification_failure:
        why += f" The last verification of {awaited.path}: {row.verification_failure}"
    under_way = row is not None and row.verification_state == VerificationState.STARTED
    following = "It is being verified." if under_way else "Workers verify it next."
    target = f"{awaited.path}{site_option(awaited.site)}"
    return Delay(UNVERIFIED, why, f"{following} `geo verify {target}` does it now.", record)
