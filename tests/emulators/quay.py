"""Quay.

Quirks, and where they are known from (quay/quay, endpoints/v2):

- Tokens from `/v2/auth`, whose scopes are `repository:` and of push, pull and `*` alone: `delete` and
  `registry:catalog:*` are answered 400. Robots are `organization+name`.
- DELETE wants push. By digest it deletes the tags on it, and is 404 where there is none; by tag it works.
- A tag that was deleted is TAG_EXPIRED, not MANIFEST_UNKNOWN.
- The catalog is for any token. Pages have 100 entries at most, whatever is asked.
- The referrers of a digest that it does not know are MANIFEST_INVALID; a mount wants `from`.
- `repo_push` names tags alone: no digest, no deletion, no proof but the address.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from tests.emulators.emulator import Change, Notice, tags_of
from tests.emulators.tokens import Access, BearerEmulator
from tests.support.answering import Answer, Request
from tests.support.oci_content import Refused, is_digest

_SCOPE = re.compile(r"repository:(?:[.a-zA-Z0-9_-]+/)*[.a-zA-Z0-9_-]+:(?:push|pull|\*)(?:,(?:push|pull|\*))*")


class Quay(BearerEmulator):
    """`username` is a robot's."""

    dialect = "quay"
    realm = "/v2/auth"
    lifetime = 3600
    username = "team+geo"

    def __init__(self) -> None:
        super().__init__(page_size=100)
        #: Repository and tag of those that were deleted.
        self.expired: set[tuple[str, str]] = set()

    def give(self, request: Request) -> Answer:
        scopes = [value for name, value in request.pairs if name == "scope"]
        for scope in filter(None, scopes):
            if _SCOPE.fullmatch(scope) is None:
                raise Refused(400, "INVALID_REQUEST", f"Unable to decode repository and actions: {scope}")
        if self.account(request) is None and not scopes:
            raise Refused(401, "UNAUTHORIZED", "access to the requested resource is not authorized")
        return super().give(request)

    def given(self, token: str) -> Answer:
        return Answer(200, json.dumps({"token": token}).encode(), {"Content-Type": "application/json"})

    def needs(self, request: Request) -> Sequence[Access]:
        if request.path == "/v2/_catalog":
            return []
        needed = super().needs(request)
        return [Access(each.type, each.name, ("push",)) if _deletes(each) else each for each in needed]

    def _get_manifest(self, request: Request, name: str, reference: str) -> Answer:
        if (name, reference) in self.expired:
            message = f"Tag {reference} was deleted or has expired. To pull, revive via time machine"
            raise Refused(404, "TAG_EXPIRED", message)
        return super()._get_manifest(request, name, reference)

    def _put_manifest(self, request: Request, name: str, reference: str) -> Answer:
        answer = super()._put_manifest(request, name, reference)
        self.expired.discard((name, reference))
        return answer

    def _delete_manifest(self, request: Request, name: str, reference: str) -> Answer:
        repository = self._known(name)
        tags = tags_of(repository.tags, reference) if is_digest(reference) else [reference]
        if not tags:
            raise Refused(404, "MANIFEST_UNKNOWN", "manifest unknown")
        answer = super()._delete_manifest(request, name, reference)
        self.expired |= {(name, tag) for tag in tags}
        return answer

    def _list_referrers(self, request: Request, name: str, digest: str) -> Answer:
        if digest not in self._known(name).manifests:
            raise Refused(400, "MANIFEST_INVALID", "manifest invalid")
        return super()._list_referrers(request, name, digest)

    def _begin(self, request: Request, name: str, _: str) -> Answer:
        if "mount" in request.query and "from" not in request.query:
            raise Refused(400, "INVALID_REQUEST", "Invalid request")
        return super()._begin(request, name, _)

    def tell(self, change: Change) -> Iterable[Notice]:
        if change.action != "push" or change.tag is None:
            return
        namespace, _, name = change.repository.rpartition("/")
        document = {"repository": change.repository, "namespace": namespace, "name": name}
        home = f"https://quay.io/repository/{change.repository}"
        pages = {"docker_url": f"quay.io/{change.repository}", "homepage": home}
        yield Notice.of({**document, **pages, "updated_tags": [change.tag]})

    def address(self, url: str, secret: str) -> str:
        return f"{url}?secret={quote(secret, safe='')}"

    def proof(self, notice: Notice, secret: str) -> Mapping[str, str]:
        return {}


def _deletes(access: Access) -> bool:
    return access.actions == ("delete",)
