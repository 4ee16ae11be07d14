"""Checksum: a repository's tags as one value that can be compared with GitLab's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from app.models import Reference, SyncState


def checksum(tags: Iterable[tuple[str, str]]) -> str:
    """GitLab's checksum of a container repository: the SHA-256, in hexadecimal, of name and digest of every tag after
    each other, in the order of the names' bytes, with nothing in between.

    `tags` are pairs of tag and digest (`sha256:…`). Without any it is that of nothing, as in GitLab.
    """
    hasher = hashlib.sha256()
    for name, digest in sorted(tags):
        hasher.update(f"{name}{digest}".encode())
    return hasher.hexdigest()


@dataclass(frozen=True, slots=True)
class Checksums:
    """Of the primary's tags as they stand there, and the same tags as they stand on the secondary."""

    primary: str
    secondary: str

    @classmethod
    def of(cls, registry_id: int, seen: Mapping[str, str | None]) -> Checksums | None:
        """From what was seen of each tag when it was last looked at; None while one is not in sync or was never seen.

        `seen` is what was just found where it is not what should be there: digests by tag, None where there is none.
        What the secondary has beyond the primary's tags is drift, and not part of it.
        """
        wanted: list[tuple[str, str]] = []
        found: list[tuple[str, str]] = []
        tags = Reference.select(Reference.name, Reference.state, Reference.desired_digest, Reference.verified_digest)
        rows: Any = tags.where(
            (Reference.registry == registry_id) & Reference.is_tag & Reference.desired_digest.is_null(False)
        ).tuples()
        for name, state, desired, verified in rows:
            if name not in seen and (state != SyncState.SYNCED or verified != desired):
                return None
            standing = seen.get(name, verified)
            wanted.append((name, desired))
            if standing is not None:
                found.append((name, standing))
        return cls(checksum(wanted), checksum(found))
