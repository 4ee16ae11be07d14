"""The dialect of Amazon ECR: what EventBridge sends to an API destination, as it is or made a CloudEvent on the way.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html

EventBridge tells as well as it can: an event may be missing, and the reconcile finds what it would have told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from app.notifications import cloud_events
from app.notifications.delivery import Delivery
from app.notifications.errors import InvalidEvent
from app.notifications.event import RegistryEvent
from app.notifications.identity import key_of, key_of_nothing
from app.notifications.notification import Ignored, Notification
from app.notifications.reading import Draft, mapping, read_body, string
from app.notifications.timestamps import moment

#: The one kind of event that tells of images; scans, replications and repository templates change none here.
_IMAGE_ACTION: Final = "ECR Image Action"

#: What the usual input transformer calls the same.
_CLOUD_TYPES: Final = {"com.amazon.ecr.image.push": "PUSH", "com.amazon.ecr.image.delete": "DELETE"}


def parse(delivery: Delivery) -> Notification:
    """Read one event. `version`, the empty `resources` and `artifact-media-type` say nothing that a copy needs."""
    return read_body(delivery, _read)


def _read(document: Mapping[str, object]) -> Ignored | Sequence[Draft]:
    if cloud_events.is_structured(document):
        return _read_cloud_event(document)
    detail = mapping(document, "detail")
    if not detail or "detail-type" not in document:
        raise InvalidEvent("no_events", "the body is no event of EventBridge")
    if document.get("source") != "aws.ecr" or document["detail-type"] != _IMAGE_ACTION:
        return Ignored("other_event")
    # What failed changed nothing.
    if detail.get("result") == "FAILURE":
        return Ignored("failed")
    return _drafts(
        action=string(detail, "action-type"),
        key=string(document, "id"),
        tag=string(detail, "image-tag"),
        digest=string(detail, "image-digest"),
        event=partial(
            RegistryEvent,
            repository=string(detail, "repository-name"),
            media_type=string(detail, "manifest-media-type"),
            occurred_at=moment(document.get("time")),
            source_addr=_host(string(document, "account"), string(document, "region")),
        ),
    )


def _read_cloud_event(document: Mapping[str, object]) -> Ignored | Sequence[Draft]:
    found = cloud_events.structured(document)
    if found.type not in _CLOUD_TYPES:
        return Ignored("other_event")
    # urn:aws:ecr:<region>:<account>:repository/<name>; `subject` repeats the data.
    source = [*found.source.split(":"), "", "", "", ""]
    return _drafts(
        action=_CLOUD_TYPES[found.type],
        key=found.id,
        tag=string(found.data, "imageTag"),
        digest=string(found.data, "imageDigest"),
        event=partial(
            RegistryEvent,
            repository=string(found.data, "repositoryName"),
            occurred_at=found.time,
            source_addr=_host(string(found.data, "registryId"), source[3]),
        ),
    )


def _drafts(*, action: str, key: str, tag: str, digest: str, event: partial[RegistryEvent]) -> Sequence[Draft]:
    """The events that follow. A deleted image is not told from a removed tag: both are looked at."""
    if action == "PUSH":
        return [partial(event, id=_key(key, "push"), action="push", tag=tag, digest=digest)]
    if action != "DELETE":
        raise InvalidEvent("unknown_action", f"not an action known here: {action!r:.80}")
    if not tag and not digest:
        # Without either it would ask for the whole repository's deletion.
        raise InvalidEvent("bad_event", "a delete names neither a tag nor a digest")
    named = [("tag", {"tag": tag}), ("digest", {"digest": digest})]
    return [
        partial(event, id=_key(key, kind), action="delete", **reference) for kind, reference in named if reference[kind]
    ]


def _key(given: str, kind: str) -> str:
    return key_of("ecr", given, kind) if given else key_of_nothing("ecr")


def _host(account: str, region: str) -> str:
    """The registry: an account has one in each region. The domain behind it differs between AWS's partitions."""
    return f"{account}.dkr.ecr.{region}" if account and region else account
