"""GitLab's container registry.

Quirks, and where they are known from:

- Tokens from `/jwt/auth` for `container_registry`, to users, deploy tokens and personal access tokens with the scopes
  `read_registry` and `write_registry` (GitLab Docs, "Authenticate with the container registry"). The catalog is the
  administrators'.
- A fork of Distribution, without a referrers API: the same envelope, the secret as the raw value of `Authorization`; a
  manifest that is deleted is told of with each of its tags (GitLab Docs, "Configure container registry notifications").
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from tests.emulators.emulator import Change, Notice, moment
from tests.emulators.tokens import Access, BearerEmulator

#: What a scope of GitLab's lets somebody do.
_SCOPES = {"read_registry": {"pull"}, "write_registry": {"push", "delete"}}


class GitLab(BearerEmulator):
    """`username` is an administrator's only if asked."""

    dialect = "gitlab"
    realm = "/jwt/auth"
    service = "container_registry"

    def __init__(self, *, administrator: bool = False) -> None:
        super().__init__(referrers=False)
        self.administrator = administrator
        self._tokens: dict[str, tuple[str, set[str]]] = {}

    def deploy_token(self, *scopes: str) -> tuple[str, str]:
        """Make a deploy token and return its user and password."""
        name, password = f"gitlab+deploy-token-{len(self._tokens) + 1}", uuid.uuid4().hex
        self._tokens[name] = (password, set().union(*(_SCOPES[scope] for scope in scopes)))
        return name, password

    def knows(self, username: str, password: str) -> bool:
        if username in self._tokens:
            return self._tokens[username][0] == password
        return super().knows(username, password)

    def grant(self, account: str | None, asked: Access) -> tuple[str, ...]:
        if asked.type == "registry" and not self.administrator:
            return ()
        if account in self._tokens:
            return tuple(action for action in asked.actions if action in self._tokens[account][1])
        return super().grant(account, asked)

    def tell(self, change: Change) -> Iterable[Notice]:
        stored, agent = change.stored, change.request.headers.get("User-Agent", "")
        asked = {"id": str(uuid.uuid4()), "host": self.host, "method": change.request.method, "useragent": agent}
        size = {"size": len(stored.data), "length": len(stored.data)}
        url = f"{self.url}/v2/{change.repository}/manifests/{change.digest}"
        targets: list[dict[str, Any]]
        if change.action == "push":
            tag = {"tag": change.tag} if change.tag else {}
            targets = [{"mediaType": stored.media_type, "digest": change.digest, **size, "url": url, **tag}]
        elif change.tag is not None:
            targets = [{"tag": change.tag}]
        else:
            targets = [{"digest": change.digest}, *({"tag": tag} for tag in change.tags)]
        for target in targets:
            event = {
                "id": str(uuid.uuid4()),
                "timestamp": moment(),
                "action": change.action,
                "target": {**target, "repository": change.repository},
                "request": asked,
                "actor": {"name": self.username},
                "source": {"addr": self.host, "instanceID": "f182d542-57ca-4f3a-ba2c-7b723238dfa8"},
            }
            notice = Notice.of({"events": [event]}, Content_Type="application/vnd.docker.distribution.events.v1+json")
            yield notice

    def proof(self, notice: Notice, secret: str) -> Mapping[str, str]:
        return {"Authorization": secret}
