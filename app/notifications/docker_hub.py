"""The dialect of Docker Hub's webhooks: a tag was pushed. Neither its digest nor any deletion is told.

https://docs.docker.com/docker-hub/repos/manage/webhooks/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from app.notifications.delivery import Delivery
from app.notifications.errors import InvalidEvent
from app.notifications.event import RegistryEvent
from app.notifications.identity import key_of_nothing
from app.notifications.notification import Ignored, Notification
from app.notifications.reading import Draft, mapping, read_body, string
from app.notifications.timestamps import epoch


def parse(delivery: Delivery) -> Notification:
    """Read one push.

    `callback_url` is not called: it would let a body choose whom we talk to. Of `repository` the name alone counts;
    stars, descriptions and the address of its page do not.
    """
    return read_body(delivery, _read)


def _read(document: Mapping[str, object]) -> Ignored | Sequence[Draft]:
    pushed, repository = mapping(document, "push_data"), mapping(document, "repository")
    if not pushed or not repository:
        raise InvalidEvent("no_events", "the body is no push to Docker Hub")
    occurred_at = epoch(pushed.get("pushed_at"))
    return [
        partial(
            RegistryEvent,
            # The time is in seconds and there is no digest: two pushes of a tag within one second say the same.
            id=key_of_nothing("docker-hub"),
            action="push",
            repository=_path(repository),
            tag=string(pushed, "tag"),
            occurred_at=occurred_at,
            actor=string(pushed, "pusher"),
        )
    ]


def _path(repository: Mapping[str, object]) -> str:
    """`namespace/name`; the official images are in `library`, though nobody writes so."""
    name = string(repository, "repo_name") or f"{string(repository, 'namespace')}/{string(repository, 'name')}"
    return name if "/" in name else f"library/{name}"
