"""A page of the documentation, as far as the tests read it: headings, fenced blocks, links and code spans."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.support.root import ROOT

#: What stands, in the text right before a block, where no test runs it.
MARK = "*Not run by us.*"

_FENCE = re.compile(r"^( *)(```+)(\w*)\s*$")
_ORDERS = re.compile(r"^ *<!-- run: (.*?) *-->$")
_HEADING = re.compile(r"^#{1,6} (.+)$")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. `orders` say how it is run: `<!-- run: at=HOST until -->` on the line before it."""

    page: str
    line: int
    heading: str
    language: str
    text: str
    orders: Mapping[str, str] = field(default_factory=dict)
    #: Whether the text before it says that it is not run.
    marked: bool = False

    @property
    def first(self) -> str:
        """Its first line that is no comment."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        return next((line for line in lines if not line.startswith("#")), lines[0])

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Page:
    """One file, by its name from the root of the repository."""

    name: str
    text: str

    @classmethod
    def read(cls, name: str) -> Page:
        return cls(name, (ROOT / name).read_text())

    @property
    def blocks(self) -> list[Block]:
        """All fenced blocks in their order."""
        return list(self._blocks())

    @property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        kept, fence = [], ""
        for line in self.text.splitlines():
            found = _FENCE.match(line)
            if found and not fence:
                fence = found[2]
            elif fence:
                fence = "" if line.strip() == fence else fence
            else:
                kept.append(line)
        return "\n".join(kept)

    @property
    def links(self) -> list[str]:
        """Where its links lead."""
        return _LINK.findall(_SPAN.sub("", self.prose))

    @property
    def spans(self) -> list[str]:
        """Its code spans, each on one line."""
        paragraphs = re.split(r"\n\s*\n", self.prose)
        return [" ".join(span.split()) for text in paragraphs for span in _SPAN.findall(text)]

    @property
    def anchors(self) -> set[str]:
        """What a link may name after `#`."""
        headings = [found[1] for line in self.prose.splitlines() if (found := _HEADING.match(line))]
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

    def section(self, heading: str) -> str:
        """The text below a heading of the second level, up to the next one."""
        _, found, rest = f"\n{self.text}".partition(f"\n## {heading}\n")
        assert found, f"{self.name} has no section {heading!r}"
        return rest.partition("\n## ")[0]

    def _blocks(self) -> Iterator[Block]:
        heading, before, orders, opened = "", "", "", None
        for number, line in enumerate(self.text.splitlines(), start=1):
            fence = _FENCE.match(line)
            if opened is None and fence:
                opened, start, inside = fence, number, list[str]()
            elif opened is not None and line.strip() == opened[2]:
                yield Block(
                    self.name,
                    start,
                    heading,
                    opened[3],
                    "\n".join(each.removeprefix(opened[1]) for each in inside) + "\n",
                    _orders(orders),
                    before.endswith(MARK),
                )
                opened, before, orders = None, "", ""
            elif opened is not None:
                inside.append(line)
            elif found := _ORDERS.match(line):
                orders = found[1]
            elif line.strip():
                before, orders = line.rstrip(), ""
                titled = _HEADING.match(line)
                heading = titled[1] if titled else heading


def pages() -> list[Page]:
    """The README and everything in docs/ and below."""
    names = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
    return [Page.read(name) for name in names]


def _orders(text: str) -> dict[str, str]:
    return {name: value for name, _, value in (word.partition("=") for word in text.split())}
