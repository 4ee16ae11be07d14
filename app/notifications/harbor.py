"""The dialect of Harbor's webhooks, in its default format and as CloudEvents.

https://goharbor.io/docs/main/working-with-projects/project-configuration/configure-webhooks/

Not told: that a tag was removed; only that an artifact was, with all of its tags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from app.notifications import cloud_events
from app.notifications.delivery import Delivery
from app.notifications.errors import InvalidEvent
from app.notifications.event import Action, RegistryEvent
from app.notifications.identity import key_of, key_of_content, key_of_nothing
from app.notifications.notification import Ignored, Notification
from app.notifications.reading import Draft, mapping, read_body, string
from app.notifications.timestamps import epoch

_ACTIONS: Final[Mapping[str, Action]] = {
    "PUSH_ARTIFACT": "push",
    "DELETE_ARTIFACT": "delete",
    "harbor.artifact.pushed": "push",
    "harbor.artifact.deleted": "delete",
}
_PULLS: Final = frozenset({"PULL_ARTIFACT", "harbor.artifact.pulled"})
#: What happens around images. What a retention removed is found by the reconcile: it names tags without repositories.
_OTHER: Final = frozenset(
    {
        *("SCANNING_FAILED", "SCANNING_COMPLETED", "SCANNING_STOPPED", "QUOTA_EXCEED", "QUOTA_WARNING"),
        *("REPLICATION", "TAG_RETENTION", "UPLOAD_CHART", "DOWNLOAD_CHART", "DELETE_CHART"),
    }
)


@dataclass(frozen=True, slots=True)
class _Occurrence:
    """What both formats say."""

    type: str
    key: str
    at: datetime | None
    operator: str
    data: Mapping[str, object]


def parse(delivery: Delivery) -> Notification:
    """Read one occurrence, an event for each artifact. Of `repository` its full name counts alone: it is the path."""
    return read_body(delivery, _read)


def _read(document: Mapping[str, object]) -> Ignored | Sequence[Draft]:
    found = _occurrence(document)
    if not found.type:
        raise InvalidEvent("no_events", "the body is no occurrence of Harbor's")
    if found.type in _PULLS:
        return Ignored("pull")
    action = _ACTIONS.get(found.type)
    if action is None:
        # Harbor's CloudEvents all begin so; of scans, quotas and replications.
        if found.type in _OTHER or found.type.startswith("harbor."):
            return Ignored("other_event")
        raise InvalidEvent("unknown_action", f"not a type known here: {found.type!r:.80}")
    resources = found.data.get("resources")
    if not isinstance(resources, list) or not resources:
        raise InvalidEvent("bad_event", "the occurrence has no resources")
    path = _path(mapping(found.data, "repository"))
    return [partial(_event, found, action, path, number, each) for number, each in enumerate(resources)]


def _occurrence(document: Mapping[str, object]) -> _Occurrence:
    if cloud_events.is_structured(document):
        event = cloud_events.structured(document)
        key = key_of("harbor", event.id) if event.id else key_of_nothing("harbor")
        # `source` is the policy's path and `requestid` Harbor's own; both say nothing of the image.
        return _Occurrence(event.type, key, event.time, string(event.attributes, "operator"), event.data)
    at = epoch(document.get("occur_at"))
    key = key_of_content("harbor", document) if at else key_of_nothing("harbor")
    return _Occurrence(string(document, "type"), key, at, string(document, "operator"), mapping(document, "event_data"))


def _path(repository: Mapping[str, object]) -> str:
    """The project and what is behind it, as the distribution API has them."""
    return string(repository, "repo_full_name") or f"{string(repository, 'namespace')}/{string(repository, 'name')}"


def _event(found: _Occurrence, action: Action, path: str, number: int, resource: object) -> RegistryEvent:
    if not isinstance(resource, dict):
        raise InvalidEvent("bad_event", "a resource is a JSON object")
    tag, digest = string(resource, "tag"), string(resource, "digest")
    # Of what has no tag Harbor says the digest in its place.
    if ":" in tag:
        tag, digest = "", digest or tag
    if action == "delete":
        if not digest:
            # Without it the whole repository would be meant.
            raise InvalidEvent("bad_digest", "a deleted artifact has no digest")
        # Only the first of its tags is named: by the digest all of them are looked at.
        tag = ""
    return RegistryEvent(
        id=key_of(found.key, number),
        action=action,
        repository=path,
        tag=tag,
        digest=digest,
        occurred_at=found.at,
        actor=found.operator,
        source_addr=string(resource, "resource_url").partition("/")[0],
    )
