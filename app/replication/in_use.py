"""In use: whether something on a registry would lose a part of itself if a digest were deleted there."""

from __future__ import annotations

import logging
from collections import deque

from app.registry import NotFound, RegistryClient

log = logging.getLogger(__name__)

#: Manifests that are read to find out. What more of them hold is not known, and so it is kept.
MAX_READ = 2000


def in_use(digest: str, repository: str, registry: RegistryClient) -> bool:
    """Whether a tag of the repository stands on the digest, or on an index that lists it, however deep, or on what is
    about it (its `subject`).

    Asks the registry: neither the tag nor the index need be one of ours. True where that cannot be told, since the
    repository has too much in it.

    Raises:
        RegistryError: from the registry.
    """
    waiting = deque(registry.tags_or_none(repository) or ())
    seen: set[str] = set()
    read = 0
    while waiting:
        if read >= MAX_READ:
            log.warning("%s@%s is kept: more than %d manifests stand under tags there", repository, digest, MAX_READ)
            return True
        name = waiting.popleft()
        read += 1
        try:
            manifest = registry.get_manifest(repository, name)
        except NotFound as error:
            # A child that was left out (a sparse index), or a tag that went meanwhile.
            error.require_witness()
            continue
        if manifest.digest in seen:
            continue
        seen.add(manifest.digest)
        below = [*manifest.manifests, *([manifest.subject] if manifest.subject else [])]
        if digest == manifest.digest or any(digest == each.digest for each in below):
            return True
        # What an image is made of are blobs: only an index, and what is about something, leads on.
        deeper = [each.digest for each in below if each.is_index or each == manifest.subject]
        waiting.extend(each for each in deeper if each not in seen)
    return False
