"""`RegistryEvent`: a change of one repository, as a registry told it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias, get_args

from app.notifications.errors import InvalidEvent
from app.notifications.text import free_text
from app.notifications.timestamps import EARLIEST
from app.registry.references import is_digest, is_repository, is_tag

Action: TypeAlias = Literal["push", "delete"]

_ACTIONS: Final = frozenset(get_args(Action))
_FREE_TEXT: Final = (
    "media_type",
    "request_id",
    "actor",
    "user_agent",
    "source_addr",
    "source_instance_id",
    "correlation_id",
)

#: The longest `id`; a longer one would have to be cut, and two cut ones could be equal.
MAX_EVENT_ID: Final = 255
#: The longest `digest`: no registered algorithm comes near it, and a longer one could not be kept whole.
MAX_DIGEST: Final = 255
#: What PostgreSQL's bigint and SQLite's integer hold.
MAX_SIZE: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryEvent:
    """A hint that a repository changed; the registry itself is asked what is true.

    `id` is the registry's own and the key by which a repeated delivery is recognised. A push has a tag, a
    digest or both. A delete may have neither: the whole repository is to be looked at. `occurred_at` is UTC,
    None where the registry's clock is of no use. Empty strings become None, free text is cut and cleaned
    (`free_text`), and a `size` that no manifest can have becomes None.

    :raises InvalidEvent: for anything else that does not hold.
    """

    id: str
    action: Action
    repository: str
    tag: str | None = None
    digest: str | None = None
    media_type: str | None = None
    occurred_at: datetime | None = None
    size: int | None = None
    request_id: str | None = None
    actor: str | None = None
    user_agent: str | None = None
    source_addr: str | None = None
    source_instance_id: str | None = None
    #: Ours and not the registry's: of the request that brought it to the deployment that hands it on.
    correlation_id: str | None = None

    def __post_init__(self) -> None:
        self._normalise()
        if not self.id or len(self.id) > MAX_EVENT_ID or free_text(self.id) != self.id:
            raise InvalidEvent("bad_event", f"an event's id is 1 to {MAX_EVENT_ID} storable characters")
        if self.action not in _ACTIONS:
            raise InvalidEvent("unknown_action", f"not an action that changes anything: {self.action!r:.80}")
        if not is_repository(self.repository):
            raise InvalidEvent("bad_repository", f"not a repository name: {self.repository!r:.300}")
        if self.tag is not None and not is_tag(self.tag):
            raise InvalidEvent("bad_tag", f"not a tag: {self.tag!r:.200}")
        if self.digest is not None and not (len(self.digest) <= MAX_DIGEST and is_digest(self.digest)):
            raise InvalidEvent("bad_digest", f"not a digest: {self.digest!r:.300}")
        if self.action == "push" and self.tag is None and self.digest is None:
            raise InvalidEvent("bad_event", "a push names neither a tag nor a digest")

    @property
    def reference(self) -> str | None:
        """The tag if there is one, else the digest; None when the whole repository is meant."""
        return self.tag or self.digest

    def _normalise(self) -> None:
        for name in _FREE_TEXT:
            object.__setattr__(self, name, free_text(getattr(self, name)))
        object.__setattr__(self, "tag", self.tag or None)
        object.__setattr__(self, "digest", self.digest or None)
        if self.size is not None and not 0 < self.size <= MAX_SIZE:
            object.__setattr__(self, "size", None)
        if self.occurred_at is not None:
            object.__setattr__(self, "occurred_at", _utc(self.occurred_at))


def _utc(time: datetime) -> datetime | None:
    if time.tzinfo is None:
        raise InvalidEvent("bad_event", "an event's time has no time zone")
    try:
        moved = time.astimezone(UTC)
    except OverflowError:
        return None
    return moved if moved >= EARLIEST else None
