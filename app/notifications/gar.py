"""The dialect of Google Artifact Registry: messages of the Pub/Sub topic `gcr`, pushed to us.

https://cloud.google.com/artifact-registry/docs/configure-notifications
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from app.notifications.delivery import Delivery
from app.notifications.document import read_json
from app.notifications.errors import InvalidEvent
from app.notifications.event import Action, RegistryEvent
from app.notifications.identity import key_of, key_of_nothing
from app.notifications.notification import Ignored, Notification
from app.notifications.reading import Draft, mapping, read_body, string
from app.notifications.timestamps import moment

_ACTIONS: Final[Mapping[str, Action]] = {"INSERT": "push", "DELETE": "delete"}


class _Name(NamedTuple):
    """`us-docker.pkg.dev/project/repository/image@sha256:…` or `…:tag`, taken apart."""

    host: str
    path: str
    reference: str


def parse(delivery: Delivery) -> Notification:
    """Read one message.

    `attributes` are empty, `subscription` is checked by nobody: who may push is said by the token. `message_id` and
    `publish_time` repeat `messageId` and `publishTime`.
    """
    return read_body(delivery, _read)


def _read(document: Mapping[str, object]) -> Ignored | Sequence[Draft]:
    message = mapping(document, "message")
    if not message:
        raise InvalidEvent("no_events", "the body is no push of Pub/Sub")
    data = _data(string(message, "data"))
    action = _ACTIONS.get(string(data, "action"))
    if action is None:
        raise InvalidEvent("unknown_action", f"not an action known here: {data.get('action')!r:.80}")
    tagged, digested = _name(string(data, "tag"), ":"), _name(string(data, "digest"), "@")
    found = tagged or digested
    if found is None:
        raise InvalidEvent("bad_event", "the message names neither a tag nor a digest")
    if tagged and digested and tagged.path != digested.path:
        raise InvalidEvent("bad_repository", "tag and digest are of different images")
    key = string(message, "messageId") or string(message, "message_id")
    event = partial(
        RegistryEvent,
        action=action,
        repository=found.path,
        occurred_at=moment(message.get("publishTime") or message.get("publish_time")),
        source_addr=found.host,
    )
    # Message ids are Pub/Sub's own, unique within a topic, and each project has one of this name.
    references = {"tag": tagged.reference if tagged else "", "digest": digested.reference if digested else ""}
    if action == "push":
        return [partial(event, id=_key(found, key, "push"), **references)]
    # A deleted image is not told from a removed tag where both are named: both are looked at.
    return [partial(event, id=_key(found, key, kind), **{kind: name}) for kind, name in references.items() if name]


def _data(text: str) -> Mapping[str, object]:
    try:
        data = read_json(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise InvalidEvent("bad_event", "the message's data is not Base64") from None
    if not isinstance(data, dict):
        raise InvalidEvent("bad_event", "the message's data is not a JSON object")
    return data


def _name(text: str, separator: str) -> _Name | None:
    """A name as the message has it; the path of a repository is what stands behind the host."""
    if not text:
        return None
    host, _, rest = text.partition("/")
    path, found, reference = rest.partition("@") if separator == "@" else rest.rpartition(":")
    if not found or not reference:
        raise InvalidEvent("bad_repository", f"not the name of an image: {text!r:.300}")
    return _Name(host, path, reference)


def _key(name: _Name, message: str, kind: str) -> str:
    return key_of("gar", name.path, message, kind) if message else key_of_nothing("gar")
