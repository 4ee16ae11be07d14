"""Asking a registry by plain HTTP, for what no client of ours would send."""

from __future__ import annotations

from typing import Any

import requests

from tests.support.images import Image, sha256
from tests.support.registries import Registry

TIMEOUT = 30


def ask(registry: Registry, method: str, path: str, *scopes: str, **options: Any) -> requests.Response:
    """Ask with the right to these scopes; without any, as whoever `options` say, or nobody."""
    headers = {**(registry.authorization(*scopes) if scopes else {}), **options.pop("headers", {})}
    url = path if path.startswith("http") else registry.url + path
    with requests.Session() as session:
        session.trust_env = False
        options.setdefault("allow_redirects", False)
        return session.request(method, url, headers=headers, timeout=TIMEOUT, **options)


def code(answer: requests.Response) -> tuple[int, str]:
    """Status and error code."""
    return answer.status_code, str(answer.json()["errors"][0]["code"])


def pushing(repository: str) -> str:
    return f"repository:{repository}:pull,push"


def pulling(repository: str) -> str:
    return f"repository:{repository}:pull"


def deleting(repository: str) -> str:
    return f"repository:{repository}:delete"


def begin(registry: Registry, repository: str) -> str:
    """Begin an upload and return where it goes."""
    answer = ask(registry, "POST", f"/v2/{repository}/blobs/uploads/", pushing(repository))
    assert answer.status_code == 202, answer.text
    location = answer.headers["Location"]
    return location if location.startswith("http") else registry.url + location


def chunk(registry: Registry, repository: str, location: str, data: Any, first: int = 0) -> requests.Response:
    """Send a chunk."""
    headers = {"Content-Range": f"{first}-{first + len(data) - 1}"}
    return ask(registry, "PATCH", location, pushing(repository), data=data, headers=headers)


def commit(registry: Registry, repository: str, location: str, data: bytes, **options: Any) -> requests.Response:
    """End the upload of the blob `data`, sending it all unless `body` is said."""
    body = options.pop("body", data)
    url = f"{location}?digest={sha256(data)}"
    return ask(registry, "PUT", url, pushing(repository), data=body, **options)


def put(registry: Registry, repository: str, reference: str, image: Image, query: str = "") -> requests.Response:
    """Push the manifest alone."""
    path = f"/v2/{repository}/manifests/{reference}{query}"
    headers = {"Content-Type": image.media_type}
    return ask(registry, "PUT", path, pushing(repository), data=image.manifest, headers=headers)


def challenge(answer: requests.Response) -> str:
    assert answer.status_code == 401, answer.text
    return str(answer.headers["WWW-Authenticate"])
