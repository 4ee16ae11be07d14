"""The dialect of Quay's `repo_push` webhooks: tags were pushed. Neither digests nor deletions are told.

https://docs.projectquay.io/use_quay.html#webhook
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from app.notifications.delivery import Delivery
from app.notifications.errors import InvalidEvent
from app.notifications.event import RegistryEvent
from app.notifications.identity import key_of_nothing
from app.notifications.notification import Ignored, Notification
from app.notifications.reading import Draft, read_body, string


def parse(delivery: Delivery) -> Notification:
    """Read one push, an event for each tag.

    A repetition cannot be told from the same tags pushed once more, for there is neither an id nor a time: it counts as
    new, and costs one question. `docker_url` and `homepage` say nothing that `repository` does not. A JSON template of
    the operator may leave fields out and add others.
    """
    return read_body(delivery, _read)


def _read(document: Mapping[str, object]) -> Ignored | Sequence[Draft]:
    if "updated_tags" not in document:
        raise InvalidEvent("no_events", "the body is no push to Quay")
    tags = document["updated_tags"]
    if isinstance(tags, str):
        tags = [tags]
    # Older versions send an object whose keys are the tags.
    if not isinstance(tags, (list, dict)):
        raise InvalidEvent("bad_event", "updated_tags are no list")
    if not tags:
        return Ignored("untagged")
    path = string(document, "repository") or f"{string(document, 'namespace')}/{string(document, 'name')}"
    return [partial(_event, path, tag) for tag in tags]


def _event(path: str, tag: object) -> RegistryEvent:
    if not isinstance(tag, str):
        raise InvalidEvent("bad_tag", "a tag is not a string")
    return RegistryEvent(id=key_of_nothing("quay"), action="push", repository=path, tag=tag)
