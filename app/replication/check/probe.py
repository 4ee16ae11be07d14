"""A probe: one registry, asked as one account, with little patience and nothing left behind."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

from app.providers import profile_of
from app.registry import (
    Authenticator,
    OwnTokenService,
    RegistryClient,
)
from app.registry.auth import Challenge, Fetch
from app.registry.endpoint import Endpoint
from app.registry.errors import BODY_LIMIT, RegistryError
from app.registry.transport import Transport, read
from app.replication import credentials
from app.replication.check.examination import Examination
from app.replication.log.feed import TOKENS, PrimaryClient
from app.settings import AuthKind, RegistrySettings, SourceSettings

#: What a check may need on a registry; each request asks for its own part.
_ACTIONS = ("pull", "push", "delete")

#: What a check sends as, so that a registry's log tells it from replication.
USER_AGENT = "geo-registry check"

#: A repository name of the checks' own: uploads are begun and broken off there, so that it never comes to be. One and
#: not a new one each time: Distribution 2.8 keeps a hundred bytes of a cancelled upload until it purges old ones.
REPOSITORY = "geo-check/probe"


@dataclass(frozen=True, slots=True)
class Greeting:
    """The answer to `GET /v2/` from nobody in particular."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    challenge: Challenge | None
    #: Seconds that the registry's clock is ahead of ours; None where it does not say.
    ahead: float | None


class Probe:
    """`with Probe(registry, authenticator, examination) as probe:`. Every request raises a `RegistryError`."""

    def __init__(self, registry: RegistrySettings, authenticator: Authenticator, examination: Examination) -> None:
        ca_path = str(registry.ca_path) if registry.ca_path else None
        manners = profile_of(registry)[0].manners
        self._examination = examination
        self._transport = Transport(
            ca_path=ca_path,
            connect_timeout=examination.answer,
            read_timeout=examination.answer,
            user_agent=USER_AGENT,
        )
        self.endpoint = Endpoint(
            registry.url,
            authenticator,
            self._transport,
            actions=_ACTIONS,
            manners=manners,
            token_hosts=registry.token_hosts,
        )
        self.client = RegistryClient(
            registry.url,
            authenticator,
            ca_path=ca_path,
            connect_timeout=examination.answer,
            read_timeout=examination.answer,
            user_agent=USER_AGENT,
            actions=_ACTIONS,
            manners=manners,
            token_hosts=registry.token_hosts,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self._transport.close()

    def greet(self) -> Greeting:
        """Ask `/v2/` without saying who we are; any status is an answer, and no redirect is followed."""
        clock = self._examination.clock
        root = self.endpoint.root
        asked = clock()
        response = self._transport.send("GET", root, headers={}, authorization=None, resend=True)
        middle = (asked + clock()) / 2
        headers = dict(response.headers)
        return Greeting(
            status=response.status_code,
            headers=headers,
            body=read(response, BODY_LIMIT),
            challenge=Challenge.parse(response.headers.get("WWW-Authenticate") or "", root),
            ahead=_ahead(response.headers.get("Date"), middle),
        )

    def token_of(self, challenge: Challenge) -> bytes:
        """What the registry's own token service gives to nobody in particular."""
        joint = "&" if "?" in challenge.realm else "?"
        url = f"{challenge.realm}{joint}{urlencode({'service': challenge.service})}"
        guard = self.endpoint.guard(url, credentials=False)
        response = self._transport.send("GET", url, headers={}, authorization=None, guard=guard)
        return read(response, BODY_LIMIT)

    def accepts(self) -> bool:
        """Whether the registry takes who we are."""
        try:
            self.client.ping()
        except RegistryError:
            return False
        return True


def authenticator(examination: Examination, side: str) -> Authenticator:
    """Who we are to this registry, as replication has it, by the examination's clock.

    Raises:
        InvalidKey: when the key or certificate cannot be used.
    """
    settings, registry = examination.settings, examination.registry(side)
    source = settings.source
    if registry.auth is AuthKind.SITE and source is not None and source.url and source.token is not None:
        realm = source.url.rstrip("/") + TOKENS
        return OwnTokenService(settings.site_name, source.token.value, realm, _deployment(source, examination.answer))
    return credentials.authenticator(registry, examination.clock)


def _deployment(source: SourceSettings, answer: float) -> Fetch:
    """How a token is asked of the primary's deployment; no connection is kept, for nobody would close it."""
    root, token = source.url, source.token
    assert root is not None
    assert token is not None

    def fetch(
        method: str, url: str, *, headers: Mapping[str, str] | None = None, form: Mapping[str, str] | None = None
    ) -> bytes:
        ca_path = str(source.ca_path) if source.ca_path else None
        with closing(PrimaryClient(root, token.value, ca_path=ca_path, read_timeout=answer)) as deployment:
            return deployment.fetch(method, url, headers=headers, form=form)

    return fetch


def _ahead(date: str | None, ours: float) -> float | None:
    try:
        instant = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    theirs = instant.replace(tzinfo=instant.tzinfo or UTC).timestamp()
    # A Date has whole seconds, cut off: half of one is the best guess of the rest.
    return theirs + 0.5 - ours
