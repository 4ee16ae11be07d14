"""Text for people: sizes, times, tables."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import zip_longest

import click

from app.visible import visible

#: Characters of the widest column below which it is not narrowed: the rows are shown one below the other then.
NARROWEST = 24

_GAP = "  "

#: What a column says that tells nothing.
_NOTHING = frozenset({"-", "0", "0 B"})


def number(count: int, one: str, several: str | None = None) -> str:
    """So many of a thing: 1 repository, 2 repositories."""
    return f"{count} {one if count == 1 else several or f'{one}s'}"


def repositories(count: int) -> str:
    """So many repositories."""
    return number(count, "repository", "repositories")


def short(digest: str | None) -> str:
    """A digest cut to what tells two apart."""
    return digest[:19] if digest else "-"


def scope_text(repositories: Sequence[str], tags: Sequence[str], capacity: int | None) -> str:
    """What a site replicates, for people."""
    told = [f"repositories {' '.join(repositories) or 'all'}", f"tags {' '.join(tags) or 'all'}"]
    return ", ".join([*told, f"at most {capacity} repositories at once"] if capacity else told)


def screen() -> int | None:
    """Columns of the terminal that standard output is; None where it is none, and lines may be as long as they are."""
    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else None


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Aligned columns, their headings dimmed. What is too wide for the terminal is fitted: empty columns go, the
    widest is wrapped where that is enough, else each row is a block. Elsewhere every row is one line, for `grep`."""
    click.echo("\n".join(table(headings, rows)))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of that."""
    return _fitted(headings, [[cell_text(cell) for cell in row] for row in rows], screen())


def _fitted(headings: Sequence[str], cells: Sequence[Sequence[str]], columns: int | None) -> list[str]:
    widths = _widths(headings, cells)
    if columns is not None and _across(widths) > columns:
        headings, cells = _telling(headings, cells)
        widths = _widths(headings, cells)
        widest = max(range(len(widths)), key=lambda column: widths[column])
        narrowed = widths[widest] - max(0, _across(widths) - columns)
        if narrowed < min(NARROWEST, widths[widest]):
            return _blocks(headings, cells, columns)
        widths[widest] = narrowed
    lines = [click.style(_row(headings, widths), dim=True)]
    for line in cells:
        lines += [_row(part, widths) for part in _wrapped(line, widths)]
    return lines


def _widths(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(line[column]) for line in [headings, *cells]) for column in range(len(headings))]


def _across(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _telling(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Only the columns in which anything stands, in any row."""
    kept = [at for at in range(len(headings)) if at == 0 or any(line[at] not in _NOTHING for line in cells)]
    return [headings[column] for column in kept], [[line[column] for column in kept] for line in cells]


def _wrapped(line: Sequence[str], widths: Sequence[int]) -> Iterator[list[str]]:
    parts = [
        [cell] if len(cell) <= width else textwrap.wrap(cell, width, break_on_hyphens=False)
        for cell, width in zip(line, widths, strict=True)
    ]
    for row in zip_longest(*parts, fillvalue=""):
        yield list(row)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(text.ljust(width) for text, width in zip(cells, widths, strict=True)).rstrip()


def _blocks(headings: Sequence[str], cells: Sequence[Sequence[str]], columns: int) -> list[str]:
    """Each row as a block: what it is called, and below it a line for each column that says something."""
    width = max(len(heading) for heading in headings)
    margin = " " * (width + 2 * len(_GAP))
    lines: list[str] = []
    for row in cells:
        lines.append(click.style(row[0], bold=True))
        for heading, text in zip(headings[1:], row[1:], strict=True):
            if text == "-":
                continue
            room = max(NARROWEST, columns - len(margin))
            told = textwrap.wrap(text, room, break_on_hyphens=False, break_long_words=False) or [""]
            label = click.style(heading.lower().ljust(width), dim=True)
            lines.append(f"{_GAP}{label}{_GAP}" + f"\n{margin}".join(told))
    return lines


def paragraph(text: str, indent: str = "") -> str:
    """A sentence or two, broken between words on a terminal; elsewhere a line."""
    columns = screen()
    text = visible(text)
    if columns is None:
        return indent + text
    room = max(NARROWEST, columns)
    wrapper = textwrap.TextWrapper(room, indent, indent, break_long_words=False, break_on_hyphens=False)
    return wrapper.fill(text)


def cell_text(cell: object) -> str:
    """A cell of a table: a dash for nothing, local time for an instant; what a terminal would obey is written out."""
    if cell is None:
        return "-"
    if isinstance(cell, datetime):
        return cell.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return visible(str(cell))
