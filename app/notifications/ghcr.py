"""The dialect of GitHub's webhooks for its container registry: the events `package` and `registry_package`.

https://docs.github.com/webhooks/webhook-events-and-payloads#package

Not told: deletions of any kind; and of a version with several tags all but one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final
from urllib.parse import parse_qs

from app.notifications.delivery import Delivery
from app.notifications.document import read_json
from app.notifications.errors import InvalidEvent
from app.notifications.event import RegistryEvent
from app.notifications.identity import key_of, key_of_nothing
from app.notifications.notification import Ignored, Notification
from app.notifications.reading import Draft, mapping, read_document, string, whole_number
from app.notifications.timestamps import moment

#: The events that tell of packages; the object they tell of has the same name.
_EVENTS: Final = ("registry_package", "package")
_ACTIONS: Final = frozenset({"published", "updated"})


def parse(delivery: Delivery) -> Notification:
    """Read one event, sent as JSON or, as GitHub does where nothing else is chosen, as a form.

    The hook's other events and its `ping` are ignored. Left aside are `repository` (of the source code), the version's
    `id`, `labels`, and the manifest's `config` and `layers`: the registry is asked for those.
    """
    event = delivery.headers.get("x-github-event", "")
    if event and event not in _EVENTS:
        return Notification(ignored={"ping" if event == "ping" else "other_event": 1})
    return read_document(delivery, partial(_document, delivery), partial(_read, delivery))


def _document(delivery: Delivery) -> object:
    kind = (delivery.content_type or "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return read_json(delivery.body)
    try:
        fields = parse_qs(delivery.body.decode("ascii"), max_num_fields=100, errors="strict")
    except ValueError:
        raise InvalidEvent("not_json", "the form cannot be read") from None
    return read_json(fields.get("payload", [""])[0].encode(errors="replace"))


def _read(delivery: Delivery, document: Mapping[str, object]) -> Ignored | Sequence[Draft]:
    package = next((found for name in _EVENTS if (found := mapping(document, name))), None)
    if package is None:
        if "zen" in document and "hook_id" in document:
            return Ignored("ping")
        raise InvalidEvent("no_events", "the body tells of no package")
    version = mapping(package, "package_version")
    container = mapping(version, "container_metadata")
    if not _is_container(package, container, document):
        return Ignored("other_package")
    if string(document, "action") not in _ACTIONS:
        raise InvalidEvent("unknown_action", f"not an action known here: {document.get('action')!r:.80}")
    tag, manifest = mapping(container, "tag"), mapping(container, "manifest")
    delivered = delivery.headers.get("x-github-delivery", "")
    return [
        partial(
            RegistryEvent,
            id=key_of("ghcr", delivered) if delivered else key_of_nothing("ghcr"),
            action="push",
            repository=_path(package),
            # Empty for the children of an index, each of which is told of.
            tag=string(tag, "name"),
            # container_metadata may be null; the version of a container is named by its digest.
            digest=string(tag, "digest") or string(manifest, "digest") or _digest(version),
            media_type=string(manifest, "media_type"),
            occurred_at=moment(version.get("updated_at")) or moment(package.get("updated_at")),
            size=whole_number(manifest, "size"),
            actor=string(mapping(document, "sender"), "login"),
            source_addr=string(version, "package_url").partition("/")[0],
        )
    ]


def _is_container(
    package: Mapping[str, object], container: Mapping[str, object], document: Mapping[str, object]
) -> bool:
    """Whether it is an image. The type is written in either case, and not in one place alone."""
    registry = mapping(document, "registry") or mapping(package, "registry")
    said = {string(package, "package_type").lower(), string(package, "ecosystem").lower()}
    return bool(container) or "container" in said | {string(registry, "type").lower()}


def _path(package: Mapping[str, object]) -> str:
    """`owner/name` in lower case: GitHub's names may have capitals, those of repositories may not."""
    owner = string(package, "namespace") or string(mapping(package, "owner"), "login")
    return f"{owner}/{string(package, 'name')}".lower()


def _digest(version: Mapping[str, object]) -> str:
    named = (string(version, "version"), string(version, "name"))
    return next((name for name in named if ":" in name), "")
