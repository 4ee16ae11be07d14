"""zot.

Quirks, and where they are known from (project-zot/zot, extensions/events, api/routes.go):

- Basic. All of OCI 1.1, and of what comes after it PUT of a manifest by digest with `?tag=…`, confirmed by OCI-Tag.
- The events extension sends CloudEvents in binary mode to its sink, each a single time; none for a tag that stood on
  that digest already. A repository's first push is told of too.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import replace

from tests.emulators.emulator import Change, Emulator, Notice, moment
from tests.support.answering import Answer, Request
from tests.support.oci_content import Repository


class Zot(Emulator):
    """Anybody who is not `username` is refused."""

    dialect = "zot"

    def _made(self, name: str) -> Repository:
        if name not in self.repositories:
            self._announce(name)
        return super()._made(name)

    def _put_manifest(self, request: Request, name: str, reference: str) -> Answer:
        answer = super()._put_manifest(request, name, reference)
        repository = self.repositories[name]
        stored = repository.manifest(reference)
        tags = [value for key, value in request.pairs if key == "tag"]
        for tag in tags:
            before = repository.tags.get(tag)
            repository.tags[tag] = stored.digest
            self.changed(Change("push", name, tag, stored, request, before))
        return replace(answer, headers={**answer.headers, "OCI-Tag": ", ".join(tags)}) if tags else answer

    def tell(self, change: Change) -> Iterable[Notice]:
        if change.action == "push" and change.tag is not None and not change.moved:
            return
        document = {
            "name": change.repository,
            "reference": change.tag or change.digest,
            "digest": change.digest,
            "mediaType": change.stored.media_type,
            "manifest": change.stored.data.decode(),
            "actor": {"name": self.username},
            "request": {
                "addr": "127.0.0.1:41234",
                "method": change.request.method,
                "useragent": change.request.headers.get("User-Agent", ""),
            },
        }
        yield _event("image.updated" if change.action == "push" else "image.deleted", document)

    def _announce(self, name: str) -> None:
        notice = _event("repository.created", {"name": name})
        self.notices.append(notice)
        if self._receiver is not None:
            self._unsent.append(notice)


def _event(kind: str, document: object) -> Notice:
    headers = {
        "Content-Type": "application/json",
        "Ce-Specversion": "1.0",
        "Ce-Id": str(uuid.uuid4()),
        "Ce-Source": "zotregistry.dev",
        "Ce-Type": f"zotregistry.{kind}",
        "Ce-Time": moment(),
    }
    return Notice(json.dumps(document).encode(), headers)
