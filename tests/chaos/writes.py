"""What was written to a registry, read from the requests that a proxy before it has seen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from urllib.parse import unquote

_MANIFEST = re.compile(r"PUT /v2/(.+)/manifests/([^/?]+)")
_BLOB = re.compile(r"PUT /v2/(.+)/blobs/uploads/[^?]*\?(?:.*&)?digest=([^&]+)")
_DELETE = re.compile(r"DELETE /v2/(.+)/(manifests|blobs)/(?!uploads/)([^/?]+)")


def manifests(requests: Iterable[str]) -> Counter[tuple[str, str]]:
    """How often each manifest was put, by repository and reference."""
    return Counter((found[1], unquote(found[2])) for each in requests if (found := _MANIFEST.match(each)))


def tags(requests: Iterable[str]) -> Counter[tuple[str, str]]:
    """How often each tag was put, by repository and tag."""
    return Counter({name: count for name, count in manifests(requests).items() if ":" not in name[1]})


def blobs(requests: Iterable[str]) -> Counter[tuple[str, str]]:
    """How often each blob was uploaded to its end, by repository and digest."""
    return Counter((found[1], unquote(found[2])) for each in requests if (found := _BLOB.match(each)))


def deletions(requests: Iterable[str]) -> list[str]:
    """What was asked to be deleted."""
    return [each for each in requests if _DELETE.match(each)]
