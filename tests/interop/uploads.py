"""The ways in which a blob comes into a registry (distribution-spec, "Pushing Blobs"), by plain HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urljoin

import requests

from tests.support.images import Blob
from tests.support.registries import Registry
from tests.support.wire import TIMEOUT, WireError

#: Bytes of a chunk; more than any registry here asks for at least.
CHUNK = 4096


def whole(registry: Registry, repository: str, blob: Blob) -> None:
    """A session, and one PUT with all of it."""
    _finish(registry, _begin(registry, repository), blob.digest, blob.data)


def chunked(registry: Registry, repository: str, blob: Blob) -> None:
    """PATCH after PATCH, each with its range, and an empty PUT."""
    location = _begin(registry, repository)
    for start in range(0, len(blob.data), CHUNK):
        data = blob.data[start : start + CHUNK]
        sent = {"Content-Range": f"{start}-{start + len(data) - 1}"}
        location = _location(registry, _send(registry, "PATCH", location, data, sent))
    _finish(registry, location, blob.digest)


def streamed(registry: Registry, repository: str, blob: Blob) -> None:
    """One PATCH without a range, and an empty PUT."""
    location = _location(registry, _send(registry, "PATCH", _begin(registry, repository), blob.data))
    _finish(registry, location, blob.digest)


def at_once(registry: Registry, repository: str, blob: Blob) -> None:
    """A single POST with all of it; a registry that does not do that answers with a session, which is used."""
    answer = _send(registry, "POST", f"/v2/{repository}/blobs/uploads/?digest={blob.digest}", blob.data)
    if answer.status_code == 202:
        _finish(registry, _location(registry, answer), blob.digest, blob.data)


def mounted(registry: Registry, repository: str, blob: Blob, source: str | None) -> None:
    """A mount from another repository that holds it, or from anywhere; uploaded where that is not done."""
    query = f"mount={blob.digest}" + (f"&from={source}" if source else "")
    answer = _send(registry, "POST", f"/v2/{repository}/blobs/uploads/?{query}")
    if answer.status_code == 202:
        _finish(registry, _location(registry, answer), blob.digest, blob.data)


def lists_referrers(registry: Registry, repository: str, digest: str) -> bool:
    """Whether it has the referrers API."""
    try:
        _send(registry, "GET", f"/v2/{repository}/referrers/{digest}")
    except WireError as error:
        if error.status != 404:
            raise
        return False
    return True


def _begin(registry: Registry, repository: str) -> str:
    return _location(registry, _send(registry, "POST", f"/v2/{repository}/blobs/uploads/"))


def _finish(registry: Registry, location: str, digest: str, data: bytes = b"") -> None:
    _send(registry, "PUT", f"{location}{'&' if '?' in location else '?'}digest={digest}", data)


def _location(registry: Registry, answer: requests.Response) -> str:
    return urljoin(registry.url, answer.headers["Location"])


def _send(
    registry: Registry, method: str, url: str, data: bytes = b"", headers: Mapping[str, str] | None = None
) -> requests.Response:
    url = urljoin(registry.url, url)
    # What requests sends without data has a length of 0, as a POST that begins a session must.
    sent = {"Content-Type": "application/octet-stream", **(headers or {})} if data else dict(headers or {})
    with requests.Session() as session:
        session.trust_env = False
        answer = session.request(method, url, data=data, headers=sent, timeout=TIMEOUT, verify=registry.verify)
    if not answer.ok:
        raise WireError(method, url, answer)
    return answer
