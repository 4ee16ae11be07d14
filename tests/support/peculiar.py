"""Registries with one peculiarity each, as single providers have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.support.answering import Answer, Request
from tests.support.oci_content import Refused, Repository, is_digest
from tests.support.oci_registry import OciRegistry


class Narrow(OciRegistry):
    """Takes no request with more than `most` bytes: a proxy with a limit stands before it, or it has one itself."""

    def __init__(self, most: int, **features: Any) -> None:
        super().__init__(**features)
        self.most = most

    def respond(self, request: Request) -> Answer:
        if len(request.body) > self.most:
            return Answer(413, b"<html>413 Request Entity Too Large</html>", {"Content-Type": "text/html"})
        return super().respond(request)


class Unmade(OciRegistry):
    """Knows the repositories for which `known` says so; to others nothing can be pushed."""

    def __init__(self, known: Callable[[str], bool], **features: Any) -> None:
        super().__init__(**features)
        self.known = known
        self.refusal = Refused(404, "NAME_UNKNOWN", "The repository does not exist in the registry")

    def _made(self, name: str) -> Repository:
        if not self.known(name):
            raise self.refusal
        return super()._made(name)

    def _begin(self, request: Request, name: str, _: str) -> Answer:
        self._made(name)
        return super()._begin(request, name, _)


class Strict(OciRegistry):
    """Takes no manifest that the image specification does not: without a layer, or of an empty kind without a name."""

    def _put_manifest(self, request: Request, name: str, reference: str) -> Answer:
        manifest = json.loads(request.body)
        empty = manifest.get("config", {}).get("mediaType") == "application/vnd.oci.empty.v1+json"
        if manifest.get("layers") == [] or (empty and not manifest.get("artifactType")):
            raise Refused(400, "MANIFEST_INVALID", "not as the specification wants it")
        return super()._put_manifest(request, name, reference)


class Fixed(OciRegistry):
    """A tag never moves; to push what it stands on is refused like anything else, as Amazon does."""

    def _put_manifest(self, request: Request, name: str, reference: str) -> Answer:
        if not is_digest(reference) and reference in self._made(name).tags:
            raise Refused(
                400,
                "TAG_INVALID",
                f"The image tag '{reference}' already exists in the '{name}' repository and cannot be overwritten"
                " because the repository is immutable.",
            )
        return super()._put_manifest(request, name, reference)
