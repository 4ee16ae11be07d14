"""Registries that want a bearer token, and the service that gives it: the token specification of Distribution."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import jwt

from tests.emulators.emulator import Emulator, credentials, moment
from tests.support.answering import Answer, Request
from tests.support.oci_content import Refused

_PATH = re.compile(r"/v2/(?P<name>.+?)/(?P<kind>manifests/|blobs/uploads|blobs/|tags/list|referrers/).*")
_ACTIONS = {"GET": ("pull",), "HEAD": ("pull",), "DELETE": ("delete",)}


@dataclass(frozen=True, slots=True)
class Access:
    """`repository:team/app:pull,push`."""

    type: str
    name: str
    actions: tuple[str, ...]

    @classmethod
    def parse(cls, scope: str) -> Self:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        return cls(kind, name, tuple(filter(None, actions.split(","))))

    def __str__(self) -> str:
        return f"{self.type}:{self.name}:{','.join(self.actions)}"


class BearerEmulator(Emulator):
    """Everything but its token service wants a token of that, for what the request needs."""

    #: The path of the token service, and what it calls the registry; empty: its host.
    realm: ClassVar[str] = "/token"
    service: ClassVar[str] = ""
    #: Seconds that a token lives.
    lifetime: ClassVar[int] = 300

    def __init__(self, **features: Any) -> None:
        super().__init__(**features)
        self._key = secrets.token_hex(32)

    def authorization(self, *scopes: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.mint('tests', map(Access.parse, scopes))}"}

    def respond(self, request: Request) -> Answer:
        if request.path == self.realm:
            return self.give(request)
        return super().respond(request)

    def admit(self, request: Request) -> None:
        wanted = self.needs(request)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        claims = self.claims(token) if scheme.lower() == "bearer" else None
        if claims is None:
            raise self.challenge(wanted, "invalid_token" if scheme.lower() == "bearer" else "")
        if not all(self.covers(claims, each) for each in wanted):
            raise self.challenge(wanted, "insufficient_scope")

    def challenge(self, wanted: Iterable[Access], error: str = "") -> Refused:
        fields = {"realm": self.url + self.realm, "service": self.service or self.host}
        fields |= {"scope": " ".join(map(str, wanted)), "error": error}
        header = "Bearer " + ",".join(f'{name}="{value}"' for name, value in fields.items() if value)
        return Refused(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": header})

    def needs(self, request: Request) -> Sequence[Access]:
        """What a request needs, as Distribution has it."""
        if request.path == "/v2/_catalog":
            return [Access("registry", "catalog", ("*",))]
        match = _PATH.fullmatch(request.path)
        if match is None:
            return []
        uploading = match["kind"] == "blobs/uploads"
        actions = ("pull", "push") if uploading else _ACTIONS.get(request.method, ("pull", "push"))
        needed = [Access("repository", match["name"], actions)]
        if "from" in request.query:
            needed.append(Access("repository", request.query["from"], ("pull",)))
        return needed

    def covers(self, claims: Mapping[str, Any], wanted: Access) -> bool:
        held = {
            action
            for access in claims["access"]
            if (access["type"], access["name"]) == (wanted.type, wanted.name)
            for action in access["actions"]
        }
        return "*" in held or held.issuperset(wanted.actions)

    # --- the token service --------------------------------------------------------------------------------------------

    def give(self, request: Request) -> Answer:
        """Answer a request for a token."""
        if request.method != "GET":
            raise Refused(405, "UNSUPPORTED", "only GET is for tokens here")
        account = self.account(request)
        asked = [Access.parse(part) for name, value in request.pairs if name == "scope" for part in value.split()]
        return self.token(account, asked)

    def token(self, account: str | None, asked: Iterable[Access]) -> Answer:
        granted = [Access(each.type, each.name, self.grant(account, each)) for each in asked]
        token = self.mint(account or "", (each for each in granted if each.actions))
        return self.given(token)

    def given(self, token: str) -> Answer:
        document = {"token": token, "access_token": token, "expires_in": self.lifetime, "issued_at": moment()}
        return Answer(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def account(self, request: Request) -> str | None:
        """Who asks for a token; None for nobody in particular. Raises `Refused` for a wrong password."""
        given = credentials(request)
        if given is None:
            return None
        if not self.knows(*given):
            raise Refused(401, "UNAUTHORIZED", "incorrect username or password")
        return given[0]

    def knows(self, username: str, password: str) -> bool:
        return (username, password) == (self.username, self.password)

    def grant(self, account: str | None, asked: Access) -> tuple[str, ...]:
        """The actions that this account may of those asked; fewer are no error."""
        return asked.actions if account is not None else ()

    def mint(self, subject: str, access: Iterable[Access], **claims: Any) -> str:
        now = int(time.time())
        said = [{"type": each.type, "name": each.name, "actions": list(each.actions)} for each in access]
        named = {"sub": subject, "nbf": now - 5, "iat": now, "exp": now + self.lifetime, "access": said}
        return jwt.encode(named | claims, self._key, "HS256")

    def claims(self, token: str) -> Mapping[str, Any] | None:
        """What a token says, None if it is none of ours or has expired."""
        try:
            found: Mapping[str, Any] = jwt.decode(token, self._key, ["HS256"])
        except jwt.PyJWTError:
            return None
        return found if "access" in found else None
