"""Endpoint: one registry as who we are there: its URL, our authenticator, and the answer to 401."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlencode, urlsplit

import requests

from app.registry.answers import FORM, from_response
from app.registry.auth import Authenticator, Challenge, Fetch, Scope
from app.registry.connections import Answer, Deadline
from app.registry.errors import (
    BODY_LIMIT,
    ActionNotAllowed,
    InvalidResponse,
    RateLimited,
    RegistryError,
    TooManyRequests,
)
from app.registry.limits import Limiter, Meter, NoLimit, Permit
from app.registry.manners import Manners
from app.registry.realms import Guard, Realms
from app.registry.token_service import Account
from app.registry.transport import Body, Redirects, Transport, discard, join, origin, read

#: Characters of a challenge: the patterns that read it try every place of a longer one again and again.
CHALLENGE_LIMIT = 8192

#: Told of every operation: its name, "ok" or the error's reason, and its seconds.
Observer = Callable[[str, str, float], None]


class Endpoint:
    """One registry and our credentials there. Shared by threads.

    `url` is the registry's root (`/v2` may be part of it). `actions` is the most that is ever asked for. `limiter`
    permits every exchange, `meter` is told of the bytes of blobs in both directions. `manners` are the registry's.
    `token_hosts` may be its token service wherever they are (app.registry.realms).
    """

    def __init__(
        self,
        url: str,
        authenticator: Authenticator,
        transport: Transport,
        *,
        actions: tuple[str, ...],
        observe: Observer | None = None,
        limiter: Limiter | None = None,
        meter: Meter | None = None,
        manners: Manners | None = None,
        token_hosts: Iterable[str] = (),
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError("a registry's URL is http(s)://host[:port], without user and password")
        path = parts.path.rstrip("/").removesuffix("/v2")
        self.name = parts.netloc
        self.root = f"{parts.scheme}://{parts.netloc}{path}/v2/"
        self._origin = origin(self.root)
        self._authenticator = authenticator
        self._transport = transport
        self._realms = Realms(self.root, token_hosts)
        self.manners = manners or Manners()
        self._actions = actions
        #: What a challenge may name; registries say `*` for what we call deleting.
        self._may_be_named = {*actions, *self.manners.actions(*actions), *(["*"] if "delete" in actions else [])}
        self._observe = observe
        self.limiter: Limiter = limiter or NoLimit()
        self.meter = meter
        #: Bytes of the smallest blob that was refused in one request.
        self._refused: int | None = None

    @contextmanager
    def observed(self, operation: str) -> Iterator[None]:
        """Tell the observer how this operation went."""
        started, outcome = time.monotonic(), "error"
        try:
            yield
            outcome = "ok"
        except RegistryError as error:
            outcome = error.reason
            raise
        except GeneratorExit:
            outcome = "ok"  # who lists has seen enough
            raise
        finally:
            if self._observe is not None:
                self._observe(operation, outcome, time.monotonic() - started)

    def scope(self, repository: str, *actions: str, mount_from: str | None = None) -> Scope:
        """Return the scope of a request; raises `ActionNotAllowed` for what this client must not ask."""
        for action in actions:
            if action not in self._actions:
                raise ActionNotAllowed(f"this client of {self.name} was not made to {action}")
        return Scope(repository, self.manners.actions(*actions), mount_from)

    def catalog_scope(self) -> Scope:
        """Return the scope of listing repositories."""
        return Scope.catalog() if self.manners.catalog_scope else Scope()

    def in_chunks(self, size: int | None) -> bool:
        """Tell whether a blob of this size is sent in chunks."""
        return self.manners.in_chunks(size, self._refused)

    def refused(self, size: int | None) -> None:
        """Note that a blob of this size was refused in one request."""
        if size is not None:
            self._refused = size if self._refused is None else min(size, self._refused)

    def allows(self, action: str) -> bool:
        """Tell whether this client may ask for the action."""
        return action in self._actions

    def url(self, path: str) -> str:
        """Return the URL of a path below `/v2/`."""
        return self.root + path

    def resolve(self, base: str, location: str) -> str:
        """Return the absolute URL of a `Location` (or link), its query as it stands.

        A registry behind a proxy that ends TLS often calls itself http; of our own https registry this is read as
        https, so that nothing goes there in the clear.
        Raises `InvalidResponse` where an https registry leads to plain http elsewhere: a blob would go there in the
        clear.
        """
        target = join(base, location)
        scheme, host, port = origin(target)
        ours = self._origin
        if (scheme, host) == ("http", ours[1]) and ours[0] == "https" and port in (80, ours[2]):
            return urlsplit(target)._replace(scheme="https", netloc=self.name).geturl()
        if (ours[0], scheme) == ("https", "http"):
            raise InvalidResponse("sent on from https to plain http", reason="redirect", url=target)
        return target

    def is_own(self, url: str) -> bool:
        """Tell whether this URL is at the registry itself: scheme, host and port."""
        return origin(url) == self._origin

    def guard(self, url: str, *, credentials: bool) -> Guard | None:
        """What judges the address of a token service at this URL (app.registry.realms), None for the registry's own.

        Raises `InvalidResponse` where nothing may be sent whatever its address.
        """
        return None if self.is_own(url) else self._realms.guard(url, credentials=credentials)

    def call(
        self,
        method: str,
        url: str,
        scope: Scope,
        *,
        expect: tuple[int, ...] = (200,),
        headers: Mapping[str, str] | None = None,
        body: bytes | Body | None = None,
        redirects: Redirects = Redirects.REFUSE,
        resend: bool = False,
        deadline: Deadline | None = None,
        patience: float = 0.0,
        size: int | None = 0,
    ) -> requests.Response:
        """Send a request and return its response, body unread, if its status is expected.

        A 401 is answered once with a renewed token, now and then a 403 with a renewed credential (a streamed body
        cannot be sent twice: there it is renewed for the next try). Raises the error that `from_response` builds for
        any other status, and what the limiter raises. `size` is how many bytes of a blob the exchange carries, None if
        that is not known; its permit is given back when the response is closed. Where the limiter says so, a request
        that was answered with 429 is sent again once it permits it.
        """
        resends = 0 if isinstance(body, Body) else self.limiter.resends
        refusal: RegistryError | None = None
        waited = 0.0
        while True:
            try:
                permit = self.limiter.enter(size, deadline, waited)
            except RateLimited as error:
                raise refusal or error from None
            waited = permit.waited
            try:
                response = self._exchange(
                    method,
                    url,
                    scope,
                    permit,
                    headers=headers or {},
                    body=body,
                    redirects=redirects,
                    resend=resend,
                    deadline=deadline,
                    patience=patience,
                )
                response.on_close(permit.release)
            except BaseException:
                permit.release()
                raise
            if response.status_code in expect:
                return response
            refusal = from_response(response, own=self.is_own(response.url))
            throttled = isinstance(refusal, TooManyRequests)
            if throttled and response.status_code != 429:
                permit.answered(429, response.headers)
            if not throttled or resends <= 0:
                raise refusal
            resends -= 1

    def _exchange(
        self,
        method: str,
        url: str,
        scope: Scope,
        permit: Permit,
        *,
        headers: Mapping[str, str],
        body: bytes | Body | None,
        redirects: Redirects,
        resend: bool,
        deadline: Deadline | None,
        patience: float,
    ) -> Answer:
        fetch = self._fetch(permit, deadline)
        # Whatever host an upload's Location names: only the registry itself is told who we are.
        known = self.is_own(url)
        authorization = self._authenticator.authorization(scope, fetch) if known else None

        def send(authorization: str | None) -> Answer:
            response = self._transport.send(
                method,
                url,
                headers=headers,
                authorization=authorization,
                body=body,
                redirects=redirects,
                resend=resend,
                deadline=deadline,
                patience=patience,
                guard=self._realms.met if known else self._realms.elsewhere(url),
                elsewhere=self._realms.elsewhere,
            )
            try:
                permit.answered(response.status_code, response.headers)
            except BaseException:
                response.close()
                raise
            return response

        response = send(authorization)
        if response.status_code in (401, 403) and known and self.is_own(response.url):
            if response.status_code == 401:
                renewed = self._renewed(response, scope, authorization, fetch, deadline)
            else:
                renewed = self._after_denial(authorization, fetch)
            if renewed is not None and not isinstance(body, Body):
                discard(response)
                response = send(renewed)
        return response

    def _renewed(
        self,
        response: requests.Response,
        scope: Scope,
        rejected: str | None,
        fetch: Fetch,
        deadline: Deadline | None,
    ) -> str | None:
        header = response.headers.get("WWW-Authenticate") or self._root_challenge(deadline)
        if len(header) > CHALLENGE_LIMIT:
            return None
        challenge = Challenge.parse(header, self.root)
        if challenge is None:
            return None
        try:
            return self._authenticator.renew(scope, challenge.within(scope, self._may_be_named), rejected, fetch)
        except RegistryError:
            response.close()
            raise

    def _after_denial(self, rejected: str | None, fetch: Fetch) -> str | None:
        if not isinstance(self._authenticator, Account):
            return None
        try:
            return self._authenticator.denied(rejected, fetch)
        except RegistryError:
            # The refusal says more than that nothing else is to be had just now.
            return None

    def _root_challenge(self, deadline: Deadline | None) -> str:
        # Some registries answer 401 without a challenge anywhere but at the root.
        response = self._transport.send(
            "GET", self.root, headers={}, authorization=None, resend=True, deadline=deadline
        )
        discard(response)
        return response.headers.get("WWW-Authenticate") or ""

    def _fetch(self, permit: Permit, deadline: Deadline | None) -> Fetch:
        def fetch(
            method: str,
            url: str,
            *,
            headers: Mapping[str, str] | None = None,
            form: Mapping[str, str] | None = None,
        ) -> bytes:
            sent = dict(headers or {})
            authorization = sent.pop("Authorization", None)
            body = None
            if form is not None:
                sent["Content-Type"] = FORM
                body = urlencode(form).encode()
            known = authorization is not None or form is not None
            response = self._transport.send(
                method,
                url,
                headers=sent,
                authorization=authorization,
                body=body,
                deadline=deadline,
                resend=True,
                guard=self.guard(url, credentials=known),
            )
            if response.status_code != 200:
                try:
                    permit.answered(response.status_code, response.headers)
                except BaseException:
                    response.close()
                    raise
                raise from_response(response)
            return read(response, BODY_LIMIT, deadline=deadline)

        return fetch

    def invalid(self, response: requests.Response, message: str, *, reason: str | None = None) -> InvalidResponse:
        """Build the error for an answer that is not what it should be, and close the response."""
        response.close()
        return InvalidResponse(
            message,
            reason=reason,
            status=response.status_code,
            method=response.request.method,
            url=response.url,
        )
