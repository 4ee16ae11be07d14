"""Profile: what the registry of one provider can do, wants and does not take. A value, read by replication."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from app.registry import Manners
from app.settings import ProviderName


class Creation(StrEnum):
    """How a repository comes to be."""

    #: By the first push into it.
    ON_PUSH = "on push"
    #: By the provider's control plane, which we ask.
    CONTROL_PLANE = "control plane"
    #: What it is in (a project, a repository of the provider's kind) has to be made by a person first.
    BY_HAND = "by hand"


class Removal(StrEnum):
    """How something is deleted."""

    #: DELETE of a manifest, by the tag or the digest.
    REGISTRY = "registry"
    #: Of a tag: it is put on a manifest of its own, and the digest of that is deleted. Its siblings stay.
    THROWAWAY = "throw-away manifest"
    #: Of a tag: DELETE, and where that is refused by a throw-away manifest.
    TRIED = "tried"
    #: Of a tag: by a throw-away manifest, and where tags do not move by the provider's control plane.
    THROWAWAY_OR_CONTROL_PLANE = "throw-away manifest, else control plane"
    #: By the provider's control plane.
    CONTROL_PLANE = "control plane"
    #: Not at all.
    NONE = "none"


#: What puts a tag on another manifest.
_BY_ANOTHER = frozenset({Removal.THROWAWAY, Removal.TRIED, Removal.THROWAWAY_OR_CONTROL_PLANE})


@dataclass(frozen=True, slots=True)
class Deletion:
    """How a tag alone, and how a manifest is deleted. Raises `ValueError` for what cannot be."""

    tag: Removal = Removal.TRIED
    digest: Removal = Removal.REGISTRY
    #: Whether what the last tag of a repository stands on cannot be deleted.
    last_tag_stays: bool = False

    def __post_init__(self) -> None:
        if self.digest in _BY_ANOTHER:
            raise ValueError("a manifest is not deleted by another manifest")
        if self.digest is Removal.NONE and self.tag in _BY_ANOTHER:
            raise ValueError("a throw-away manifest has to be deleted by its digest")
        if self.tag is Removal.THROWAWAY_OR_CONTROL_PLANE and self.digest is not Removal.CONTROL_PLANE:
            raise ValueError("what has a control plane for tags has it for digests")


class Referrers(StrEnum):
    """How it lists what refers to a manifest."""

    #: It is asked whether it has the referrers API.
    ASKED = "asked"
    #: By the fallback tag alone; it is known not to have the API.
    TAG = "fallback tag"


class Catalog(StrEnum):
    """How it lists its repositories."""

    YES = "yes"
    #: It is asked, and refuses whoever does not administer it.
    ADMINISTRATORS = "to administrators"
    NO = "no"
    CONTROL_PLANE = "control plane"


class Mount(StrEnum):
    """Whether a blob can be had from another repository of the same registry."""

    YES = "yes"
    #: By a setting of the account; a mount that is refused is an upload.
    SOMETIMES = "sometimes"
    NO = "no"


class Told(StrEnum):
    """Of which deletions its events tell; the reconcile finds the others."""

    ALL = "all"
    SOME = "some"
    NONE = "none"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that it takes, in bytes; None: whatever its own word is."""

    blob: int | None = None
    manifest: int | None = None
    #: A manifest with its blobs.
    artifact: int | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """What the registry of one provider is like. Says nothing of how we prove who we are there."""

    name: ProviderName
    #: For people.
    title: str
    #: Regular expressions of its hosts, without the port.
    hosts: tuple[str, ...] = ()
    manners: Manners = field(default_factory=Manners)
    limits: Limits = field(default_factory=Limits)
    creation: Creation = Creation.ON_PUSH
    #: What a person has to make before the first push of a repository; `{first}` and `{second}` are parts of its path.
    to_make: str = ""
    #: Whether a repository may have any name; else its path begins with a name that somebody owns.
    free_names: bool = True
    deletion: Deletion = field(default_factory=Deletion)
    referrers: Referrers = Referrers.ASKED
    catalog: Catalog = Catalog.YES
    mount: Mount = Mount.YES
    #: Whether a tag can be one that never moves, by a rule of the registry's owner.
    immutable_tags: bool = False
    #: Whether it refuses OCI manifests that do not name their own media type.
    requires_media_type: bool = False
    #: Requests at once, and requests of its quota that are left to others, where the operator has not said.
    connections: int | None = None
    ratelimit_floor: int = 0
    #: As the primary.
    deletions_told: Told = Told.ALL

    def __post_init__(self) -> None:
        if (self.creation is Creation.BY_HAND) != bool(self.to_make):
            raise ValueError("what is made by hand has to be named, and only that")

    @property
    def open(self) -> bool:
        """Whether a repository of any name can be pushed to, without more ado."""
        return self.free_names and self.creation is Creation.ON_PUSH

    @property
    def has_control_plane(self) -> bool:
        """Whether anything is done by the provider's control plane."""
        ways = (self.creation, self.deletion.tag, self.deletion.digest, self.catalog)
        return "control plane" in [way.value for way in ways]

    def is_at(self, host: str) -> bool:
        """Tell whether this host is one of the provider's own."""
        return any(re.fullmatch(pattern, host, re.IGNORECASE) for pattern in self.hosts)

    def must_make(self, repository: str) -> str:
        """What a person has to make before something can be pushed to this repository; empty where nothing is."""
        first, _, rest = repository.partition("/")
        return self.to_make.format(first=first, second=rest.partition("/")[0] or "…")

    def lacking(self) -> Iterator[str]:
        """What it cannot do, or only in its own way, in words for people."""
        if self.catalog is Catalog.NO:
            yield "no catalog"
        elif self.catalog is Catalog.ADMINISTRATORS:
            yield "lists repositories to administrators only"
        elif self.catalog is Catalog.CONTROL_PLANE:
            yield "lists repositories by its control plane"
        if self.creation is Creation.CONTROL_PLANE:
            yield "repositories are created by its control plane"
        elif self.creation is Creation.BY_HAND:
            yield f"needs {self.must_make('PROJECT/REPOSITORY')} first"
        yield from self._deleting()
        if self.referrers is Referrers.TAG:
            yield "no referrers API"
        if self.manners.chunk is None:
            yield "no uploads in chunks"
        elif self.manners.whole_up_to is not None:
            yield f"larger blobs than {megabytes(self.manners.whole_up_to)} in chunks"
        if self.mount is not Mount.YES:
            yield "no mounts" if self.mount is Mount.NO else "mounts by a setting of the account"
        yield from self._limits()
        if self.immutable_tags:
            yield "tags may be immutable"
        if self.requires_media_type:
            yield "refuses manifests without mediaType"

    def _deleting(self) -> Iterator[str]:
        if self.deletion.digest is Removal.NONE and self.deletion.tag is Removal.NONE:
            yield "deletes nothing"
        elif self.deletion.tag is Removal.NONE:
            yield "does not delete tags"
        elif self.deletion.digest is Removal.CONTROL_PLANE:
            yield "deletes by its control plane"

    def _limits(self) -> Iterator[str]:
        for what, limit in (
            ("a blob", self.limits.blob),
            ("a manifest", self.limits.manifest),
            ("an artifact", self.limits.artifact),
        ):
            if limit is not None:
                yield f"{what} of {megabytes(limit)} at most"


def megabytes(size: int) -> str:
    """A size as providers name their limits: in powers of 1000 or 1024, whichever is whole."""
    for unit, factor in (("GB", 10**9), ("GiB", 2**30), ("MB", 10**6), ("MiB", 2**20)):
        if size >= factor and size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size / 10**6:.1f} MB"
