"""Which repositories are replicated: allow and deny patterns over repository paths."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from app.models import Site
from app.registry import is_repository


class InvalidScope(ValueError):
    """A pattern that could never match a repository path."""


@dataclass(frozen=True, slots=True)
class Scope:
    """`team/*` one path component, `team/**` any number, `!team/secret` not this one; the last match decides.

    Without patterns, or with deny patterns alone, everything else is in scope. Patterns without wildcards name
    repositories, and are the list of them where a registry has no catalog.
    """

    patterns: tuple[str, ...] = ()
    #: What limits this one: a path is in scope when both cover it.
    within: Scope | None = None

    def __post_init__(self) -> None:
        for pattern in self.patterns:
            probe = re.sub(r"\*+|\?", "x", pattern.removeprefix("!"))
            if not is_repository(probe):
                raise InvalidScope(f"{pattern!r} cannot match a repository path: use a/b, a/*, a/** or !a/b")

    @classmethod
    def of(cls, site: Site) -> Scope:
        """As the site's row has it, within what the primary's deployment grants."""
        granted = tuple(site.granted_repositories.splitlines())
        return cls(tuple(site.repositories.splitlines()), cls(granted) if granted else None)

    def covers(self, path: str) -> bool:
        if self.within is not None and not self.within.covers(path):
            return False
        allowed = not any(not p.startswith("!") for p in self.patterns)
        for pattern in self.patterns:
            if _matches(pattern.removeprefix("!"), path):
                allowed = not pattern.startswith("!")
        return allowed

    @property
    def is_list(self) -> bool:
        """Whether everything in scope is named: there is nothing to find."""
        positive = [p for p in self.patterns if not p.startswith("!")]
        named = bool(positive) and not any(set(p) & {"*", "?"} for p in positive)
        return named or (self.within is not None and self.within.is_list)

    @property
    def listed(self) -> Sequence[str]:
        """Repositories named without a wildcard, those denied left out."""
        patterns = self.patterns if self.within is None else dict.fromkeys([*self.patterns, *self.within.patterns])
        return [p for p in patterns if not set(p) & {"*", "?", "!"} and self.covers(p)]


def _matches(pattern: str, path: str) -> bool:
    expression = re.sub(
        r"\*\*|\*|\?|[^*?]+",
        lambda part: {"**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part.group(), re.escape(part.group())),
        pattern,
    )
    return re.fullmatch(expression, path) is not None
