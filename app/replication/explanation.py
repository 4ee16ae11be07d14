"""An explanation: why an image is, or is not, on a site; what the answer is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from app.models import Reference, Site, SyncAttempt


class Cause(StrEnum):
    """Why, for scripts. The gravest that holds: what keeps all else from happening comes before what waits for it."""

    SYNCED = "synced"
    #: Gone from the primary, and from the site.
    DELETED = "deleted"
    #: Gone from the primary, and kept by the policy.
    KEPT = "kept"
    #: On the site, but not from us.
    DRIFT = "drift"
    COPYING = "copying"
    PENDING = "pending"
    FAILED = "failed"
    #: Its deletion waits for a person.
    HELD = "held"
    #: An event names it that nobody has read yet.
    UNREAD = "unread"
    #: No event and no listing named it.
    UNKNOWN = "unknown"
    OUT_OF_SCOPE = "out_of_scope"
    PAUSED = "paused"
    DISABLED = "replication_disabled"
    #: The site is no longer this deployment's.
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer for one site. `why` is whole sentences; `next` says what to do, or what happens by itself."""

    site: str
    repository: str
    #: Tag or digest.
    reference: str
    cause: Cause
    #: Whether the site has, from us, what the primary has, or had last: as far as anybody has looked.
    there: bool
    why: str
    next: str
    #: How many repositories workers take before this one; None where it is not in the queue.
    ahead: int | None = None
    record: Reference | None = None
    history: Sequence[SyncAttempt] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something that keeps a whole site from being worked on."""

    cause: Cause
    why: str
    next: str


def obstacles(site: Site, *, replication_enabled: bool) -> Iterator[Obstacle]:
    """What keeps anything from happening on this site, the gravest first."""
    if site.retired:
        yield Obstacle(
            Cause.RETIRED,
            f"{site.name} is no longer named by this deployment's environment, so nothing happens there.",
            f"To take it up again, set GEO_SITE_NAME={site.name} and its registry's address, and restart.",
        )
    if not replication_enabled:
        yield Obstacle(
            Cause.DISABLED,
            "Replication is switched off: GEO_REGISTRY_REPLICATION_ENABLED is false.",
            "Events are kept; set it to true and restart to copy again.",
        )
    if not site.enabled:
        yield Obstacle(
            Cause.PAUSED,
            f"{site.name} is paused: nothing is copied or deleted there.",
            f"`geo sites resume {site.name}` takes up what has gathered.",
        )
