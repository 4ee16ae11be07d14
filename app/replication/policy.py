"""The deletion policy: what becomes of something on a secondary that the primary does not have. Pure."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from app.registry import is_tag as is_tag_name
from app.settings import Deletion

#: Marks a protected pattern that is a regular expression; any other is a glob.
REGEX = "regex:"

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
