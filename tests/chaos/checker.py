"""The judge: hashes everything in both registries anew. It shares no code with what it judges."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.reader import ACCEPT, Reader, Unreadable
from tests.chaos.verdict import Acknowledged, Fault, Lease, Row, Verdict
from tests.support.registries import Registry

__all__ = ["Acknowledged", "Checker", "Fault", "Lease", "Reader", "Row", "Unreadable", "Verdict"]

_MANIFESTS = frozenset(ACCEPT.split(", "))

#: GitLab's number of the state in which everything is there.
SYNCED = 2


@dataclass
class _Count:
    manifests: int = 0
    blobs: int = 0
    bytes: int = 0


@dataclass
class Checker:
    """Compares two registries with each other, with what was acknowledged and with what the product says.

    `rows` gives what the product says of each repository, `leases` who holds what.
    """

    primary: Registry
    secondary: Registry
    rows: Callable[[], Iterable[Row]]
    leases: Callable[[], Iterable[Lease]] = tuple
    #: What was ever seen on the secondary, by repository and tag.
    _seen: dict[tuple[str, str], str] = field(default_factory=dict)

    def note(self) -> int:
        """Remember every tag that the secondary holds now: none of them may vanish unless it is deleted on the primary.

        Returns how many there are. May be called as often as one likes.
        """
        with Reader(self.secondary) as reader:
            for repository in reader.repositories():
                for tag in reader.tags(repository):
                    body = reader.manifest(repository, tag)
                    if body is not None:
                        self._seen[repository, tag] = _sha256(body[0])
        return len(self._seen)

    def judge(
        self,
        acknowledged: Iterable[Acknowledged] = (),
        *,
        deleted: Iterable[tuple[str, str]] = (),
        kept: Mapping[tuple[str, str], str] | None = None,
        replicated: Callable[[str, str], bool] = lambda repository, tag: True,
    ) -> Verdict:
        """Look at everything, after the deadline by which all has to be in order.

        :param acknowledged: in the order in which they were pushed, so that the last of a tag counts.
        :param deleted: repository and tag of what was deleted on the primary: it may be gone from the secondary.
        :param kept: repository and reference (a tag or a digest), and the digest that the secondary has to hold
            there whatever the primary has: what somebody else pushed to it, what a tag has left.
        :param replicated: whether a tag on the primary is the product's business at all.
        :raises Unreadable: when a registry gives no usable answer.
        """
        gone = set(deleted)
        last = {(each.repository, each.tag): each.digest for each in acknowledged}
        last = {name: digest for name, digest in last.items() if name not in gone}
        rows = {row.path: row for row in self.rows()}
        with Reader(self.primary) as ours, Reader(self.secondary) as theirs:
            look = _Look(ours, theirs)
            there = {
                (repository, tag)
                for repository in ours.repositories()
                for tag in ours.tags(repository)
                if replicated(repository, tag)
            }
            differences = {name: found for name in sorted(there) if (found := look.tag(*name))}
            lost = [Fault(_name(*name), found) for name, found in differences.items()]
            lost += list(_unlike(last, there, look))
            wrongly_deleted = list(self._vanished(gone, look))
            wrongly_deleted += [
                Fault(_name(*name), f"the secondary no longer holds {digest}")
                for name, digest in (kept or {}).items()
                if look.secondary_digest(*name) != digest
            ]
        repositories = {repository for repository, _ in there}
        broken: dict[str, str] = {}
        for (repository, tag), found in differences.items():
            broken.setdefault(repository, f"{tag}: {found}")
        return Verdict(
            lost=tuple(lost),
            stuck=(*_stuck(repositories, rows), *_held(self.leases())),
            wrongly_deleted=tuple(wrongly_deleted),
            wrongly_synced=tuple(
                Fault(repository, why)
                for repository, why in broken.items()
                if repository in rows and rows[repository].state == SYNCED
            ),
            repositories=len(repositories),
            tags=len(there),
            manifests=look.count.manifests,
            blobs=look.count.blobs,
            bytes=look.count.bytes,
        )

    def _vanished(self, gone: set[tuple[str, str]], look: _Look) -> Iterator[Fault]:
        for name in sorted(self._seen):
            if name not in gone and look.secondary_digest(*name) is None:
                yield Fault(_name(*name), f"was on the secondary as {self._seen[name]} and is gone")


class _Look:
    """One comparison. What is the same in a repository is looked at once."""

    def __init__(self, primary: Reader, secondary: Reader) -> None:
        self.primary = primary
        self.secondary = secondary
        self.count = _Count()
        self._below: dict[tuple[str, str], str] = {}

    def tag(self, repository: str, tag: str) -> str:
        """What differs, in one line; empty when nothing does."""
        return self._manifest(repository, tag)

    def primary_digest(self, repository: str, reference: str) -> str | None:
        found = self.primary.manifest(repository, reference)
        return None if found is None else _sha256(found[0])

    def secondary_digest(self, repository: str, reference: str) -> str | None:
        found = self.secondary.manifest(repository, reference)
        return None if found is None else _sha256(found[0])

    def _manifest(self, repository: str, reference: str) -> str:
        ours = self.primary.manifest(repository, reference)
        if ours is None:
            # An index may list what its registry does not hold.
            return "" if ":" in reference else "the primary lists it and does not have it"
        self.count.manifests += 1
        self.count.bytes += len(ours[0])
        theirs = self.secondary.manifest(repository, reference)
        if theirs is None:
            return f"manifest {reference} is not on the secondary"
        if ours[0] != theirs[0]:
            return f"manifest {_sha256(ours[0])} is {_sha256(theirs[0])} on the secondary"
        if ours[1] != theirs[1]:
            return f"media type {ours[1]} is {theirs[1]} on the secondary"
        for descriptor in _listed(json.loads(ours[0])):
            if found := self._child(repository, descriptor):
                return found
        return ""

    def _child(self, repository: str, descriptor: Mapping[str, Any]) -> str:
        digest = str(descriptor["digest"])
        name = (repository, digest)
        if name not in self._below:
            is_manifest = descriptor.get("mediaType") in _MANIFESTS
            self._below[name] = self._manifest(*name) if is_manifest else self._blob(*name)
        return self._below[name]

    def _blob(self, repository: str, digest: str) -> str:
        ours = self.primary.blob(repository, digest)
        if ours is None:
            return ""
        if ours[0] != digest:
            raise Unreadable(f"the primary's own blob {digest} in {repository} is {ours[0]}")
        self.count.blobs += 1
        self.count.bytes += ours[1]
        theirs = self.secondary.blob(repository, digest)
        if theirs is None:
            return f"blob {digest} is not on the secondary"
        return "" if theirs == ours else f"blob {digest} is {theirs[0]} ({theirs[1]} bytes) on the secondary"


def _listed(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if isinstance(document.get("config"), dict):
        yield document["config"]
    for name in ("layers", "blobs", "manifests"):
        yield from document.get(name) or []


def _unlike(last: Mapping[tuple[str, str], str], there: set[tuple[str, str]], look: _Look) -> Iterator[Fault]:
    """What the primary itself no longer has as it was acknowledged: nobody but the tests may write there."""
    for name, digest in sorted(last.items()):
        found = look.primary_digest(*name) if name in there else None
        if found != digest:
            yield Fault(_name(*name), f"acknowledged as {digest}, and the primary itself has {found}")


def _stuck(repositories: set[str], rows: Mapping[str, Row]) -> Iterator[Fault]:
    for repository in sorted(repositories - rows.keys()):
        yield Fault(repository, "no row knows of it")
    for path, row in sorted(rows.items()):
        if row.in_scope and row.state != SYNCED:
            yield Fault(path, f"its row is in state {row.state}: {row.failure}")


def _held(leases: Iterable[Lease]) -> Iterator[Fault]:
    for lease in leases:
        yield Fault(lease.name, f"{lease.owner} still holds it{' past its time' if lease.expired else ''}")


def _name(repository: str, tag: str) -> str:
    return f"{repository}{'@' if ':' in tag else ':'}{tag}"


def _sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
