"""Docker Hub.

Quirks, and where they are known from:

- Tokens from `/token` for the service `registry.docker.io`. No catalog; no referrers API (docker/roadmap 724).
- Each GET of a manifest counts against the rate limit, HEAD does not; `ratelimit-limit` and `ratelimit-remaining` say
  where one stands. Above it 429 with words; 429 without any is the limit against abuse (Docker Docs, "Pull usage and
  limits").
- DELETE by digest alone, of what no tag and no index names; else 403 (Docker Docs, "Registry API").
- Webhooks of pushes of tags alone, without digest and without proof but their address (Docker Docs, "Webhooks").
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from tests.emulators.emulator import Change, Notice, parents_of, tags_of
from tests.emulators.tokens import BearerEmulator
from tests.support.answering import Answer, Request
from tests.support.oci_content import Refused, is_digest

#: Seconds over which pulls are counted.
WINDOW = 21600


class DockerHub(BearerEmulator):
    """`pulls` is how many manifests may still be pulled."""

    dialect = "docker-hub"
    service = "registry.docker.io"

    def __init__(self, *, limit: int = 100, **features: Any) -> None:
        super().__init__(catalog=False, referrers=False, **features)
        self.limit = limit
        self.pulls = limit

    def too_many(self, request: Request) -> Answer:
        return Answer(429, b"Too Many Requests\n", {"Content-Type": "text/plain", "Retry-After": self.retry_after})

    def _get_manifest(self, request: Request, name: str, reference: str) -> Answer:
        if request.method == "GET":
            if self.pulls <= 0:
                message = (
                    "You have reached your pull rate limit. You may increase the limit by authenticating and upgrading:"
                    " https://www.docker.com/increase-rate-limit"
                )
                raise Refused(429, "TOOMANYREQUESTS", message, {"Retry-After": self.retry_after, **self._rates()})
            self.pulls -= 1
        answer = super()._get_manifest(request, name, reference)
        return replace(answer, headers={**answer.headers, **self._rates()})

    def _rates(self) -> Mapping[str, str]:
        return {
            "ratelimit-limit": f"{self.limit};w={WINDOW}",
            "ratelimit-remaining": f"{self.pulls};w={WINDOW}",
            "docker-ratelimit-source": str(uuid.UUID(int=0)),
        }

    def _delete_manifest(self, request: Request, name: str, reference: str) -> Answer:
        repository = self._known(name)
        if not is_digest(reference):
            raise Refused(405, "UNSUPPORTED", "The operation is unsupported.")
        if tags_of(repository.tags, reference) or parents_of(repository.manifests, reference):
            raise Refused(403, "DENIED", "the manifest is tagged or referenced")
        return super()._delete_manifest(request, name, reference)

    def tell(self, change: Change) -> Iterable[Notice]:
        if change.action != "push" or change.tag is None:
            return
        namespace, _, name = change.repository.rpartition("/")
        page = f"https://hub.docker.com/r/{change.repository}"
        yield Notice.of(
            {
                "callback_url": f"https://registry.hub.docker.com/u/{change.repository}/hook/{uuid.uuid4().hex}/",
                "push_data": {"pushed_at": int(time.time()), "pusher": self.username, "tag": change.tag},
                "repository": {"repo_name": change.repository, "namespace": namespace, "name": name, "repo_url": page},
            }
        )

    def address(self, url: str, secret: str) -> str:
        return f"{url}?secret={quote(secret, safe='')}"

    def proof(self, notice: Notice, secret: str) -> Mapping[str, str]:
        return {}
