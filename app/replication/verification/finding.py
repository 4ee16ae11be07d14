"""Findings: what is not on the secondary as it should be, named exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is wrong with a thing; bounded, for metrics."""

    TAG_MISSING = "tag_missing"
    TAG_DIFFERS = "tag_differs"
    MANIFEST_MISSING = "manifest_missing"
    MANIFEST_DAMAGED = "manifest_damaged"
    BLOB_MISSING = "blob_missing"
    BLOB_DAMAGED = "blob_damaged"

    @property
    def damaged(self) -> bool:
        """Whether there is something in its place: a registry may keep that, and take nothing new."""
        return self in {Kind.MANIFEST_DAMAGED, Kind.BLOB_DAMAGED}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not there, or not as it should be. `digest` is what should be there."""

    kind: Kind
    digest: str
    #: Bytes; None where no manifest says it.
    size: int | None = None
    #: What is there instead, for people.
    instead: str | None = None

    def __str__(self) -> str:
        size = "" if self.size is None else f" ({self.size} bytes)"
        match self.kind:
            case Kind.TAG_MISSING:
                return f"the tag is not there; it should stand on {self.digest}"
            case Kind.TAG_DIFFERS:
                return f"the tag stands on {self.instead} and should stand on {self.digest}"
            case Kind.MANIFEST_MISSING:
                return f"the manifest {self.digest}{size} is not there"
            case Kind.MANIFEST_DAMAGED:
                return f"the manifest {self.digest}{size} is damaged: {self.instead}"
            case Kind.BLOB_MISSING:
                return f"the blob {self.digest}{size} is not there, or not in this size"
            case Kind.BLOB_DAMAGED:
                return f"the blob {self.digest}{size} is damaged: {self.instead}"


Findings = tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """A reference of which something is missing on the secondary."""

    name: str
    is_tag: bool
    findings: Findings

    def __str__(self) -> str:
        return f"{self.name}: {'; '.join(map(str, self.findings))}"


def brief(lines: Sequence[object], total: int, shown: int = 3) -> str:
    """The first of these and how many more there are."""
    more = f"; and {total - shown} more" if total > shown else ""
    return "; ".join(str(line) for line in lines[:shown]) + more
