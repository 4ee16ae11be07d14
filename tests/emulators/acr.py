"""Azure Container Registry.

Quirks, and where they are known from:

- An Entra token is exchanged at `/oauth2/exchange` for a refresh token, and that at `/oauth2/token` for access tokens;
  the answer is `access_token` alone, and only the token says when it expires (Azure/acr, docs/AAD-OAuth.md). A refresh
  token is also the password of the null GUID, at GET of the same address; so are those of the admin user, of service
  principals and of repository-scoped tokens.
- To a repository-scoped token, listing tags is `metadata_read`, which its `pull` does not hold (goharbor/harbor).
- The body of one request has 20 MB at most, else 413; a chunk must say its Content-Length (goharbor/harbor 23015,
  23016).
- Links of listings carry `orderby` (Azure SDK).
- Manifests are deleted by digest; tags alone by `/acr/v1/<name>/_tags/<tag>` (ACR's REST API).
- 429 with Retry-After, by the SKU's limits.
- Webhooks send a bare event, not an envelope; none for a tag that is removed (Microsoft Learn, "Azure Container
  Registry webhook schema").
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from tests.emulators.emulator import Change, Notice, moment
from tests.emulators.tokens import Access, BearerEmulator
from tests.support.answering import Answer, Request
from tests.support.oci_content import Refused

#: The user whose password is a refresh token.
NULL_GUID = "00000000-0000-0000-0000-000000000000"

#: Bytes that the body of one request may have.
BODY_LIMIT = 20 * 1024 * 1024

#: Seconds that a refresh token lives.
_REFRESH_LIFETIME = 3 * 3600

_UNTAG = re.compile(r"/acr/v1/(.+)/_tags/([^/]+)")
_TAGS = re.compile(r"/v2/(.+)/tags/list")


class Acr(BearerEmulator):
    """`username` and `password` are the admin user's; `principals` may do the same."""

    dialect = "acr"
    realm = "/oauth2/token"
    lifetime = 75 * 60

    #: A token of Entra ID for this registry, and the tenant that gave it.
    entra_token = "entra.token.of-the-tests"
    tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47"

    def __init__(self) -> None:
        super().__init__(tag_delete=False)
        #: Service principals, by their application's id: their secrets.
        self.principals: dict[str, str] = {}
        self._scoped: dict[str, tuple[str, Mapping[str, Sequence[str]]]] = {}

    def scoped_token(self, name: str, **repositories: Sequence[str]) -> str:
        """Make a repository-scoped token and return its password; `pull`, `push`, `delete`, `metadata_read`."""
        password = uuid.uuid4().hex
        self._scoped[name] = (password, repositories)
        return password

    def respond(self, request: Request) -> Answer:
        if request.path == "/oauth2/exchange" and request.method == "POST":
            return self._exchange(request)
        untag = _UNTAG.fullmatch(request.path)
        if untag is not None and request.method == "DELETE":
            self.admit(request)
            repository = self._known(untag[1])
            if untag[2] not in repository.tags:
                raise Refused(404, "TAG_UNKNOWN", f"the tag {untag[2]} is not known to the registry")
            del repository.tags[untag[2]]
            return Answer(202)
        return super().respond(request)

    def ping(self) -> Notice:
        """What a new webhook is tried with."""
        return Notice.of({"id": str(uuid.uuid4()), "timestamp": moment(), "action": "ping"})

    # --- tokens -------------------------------------------------------------------------------------------------------

    def _exchange(self, request: Request) -> Answer:
        form = dict(parse_qsl(request.body.decode()))
        if form.get("grant_type") != "access_token" or form.get("service") != self.host:
            raise Refused(400, "UNAUTHORIZED", "grant_type and service do not fit")
        if form.get("access_token") != self.entra_token or form.get("tenant", self.tenant) != self.tenant:
            raise Refused(401, "UNAUTHORIZED", "the token of Entra ID is not good here")
        return self._answered("refresh_token", self._refresh_token())

    def _refresh_token(self) -> str:
        # Without `access`: it opens no repository.
        return self.mint("entra", (), grant_type="refresh_token", exp=int(time.time()) + _REFRESH_LIFETIME)

    def give(self, request: Request) -> Answer:
        if request.method != "POST":
            return super().give(request)
        form = parse_qsl(request.body.decode())
        fields = dict(form)
        if fields.get("grant_type") != "refresh_token" or not self._is_refresh(fields.get("refresh_token", "")):
            raise Refused(401, "UNAUTHORIZED", "the refresh token is not good")
        asked = [Access.parse(part) for name, value in form if name == "scope" for part in value.split()]
        return self.token("entra", asked)

    def given(self, token: str) -> Answer:
        return self._answered("access_token", token)

    def knows(self, username: str, password: str) -> bool:
        if username == NULL_GUID:
            return self._is_refresh(password)
        if username in self._scoped:
            return self._scoped[username][0] == password
        return super().knows(username, password) or (username, password) in self.principals.items()

    def grant(self, account: str | None, asked: Access) -> tuple[str, ...]:
        if account not in self._scoped:
            return super().grant(account, asked)
        held = self._scoped[account][1].get(asked.name, ())
        return tuple(action for action in asked.actions if action in held)

    def mint(self, subject: str, access: Iterable[Access], **claims: Any) -> str:
        return super().mint(subject, access, **({"grant_type": "access_token"} | claims))

    def claims(self, token: str) -> Mapping[str, Any] | None:
        found = super().claims(token)
        return found if found is None or found["grant_type"] == "access_token" else None

    def needs(self, request: Request) -> Sequence[Access]:
        tags, untag = _TAGS.fullmatch(request.path), _UNTAG.fullmatch(request.path)
        if untag is not None:
            return [Access("repository", untag[1], ("delete",))]
        return [Access("repository", tags[1], ("metadata_read",))] if tags else super().needs(request)

    def covers(self, claims: Mapping[str, Any], wanted: Access) -> bool:
        if wanted.actions == ("metadata_read",) and claims["sub"] not in self._scoped:
            pulling = Access("repository", wanted.name, ("pull",))
            return super().covers(claims, wanted) or super().covers(claims, pulling)
        return super().covers(claims, wanted)

    def _is_refresh(self, token: str) -> bool:
        found = super().claims(token)
        return found is not None and found["grant_type"] == "refresh_token"

    @staticmethod
    def _answered(name: str, token: str) -> Answer:
        return Answer(200, json.dumps({name: token}).encode(), {"Content-Type": "application/json; charset=utf-8"})

    # --- content ------------------------------------------------------------------------------------------------------

    def _append(self, request: Request, name: str, session: str) -> Answer:
        if "Content-Range" in request.headers:
            if "Content-Length" not in request.headers:
                raise Refused(400, "CONTENT_LENGTH_INVALID", "the content length is invalid")
            if len(request.body) > BODY_LIMIT:
                return _too_large()
        return super()._append(request, name, session)

    def _commit(self, request: Request, name: str, session: str) -> Answer:
        if len(request.body) > BODY_LIMIT:
            return _too_large()
        return super()._commit(request, name, session)

    def _next(self, request: Request, **changed: str) -> str:
        return super()._next(request, **changed, orderby="")

    def tell(self, change: Change) -> Iterable[Notice]:
        if change.action == "delete" and change.tag is not None:
            return
        target: dict[str, Any] = {"mediaType": change.stored.media_type, "digest": change.digest}
        target["repository"] = change.repository
        if change.action == "push":
            size = len(change.stored.data)
            target |= {"size": size, "length": size, **({"tag": change.tag} if change.tag else {})}
        agent = change.request.headers.get("User-Agent", "")
        said = {"id": str(uuid.uuid4()), "host": self.host, "method": change.request.method, "useragent": agent}
        event = {"id": str(uuid.uuid4()), "timestamp": moment(), "action": change.action}
        yield Notice.of({**event, "target": target, "request": said})


def _too_large() -> Answer:
    page = b"<html><body>413 Request Entity Too Large - AzureContainerRegistry</body></html>"
    return Answer(413, page, {"Content-Type": "text/html"})
