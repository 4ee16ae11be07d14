"""Remains: what a registry that was the primary holds, beside what the new primary has. Values; nothing is asked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

#: Characters of a tag, and of a digest, that the name of a saved tag begins and ends with: 128 are allowed.
_TAG, _DIGEST = 100, 12

_SAVED = re.compile(rf".+\.rescued-[0-9a-f]{{{_DIGEST}}}")


class Kind(StrEnum):
    """What becomes of a tag that is not the same on both."""

    #: It stands on something that the new primary does not have, or was moved here alone: saved under another tag
    #: before the new primary's takes its place.
    LOST = "lost"
    #: Here alone, and nobody says that the new primary ever had it: left as it is, and shown as drift.
    ALONE = "alone"
    #: The new primary had it, and it was deleted there since.
    DELETED = "deleted"
    #: Both had it, and it is gone from here alone: it comes back.
    GONE = "gone"
    #: It moved on at the new primary, which has what it stands on here, or had it.
    MOVED = "moved"
    #: It is listed here, and there is nothing under it.
    BROKEN = "broken"
    #: It could not be told.
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one tag: the digests that it stands on here and at the new primary, None where it is not."""

    here: str | None
    there: str | None
    #: What both had when the other one took over; None: not known.
    before: str | None = None
    #: Whether the new primary has, under whatever name, what the tag stands on here.
    held: bool = False
    #: Whether an event says that what it stands on here was deleted at the new primary.
    deleted: bool = False


def judge(facts: Facts) -> Kind | None:
    """Say what becomes of the tag; None where both have the same, or it only has to be brought."""
    here, there, before = facts.here, facts.there, facts.before
    if here == there:
        return None
    if here is None:
        return Kind.GONE if before is not None and there == before else None
    if there is None:
        return Kind.DELETED if here == before or facts.deleted else Kind.ALONE
    if there == before:
        # Who moved it did that here alone.
        return Kind.LOST
    return Kind.MOVED if facts.held or here == before else Kind.LOST


@dataclass(frozen=True, slots=True)
class Remain:
    """One tag that is not the same on both."""

    name: str
    kind: Kind
    here: str | None = None
    there: str | None = None
    #: When what stands here was pushed, as far as an event told.
    pushed_at: datetime | None = None
    #: What could not be told, and why.
    reason: str | None = None
    #: Whether it is replicated, as the settings are. What is not is saved as well: they may become wider later.
    in_scope: bool = True

    @property
    def saved_as(self) -> str | None:
        """The tag under which what stands here is kept; None where it need not be."""
        if self.kind is not Kind.LOST or self.here is None:
            return None
        return f"{self.name[:_TAG]}.rescued-{self.here.partition(':')[2][:_DIGEST]}"

    @property
    def is_saved(self) -> bool:
        """Whether it is a tag under which something was kept before."""
        return _SAVED.fullmatch(self.name) is not None


@dataclass(frozen=True, slots=True)
class RepositoryRemains:
    """One repository, compared."""

    path: str
    remains: tuple[Remain, ...] = ()
    #: Tags that are the same on both, and tags to be brought here.
    equal: int = 0
    coming: int = 0
    #: Tags here that are not replicated, and stay as they are.
    out_of_scope: int = 0
    #: Why it could not be compared.
    problem: str | None = None
    #: Of all its tags here and what they stand on: another one when any of them has changed.
    fingerprint: str | None = None
    #: Whether it is replicated, as the settings are.
    in_scope: bool = True

    def of(self, kind: Kind) -> list[Remain]:
        return [each for each in self.remains if each.kind is kind]


@dataclass(frozen=True, slots=True)
class DemotionPlan:
    """What becomes of a registry that was the primary and becomes a secondary of another."""

    #: The addresses of both, and the site's name by the environment.
    url: str
    primary: str
    site: str
    at: datetime
    repositories: tuple[RepositoryRemains, ...] = ()
    #: When the other one took over, where that was said here.
    since: datetime | None = None
    #: Repositories that are not replicated, and stay as they are, but for what is saved in them.
    out_of_scope: int = 0
    #: What a person should know before it is carried out, in sentences.
    warnings: tuple[str, ...] = ()
    _counts: Mapping[Kind, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        counts = Counter(each.kind for repository in self.repositories for each in repository.remains)
        object.__setattr__(self, "_counts", counts)

    def count(self, kind: Kind) -> int:
        return self._counts[kind]

    @property
    def equal(self) -> int:
        return sum(each.equal for each in self.repositories)

    @property
    def coming(self) -> int:
        return sum(each.coming for each in self.repositories)

    @property
    def problems(self) -> tuple[RepositoryRemains, ...]:
        """Repositories that are replicated, and could not be compared."""
        return tuple(each for each in self.repositories if each.problem is not None and each.in_scope)

    @property
    def unclear(self) -> int:
        """Of how many tags and repositories it could not be told what would be lost."""
        return self._unclear(in_scope=True) + len(self.problems)

    @property
    def unclear_out_of_scope(self) -> int:
        """The same of what is not replicated: nothing replaces it before the settings are wider."""
        left = [each for each in self.repositories if each.problem is not None and not each.in_scope]
        return self._unclear(in_scope=False) + len(left)

    def _unclear(self, *, in_scope: bool) -> int:
        found = (remain for each in self.repositories for remain in each.of(Kind.UNCLEAR))
        return sum(remain.in_scope is in_scope for remain in found)
