"""Which tags are replicated: allow and deny patterns over tags, beside those over repository paths."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Protocol

from app.models import Site
from app.registry import is_digest
from app.replication.policy import InvalidTagPattern, TagPatterns
from app.replication.semver import Range, Version

#: Marks a pattern that is a range of versions.
SEMVER = "semver:"

#: What is attached to an image, by cosign's names (`sha256-….sig`, `.att`, `.sbom`) or the specification's own
#: (`sha256-…`, OCI distribution specification, "Referrers Tag Schema").
_ATTACHED = re.compile(r"sha(256|512)-[0-9a-f]{64}(\.[A-Za-z0-9_.-]+)?")


class _Matcher(Protocol):
    def __call__(self, tag: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class TagScope:
    """`v1.*` a glob, `regex:v[0-9]+` the whole tag, `semver:>=1.2 <2` a range, `!nightly` not these; the last decides.

    Without patterns, or with deny patterns alone, everything else is in scope. What is attached to an image has a tag
    made from the image's digest, and belongs to it: such tags are in scope unless a deny pattern names them.

    Raises:
        InvalidTagPattern, InvalidRange: at construction; both are ValueError.
    """

    patterns: tuple[str, ...] = ()
    #: What limits this one: a tag is in scope when both cover it.
    within: TagScope | None = None
    _rules: tuple[tuple[bool, _Matcher], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for each in self.patterns:
            if len(each.splitlines()) != 1:
                # They are stored a line each.
                raise InvalidTagPattern(f"{each!r} is not one line")
        rules = tuple((not each.startswith("!"), _matcher(each.removeprefix("!"))) for each in self.patterns)
        object.__setattr__(self, "_rules", rules)

    @classmethod
    def of(cls, site: Site) -> TagScope:
        """As the site's row has it, within what the primary's deployment grants."""
        granted = tuple(site.granted_tags.splitlines())
        return cls(tuple(site.tags.splitlines()), cls(granted) if granted else None)

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return not self.patterns and (self.within is None or self.within.everything)

    def covers(self, name: str) -> bool:
        """Whether the tag is in scope. Digests are: which of those pushed without a tag are copied, `takes_digest` says
        once it is known what they are."""
        if self.everything or is_digest(name):
            return True
        if self.within is not None and not self.within.covers(name):
            return False
        allowed = _ATTACHED.fullmatch(name) is not None or not any(allows for allows, _ in self._rules)
        for allows, matches in self._rules:
            if matches(name):
                allowed = allows
        return allowed

    def takes_digest(self, attached: bool) -> bool:
        """Whether a manifest that was pushed by its digest alone is copied for itself.

        Where tags are left out it is only if it is `attached` to another (has a subject): any other may be part of an
        image that is left out, and comes with those that are not.
        """
        return self.everything or attached


def _matcher(pattern: str) -> _Matcher:
    if pattern.startswith(SEMVER):
        versions = Range(pattern.removeprefix(SEMVER))
        return lambda tag: (version := Version.of(tag)) is not None and versions.covers(version)
    globs = TagPatterns((pattern,))
    return lambda tag: globs.match(tag) is not None
