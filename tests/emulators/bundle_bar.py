"""Bundle Bar.

Quirks, and where they are known from (bundle.bar/docs):

- An artifact has 5 MB at most, 25 MB for Pro.
- Repositories are `<user>/…`.

Its documentation says nothing of the rest, which is the least that a registry may be: a bearer challenge, uploads that
are whole, no catalog, no referrers API, no deletion, no events.
"""

from __future__ import annotations

from tests.emulators.tokens import Access, BearerEmulator
from tests.support.answering import Answer, Request
from tests.support.oci_content import Refused, is_digest

#: Bytes of an artifact: its manifest and all blobs.
LIMIT = 5_000_000
LIMIT_PRO = 25_000_000


class BundleBar(BearerEmulator):
    """`username` is the only user."""

    service = "bundle.bar"

    def __init__(self, *, limit: int = LIMIT) -> None:
        super().__init__(catalog=False, referrers=False, delete=False, mount=False)
        self.limit = limit

    def grant(self, account: str | None, asked: Access) -> tuple[str, ...]:
        granted = super().grant(account, asked)
        return granted if asked.name.startswith(f"{self.username}/") else ()

    def _append(self, request: Request, name: str, session: str) -> Answer:
        # Who streams a blob by one PATCH, as Docker does, sends no chunks.
        if "Content-Range" in request.headers or self._upload(session):
            raise Refused(400, "UNSUPPORTED", "chunked uploads are not supported")
        self._require_small(len(request.body))
        return super()._append(request, name, session)

    def _commit(self, request: Request, name: str, session: str) -> Answer:
        self._require_small(len(request.body))
        return super()._commit(request, name, session)

    def _put_manifest(self, request: Request, name: str, reference: str) -> Answer:
        repository = self._made(name)
        # As it would be stored: what is below it must be here.
        stored = repository.put_manifest(reference, request.body, request.headers.get("Content-Type", ""))
        listed = [stored.document.get("config"), *(stored.document.get("layers") or ())]
        size = len(request.body) + sum(entry["size"] for entry in listed if entry)
        try:
            self._require_small(size)
        except Refused:
            del repository.manifests[stored.digest]
            if not is_digest(reference):
                del repository.tags[reference]
            raise
        return super()._put_manifest(request, name, reference)

    def _require_small(self, size: int) -> None:
        if size > self.limit:
            raise Refused(413, "SIZE_INVALID", f"an artifact has {self.limit} bytes at most")
