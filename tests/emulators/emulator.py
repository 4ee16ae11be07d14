"""Emulator: a registry in memory that behaves as one vendor's does, and tells of changes as that vendor does."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

import requests

from tests.support.answering import Answer, Request
from tests.support.oci_content import Refused, Stored, is_digest
from tests.support.oci_registry import OciRegistry

#: Seconds that the receiver of a notification has.
TIMEOUT = 10


@dataclass(frozen=True, slots=True)
class Change:
    """Something was pushed or deleted."""

    action: Literal["push", "delete"]
    repository: str
    #: What was named: None where it was a digest.
    tag: str | None
    stored: Stored
    request: Request = field(repr=False)
    #: The digest that the tag stood on before.
    before: str | None = None
    #: The tags that went with a deleted manifest.
    tags: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return self.stored.digest

    @property
    def moved(self) -> bool:
        """Whether the tag stands on something else now."""
        return self.before != self.digest


@dataclass(frozen=True, slots=True)
class Notice:
    """A notification as the vendor makes it, without the proof of who sends it."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Mapping[str, Any], **headers: str) -> Notice:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(json.dumps(document).encode(), {"Content-Type": "application/json", **named})

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Emulator(OciRegistry):
    """`with Zot() as registry: ...`: on a free port, empty; `username` and `password` may do anything.

    `tests.support.wire` pushes to it and pulls from it. `requests` and `count` tell what was asked.
    """

    #: The name of its notifications' dialect; empty where it sends none.
    dialect: ClassVar[str] = ""

    username = "geo"
    password = "correct-horse-battery-staple"

    def __init__(self, **features: Any) -> None:
        super().__init__(**features)
        #: All that it told, or would have told somebody.
        self.notices: list[Notice] = []
        #: What was answered to those that were sent.
        self.delivered: list[int] = []
        #: How many of the next requests are refused for being too many, and what is said of when to come again.
        self.throttled = 0
        self.retry_after = "1"
        self._receiver: str | None = None
        self._secret = ""
        self._unsent: list[Notice] = []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def authorization(self, *scopes: str) -> Mapping[str, str]:
        return {"Authorization": basic(self.username, self.password)}

    def notify(self, url: str, secret: str = "") -> None:
        """Tell this URL of changes from now on, proven by `secret` in the vendor's way.

        Who changes something is answered when the receiver has answered, so that a test need not wait.
        """
        self._receiver = url
        self._secret = secret

    def respond(self, request: Request) -> Answer:
        if self.throttled > 0:
            self.throttled -= 1
            return self.too_many(request)
        self.admit(request)
        return super().respond(request)

    # --- what a vendor does in its own way ----------------------------------------------------------------------------

    def admit(self, request: Request) -> None:
        """Raise `Refused` unless whoever asks may."""
        if credentials(request) != (self.username, self.password):
            raise Refused(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": 'Basic realm="tests"'})

    def too_many(self, request: Request) -> Answer:
        raise Refused(429, "TOOMANYREQUESTS", "too many requests", {"Retry-After": self.retry_after})

    def tell(self, change: Change) -> Iterable[Notice]:
        """What this vendor says of a change."""
        return ()

    def address(self, url: str, secret: str) -> str:
        """Where notifications go, for vendors that can show a secret only there."""
        return url

    def proof(self, notice: Notice, secret: str) -> Mapping[str, str]:
        """The headers that prove who sends a notification."""
        return {"Authorization": f"Bearer {secret}"}

    # --- changes ------------------------------------------------------------------------------------------------------

    def changed(self, change: Change) -> None:
        notices = list(self.tell(change))
        self.notices += notices
        if self._receiver is not None:
            self._unsent += notices

    def _put_manifest(self, request: Request, name: str, reference: str) -> Answer:
        known = self.repositories.get(name)
        before = known.tags.get(reference) if known else None
        answer = super()._put_manifest(request, name, reference)
        stored = self.repositories[name].manifest(reference)
        tag = None if is_digest(reference) else reference
        self.changed(Change("push", name, tag, stored, request, before))
        return answer

    def _delete_manifest(self, request: Request, name: str, reference: str) -> Answer:
        repository = self._known(name)
        stored = repository.manifests.get(repository.tags.get(reference, reference))
        tags = () if stored is None else tuple(tags_of(repository.tags, stored.digest))
        answer = super()._delete_manifest(request, name, reference)
        if stored is not None:
            tag = reference if reference in tags else None
            self.changed(Change("delete", name, tag, stored, request, tags=(tag,) if tag else tags))
        return answer

    def _serve(self, request: Request) -> Answer:
        answer = super()._serve(request)
        # Not while the registry is locked: the receiver may ask it something.
        with self._lock:
            unsent, self._unsent = self._unsent, []
        for notice in unsent:
            self.delivered.append(self._send(notice))
        return answer

    def _send(self, notice: Notice) -> int:
        assert self._receiver is not None
        headers = {**notice.headers, **self.proof(notice, self._secret)}
        with requests.Session() as session:
            session.trust_env = False
            url = self.address(self._receiver, self._secret)
            return session.post(url, data=notice.body, headers=headers, timeout=TIMEOUT).status_code


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def credentials(request: Request) -> tuple[str, str] | None:
    """User and password of a request."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        username, _, password = base64.b64decode(encoded).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return username, password


def tags_of(tags: Mapping[str, str], digest: str) -> Sequence[str]:
    return [tag for tag, each in tags.items() if each == digest]


def parents_of(manifests: Mapping[str, Stored], digest: str) -> Sequence[str]:
    """The indexes that list this manifest."""
    return [
        stored.digest
        for stored in manifests.values()
        if any(entry["digest"] == digest for entry in stored.document.get("manifests") or ())
    ]


def moment() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
