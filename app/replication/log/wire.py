"""What the feed says, as JSON: one place for both ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from app import correlation
from app.models import ContainerRepository, Event
from app.notifications.errors import InvalidEvent
from app.notifications.event import RegistryEvent
from app.replication.log import Reading, Reset, Terms
from app.settings import MAX_CAPACITY, Deletion, VerificationLevel

Choice = TypeVar("Choice", bound=StrEnum)

#: What the column of an id holds.
LARGEST_ID = 2**63 - 1

#: An event's fields that are told as they stand.
_FIELDS = ("action", "tag", "digest", "media_type", "actor", "user_agent", "source_instance_id")


class Unreadable(ValueError):
    """An answer that is not what the feed says."""


def dump(reading: Reading) -> dict[str, Any]:
    """The answer as a JSON object."""
    answer: dict[str, Any] = {
        "position": reading.position,
        "last_event_id": reading.last_event_id,
        "newest_event_id": reading.newest_event_id,
        "retry_after": reading.retry_after,
        "events": [_event(event) for event in reading.events],
    }
    if reading.terms is not None:
        terms = reading.terms
        answer["site"] = {
            "name": terms.name,
            "repositories": list(terms.repositories),
            "tags": list(terms.tags),
            "capacity": terms.capacity,
            "deletion": terms.deletion,
            "protected_tags": list(terms.protected_tags),
            "verification": terms.verification,
            "paused": terms.paused,
        }
        answer["reconcile"] = {"requested_at": terms.reconcile, "reason": terms.reconcile_reason}
    if reading.reset is not None:
        answer["reset"] = {"reason": reading.reset.reason, "message": reading.reset.message}
    return answer


def load(answer: Mapping[str, Any]) -> Reading:
    """The reading that the answer tells of. What an older version does not know in it is passed over.

    Raises:
        Unreadable: when it is none.
    """
    try:
        site, asked, reset = answer["site"], answer["reconcile"], answer.get("reset")
        return Reading(
            events=[_load_event(event) for event in answer["events"]],
            position=_text(answer["position"]),
            last_event_id=_id(answer["last_event_id"]),
            newest_event_id=_id(answer["newest_event_id"]),
            terms=Terms(
                name=_text(site["name"]),
                repositories=tuple(_text(pattern) for pattern in site["repositories"]),
                tags=tuple(_text(pattern) for pattern in site.get("tags", [])),
                paused=bool(site["paused"]),
                reconcile=_optional(asked["requested_at"]),
                reconcile_reason=_optional(asked["reason"]),
                capacity=_capacity(site.get("capacity")),
                deletion=_one_of(Deletion, site.get("deletion")),
                protected_tags=tuple(_line(pattern) for pattern in site.get("protected_tags", [])),
                verification=_one_of(VerificationLevel, site.get("verification")),
            ),
            reset=Reset(_text(reset["reason"]), _text(reset["message"])) if reset else None,
            retry_after=max(0.0, min(float(answer["retry_after"]), 60.0)),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        said = f"{type(error).__name__} {error}"[:200]
        raise Unreadable(f"the primary's feed answered what is no reading: {said}") from error


def as_registry_events(events: Sequence[Event]) -> tuple[list[RegistryEvent], list[str]]:
    """The events as they once came, and what is wrong with those that are none (of a newer version, say)."""
    good: list[RegistryEvent] = []
    bad: list[str] = []
    for event in events:
        try:
            good.append(
                RegistryEvent(
                    id=event.event_key,
                    repository=event.container_repository.path,
                    occurred_at=event.occurred_at,
                    correlation_id=correlation.accepted(event.correlation_id),
                    **{name: getattr(event, name) for name in _FIELDS},
                )
            )
        except InvalidEvent as error:
            bad.append(f"event {event.id}: {error}")
    return good, bad


def _event(event: Event) -> dict[str, Any]:
    told = {"id": event.id, "key": event.event_key, "repository": event.container_repository.path}
    told |= {"occurred_at": event.occurred_at.isoformat(), "correlation_id": event.correlation_id}
    return told | {name: getattr(event, name) for name in _FIELDS}


def _load_event(told: Mapping[str, Any]) -> Event:
    occurred_at = datetime.fromisoformat(told["occurred_at"])
    if occurred_at.tzinfo is None:
        raise Unreadable("an event's time has no time zone")
    return Event(
        id=_id(told["id"]),
        event_key=_text(told["key"]),
        container_repository=ContainerRepository(path=_text(told["repository"])),
        occurred_at=occurred_at,
        # A primary of before told none.
        correlation_id=_optional(told.get("correlation_id")),
        **{name: _optional(told[name]) for name in _FIELDS},
    )


def _id(value: object) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST_ID:
        raise Unreadable(f"{value!r:.80} is no id")
    return value


def _capacity(value: object) -> int | None:
    if value is not None and (type(value) is not int or not 1 <= value <= MAX_CAPACITY):
        raise Unreadable(f"{value!r:.80} is no capacity")
    return value


def _one_of(kind: type[Choice], value: object) -> Choice | None:
    """A policy that this version does not know must not be passed over: it may be more careful than all it knows."""
    try:
        return None if value is None else kind(_text(value))
    except ValueError as error:
        raise Unreadable(f"{value!r:.80} is none of {', '.join(kind)}") from error


def _line(value: object) -> str:
    if len(_text(value).splitlines()) != 1:
        raise Unreadable(f"{value!r:.80} is not a pattern")
    return _text(value)


def _optional(value: object) -> str | None:
    return None if value is None else _text(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Unreadable(f"{value!r:.80} is not a text")
    return value
