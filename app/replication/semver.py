"""Semantic versions as tags spell them, and ranges of them (https://semver.org, precedence: section 11)."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import total_ordering

_IDENTIFIERS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_NUMBER = r"[0-9]{1,18}"

#: A single number is no version: dates, build numbers and short commit ids look the same. A `+` cannot be in a tag;
#: Helm writes `_` for it.
_VERSION = re.compile(
    rf"v?({_NUMBER})\.({_NUMBER})(?:\.({_NUMBER}))?(?:-({_IDENTIFIERS}))?(?:[+_]{_IDENTIFIERS})?", re.ASCII
)

#: What an operator compares with: `1`, `1.2`, `1.2.x`, `1.2.3-rc.1`, `*`.
_PART = rf"(?:{_NUMBER}|[xX*])"
_OPERAND = re.compile(rf"v?({_PART})(?:\.({_PART}))?(?:\.({_PART}))?(?:-({_IDENTIFIERS}))?", re.ASCII)
_COMPARATOR = re.compile(r"[\s,]*(>=|<=|[<>=~^]?)\s*([^\s,<>=~^]+)")

#: Sorts before everything that is released or about to be under the same three numbers.
_LOWEST = "0"

_COMPARE: dict[str, Callable[[Version, Version], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}


class InvalidRange(ValueError):
    """What is no range of versions."""


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """Three numbers, and the identifiers of a pre-release; compared by precedence; build metadata does not count."""

    numbers: tuple[int, int, int]
    prerelease: str = ""

    @classmethod
    def of(cls, tag: str) -> Version | None:
        """The version that the tag names, with or without `v` and with two numbers or three; None for any other tag."""
        match = _VERSION.fullmatch(tag)
        if match is None:
            return None
        return cls((int(match[1]), int(match[2]), int(match[3] or 0)), match[4] or "")

    def _key(self) -> tuple[tuple[int, int, int], bool, tuple[tuple[bool, int, str], ...]]:
        identifiers = self.prerelease.split(".") if self.prerelease else []
        keys = tuple((not each.isdigit(), int(each) if each.isdigit() else 0, each) for each in identifiers)
        # Leading zeros make no other number.
        return self.numbers, not identifiers, tuple((text, number, each * text) for text, number, each in keys)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._key() == other._key()

    def __lt__(self, other: Version) -> bool:
        return self._key() < other._key()

    def __hash__(self) -> int:
        return hash(self._key())


@dataclass(frozen=True, slots=True)
class _Operand:
    """A version of which the last numbers may be left open; `given` counts those that are not."""

    numbers: tuple[int, int, int]
    given: int
    prerelease: str

    @classmethod
    def parse(cls, text: str) -> _Operand:
        match = _OPERAND.fullmatch(text)
        if match is None:
            raise InvalidRange(f"{text!r} is no version: write 1, 1.2, 1.2.3, 1.2.x or 1.2.3-rc.1")
        given: list[int] = []
        for part in match.group(1, 2, 3):
            if part is None or not part.isdigit():
                break
            given.append(int(part))
        if any(part is not None and part.isdigit() for part in match.group(1, 2, 3)[len(given) :]):
            raise InvalidRange(f"{text!r} names a number behind one that it leaves open")
        numbers = (*given, 0, 0, 0)[:3]
        return cls((numbers[0], numbers[1], numbers[2]), len(given), match[4] or "")

    @property
    def exact(self) -> bool:
        return self.given == 3 or bool(self.prerelease)

    @property
    def lowest(self) -> Version:
        return Version(self.numbers, self.prerelease)

    def before(self) -> Version:
        """What lies below is below all that this names, its pre-releases with it."""
        return Version(self.numbers, self.prerelease or _LOWEST)

    def next(self, given: int) -> Version:
        """The lowest version of which the first `given` numbers, at least one, are higher."""
        raised = [*self.numbers[: given - 1], self.numbers[given - 1] + 1, 0, 0]
        return Version((raised[0], raised[1], raised[2]), _LOWEST)


@dataclass(frozen=True, slots=True)
class _Alternative:
    bounds: tuple[tuple[str, Version], ...]
    prereleases: bool

    def covers(self, version: Version) -> bool:
        if version.prerelease and not self.prereleases:
            return False
        return all(_COMPARE[sign](version, bound) for sign, bound in self.bounds)


@dataclass(frozen=True, slots=True)
class Range:
    """`>=1.2 <2`, `^1.2`, `~1.2.3`, `1.x`, and several of these joined by `||`; as npm and Helm read them.

    Comparators beside each other all hold. Pre-releases (`1.4.0-rc.1`, and what looks like one: `1.4.0-alpine`) are
    covered only where the range itself names one: `>=1.2-0 <2` covers them, but no `2.0.0-rc.1`.

    Raises:
        InvalidRange: at construction.
    """

    text: str
    _alternatives: tuple[_Alternative, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_alternatives", tuple(_alternative(part) for part in self.text.split("||")))

    def covers(self, version: Version) -> bool:
        return any(alternative.covers(version) for alternative in self._alternatives)


def _alternative(text: str) -> _Alternative:
    bounds: list[tuple[str, Version]] = []
    prereleases, place, end = False, 0, len(text.rstrip(" \t,"))
    while place < end:
        match = _COMPARATOR.match(text, place)
        if match is None:
            raise InvalidRange(f"{text[place:].strip()!r} is no range of versions: write >=1.2 <2, ^1.2, ~1.2 or 1.x")
        operand = _Operand.parse(match[2])
        bounds += _bounds(match[1], operand)
        prereleases |= bool(operand.prerelease)
        place = match.end()
    if not text.strip(" \t,"):
        raise InvalidRange("an empty range covers nothing: write >=1.2 <2, ^1.2, ~1.2, 1.x or *")
    return _Alternative(tuple(bounds), prereleases)


def _bounds(sign: str, operand: _Operand) -> Iterator[tuple[str, Version]]:
    if not operand.given:
        if sign in {"<", ">"}:
            raise InvalidRange(f"nothing is {sign} any version")
        return
    if sign in {"", "="}:
        if operand.exact:
            yield "=", operand.lowest
            return
        yield ">=", operand.lowest
        yield "<", operand.next(operand.given)
    elif sign == ">=":
        yield ">=", operand.lowest
    elif sign == ">":
        yield (">", operand.lowest) if operand.exact else (">=", Version(operand.next(operand.given).numbers))
    elif sign == "<":
        yield "<", operand.before()
    elif sign == "<=":
        yield ("<=", operand.lowest) if operand.exact else ("<", operand.next(operand.given))
    else:
        yield ">=", operand.lowest
        yield "<", operand.next(min(operand.given, 2) if sign == "~" else _caret(operand))


def _caret(operand: _Operand) -> int:
    """How many numbers `^` holds fast: up to the first that is not 0, or as many as are given."""
    leading = next((place for place, number in enumerate(operand.numbers, 1) if number), 3)
    return min(leading, operand.given)
