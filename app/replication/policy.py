"""The deletion policy: what becomes of something on a secondary that the primary does not have. Pure."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache

from app.models import Site
from app.registry import is_tag as is_tag_name
from app.settings import Deletion

#: Marks a protected pattern that is a regular expression; any other is a glob.
REGEX = "regex:"

#: Deletion policies, each of which deletes all that those before it delete.
CAREFUL_FIRST = (Deletion.OFF, Deletion.TAGS, Deletion.TAGS_AND_UNTAGGED, Deletion.MIRROR)

_WILDCARD = re.compile(r"\[[^\]]+\]|[*?]")


class InvalidTagPattern(ValueError):
    """A pattern that could never match a tag, or is no regular expression."""


class Verdict(Enum):
    """What is to be done."""

    #: Delete it, once both witnesses have spoken and unless the brake is on.
    DELETE = "delete"
    #: It could be deleted, but the policy or a protected pattern keeps it.
    KEEP = "keep"
    #: Not ours: shown, not touched.
    DRIFT = "drift"


@dataclass(frozen=True, slots=True)
class TagPatterns:
    """Tags that are never deleted: globs (`*`, `?`, `[…]`) and, after `regex:`, regular expressions of the whole tag.

    Raises:
        InvalidTagPattern: at construction; a protection that protects nothing must not be believed in.
    """

    patterns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for pattern in self.patterns:
            _expression(pattern)

    @classmethod
    def from_lines(cls, text: str) -> TagPatterns:
        """As kept in a site's row: a pattern a line."""
        return cls(tuple(text.splitlines()))

    def match(self, tag: str) -> str | None:
        """The first pattern that covers `tag`, or None."""
        return next((pattern for pattern in self.patterns if _expression(pattern).fullmatch(tag)), None)


@lru_cache(maxsize=1024)
def _expression(pattern: str) -> re.Pattern[str]:
    if pattern.startswith(REGEX):
        try:
            return re.compile(pattern.removeprefix(REGEX))
        except re.error as error:
            raise InvalidTagPattern(f"{pattern!r} is no regular expression: {error}") from error
    if not is_tag_name(_WILDCARD.sub("x", pattern)):
        raise InvalidTagPattern(f"{pattern!r} cannot match a tag: use stable, v1.*, release-? or regex:v[0-9]+")
    return re.compile(fnmatch.translate(pattern))


def verdict(policy: Deletion, protected: TagPatterns, *, name: str, is_tag: bool, ours: bool) -> Verdict:
    """Judge what stands on the secondary under `name`, a tag or a digest, and is gone from the primary.

    `ours`: a record proves that we put it there, or found it equal. What is not ours is `DRIFT` whatever it is, but
    for tags under `MIRROR`: an untagged manifest that somebody else pushed cannot be found by any listing.
    """
    if not ours and not (is_tag and policy is Deletion.MIRROR):
        return Verdict.DRIFT
    if is_tag:
        forbidden = policy is Deletion.OFF or protected.match(name) is not None
    else:
        forbidden = policy not in {Deletion.TAGS_AND_UNTAGGED, Deletion.MIRROR}
    return Verdict.KEEP if forbidden else Verdict.DELETE


def why_kept(policy: Deletion, protected: TagPatterns, *, name: str, is_tag: bool, ours: bool) -> str | None:
    """Say in words why `verdict` does not delete; None where it does."""
    judged = verdict(policy, protected, name=name, is_tag=is_tag, ours=ours)
    if judged is Verdict.DELETE:
        return None
    if judged is Verdict.DRIFT:
        return "the secondary holds it, but not from us; only GEO_DELETION=mirror deletes what is not ours"
    if is_tag and policy is not Deletion.OFF:
        return f"gone from the primary, kept: GEO_PROTECTED_TAGS has {protected.match(name)!r}"
    return f"gone from the primary, kept: GEO_DELETION is {policy.value}"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a site says of things that the primary does not have; of both, its own settings and what the primary's
    deployment lets it delete, the more careful decides."""

    deletion: Deletion
    protected: TagPatterns = field(default_factory=TagPatterns)
    #: What the primary's deployment says; None: it leaves it to the site.
    within: Policy | None = None

    @classmethod
    def of(cls, site: Site) -> Policy:
        """As the site's row has it, within what the primary's deployment grants."""
        granted = None
        if site.granted_deletion or site.granted_protected_tags:
            most = Deletion(site.granted_deletion or Deletion.MIRROR)
            granted = cls(most, TagPatterns.from_lines(site.granted_protected_tags))
        return cls(Deletion(site.deletion), TagPatterns.from_lines(site.protected_tags), granted)

    @property
    def most(self) -> Deletion:
        """The most that is ever deleted."""
        both = [self.deletion] if self.within is None else [self.deletion, self.within.most]
        return min(both, key=CAREFUL_FIRST.index)

    def judge(self, *, name: str, is_tag: bool, ours: bool) -> tuple[Verdict, str | None]:
        """The verdict (`verdict`), and in words why it stays; None where it does not."""
        judged = verdict(self.deletion, self.protected, name=name, is_tag=is_tag, ours=ours)
        if judged is not Verdict.DELETE:
            return judged, why_kept(self.deletion, self.protected, name=name, is_tag=is_tag, ours=ours)
        if self.within is None:
            return judged, None
        judged, _ = self.within.judge(name=name, is_tag=is_tag, ours=ours)
        return judged, _why_limited(self.within, judged, name, is_tag=is_tag)


def _why_limited(granted: Policy, judged: Verdict, name: str, *, is_tag: bool) -> str | None:
    """Why the primary's deployment does not let the site delete what its own settings would."""
    if judged is Verdict.DELETE:
        return None
    if judged is Verdict.DRIFT:
        return "the secondary holds it, but not from us, and the primary's deployment lets it be no `mirror`"
    if is_tag and granted.deletion is not Deletion.OFF:
        return f"gone from the primary, kept: the primary's deployment protects {granted.protected.match(name)!r}"
    return f"gone from the primary, kept: the primary's deployment limits deletion to `{granted.deletion.value}`"
