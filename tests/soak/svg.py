"""Plots as SVG: lines over time, in colours that can be read on a light page and on a dark one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from tests.soak.flat import Point, thinned

WIDTH, HEIGHT = 860, 300

#: Room beside the plot: left for the numbers, above for the title, below for the times, right for the names.
LEFT, TOP, BELOW, RIGHT = 62, 34, 30, 214

#: Neither of the two backgrounds swallows one of these.
COLOURS = ("#3b82f6", "#e0703a", "#2da44e", "#a371f7", "#b07d16", "#db61a2", "#1b9aaa", "#8b949e")
TEXT, GRID = "#737b85", "#737b8540"

#: So many points of a line; more cannot be told apart.
POINTS = 300

#: What a logarithmic scale begins with.
LEAST = 0.01


@dataclass(frozen=True, slots=True)
class Line:
    """One thing over time, x in seconds. A gap in time longer than `GAP` breaks it."""

    name: str
    points: Sequence[Point]


#: Seconds.
GAP = 60.0


@dataclass(frozen=True, slots=True)
class Plot:
    """`svg` is the whole file. `marks` are moments at which something happened."""

    title: str
    unit: str
    lines: Sequence[Line]
    marks: Sequence[float] = ()
    #: From here to there is what is judged.
    judged: tuple[float, float] | None = None
    logarithmic: bool = False

    def svg(self) -> str:
        """The document."""
        ends = max((x for line in self.lines for x, _ in line.points), default=1.0) or 1.0
        top = self._top()
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'font-family="system-ui, sans-serif" font-size="12" fill="{TEXT}">',
            f"<title>{escape(self.title)}</title>",
            f'<text x="{LEFT}" y="18" font-size="14" font-weight="600">{escape(self.title)}'
            f"{escape(f' ({self.unit})') if self.unit else ''}</text>",
            *self._back(ends),
            *self._rows(top),
            *self._columns(ends),
        ]
        for place, line in enumerate(self.lines):
            parts += self._line(place, line, ends, top)
        return "\n".join([*parts, "</svg>", ""])

    def _top(self) -> float:
        most = max((value for line in self.lines for _, value in line.points), default=1.0)
        return float(10 ** math.ceil(math.log10(max(most, 1.0)))) if self.logarithmic else rounded_up(most)

    def _x(self, seconds: float, ends: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * seconds / ends, 1)

    def _y(self, value: float, top: float) -> float:
        share = value / top
        if self.logarithmic:
            share = math.log10(max(value, LEAST) / LEAST) / math.log10(top / LEAST)
        return round(HEIGHT - BELOW - (HEIGHT - BELOW - TOP) * max(0.0, share), 1)

    def _back(self, ends: float) -> list[str]:
        parts = []
        if self.judged is not None:
            begin, end = (self._x(each, ends) for each in self.judged)
            parts.append(
                f'<rect x="{begin}" y="{TOP}" width="{round(end - begin, 1)}" height="{HEIGHT - BELOW - TOP}" '
                f'fill="{TEXT}" fill-opacity="0.08"><title>judged</title></rect>'
            )
        for mark in self.marks:
            x = self._x(mark, ends)
            parts.append(f'<path d="M{x} {HEIGHT - BELOW}v-6" stroke="{COLOURS[5]}" stroke-width="1.5"/>')
        return parts

    def _rows(self, top: float) -> list[str]:
        parts = []
        for value in self._steps(top):
            y = self._y(value, top)
            parts.append(f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{value:g}</text>')
        return parts

    def _steps(self, top: float) -> list[float]:
        if self.logarithmic:
            return [10.0**power for power in range(round(math.log10(LEAST)), round(math.log10(top)) + 1)]
        return [top * step / 4 for step in range(5)]

    def _columns(self, ends: float) -> list[str]:
        minutes = rounded_up(ends / 60 / 6)
        parts, at = [], 0.0
        while at * 60 <= ends:
            x = self._x(at * 60, ends)
            parts.append(f'<text x="{x}" y="{HEIGHT - BELOW + 18}" text-anchor="middle">{at:g}</text>')
            at += minutes
        return [*parts, f'<text x="{WIDTH - RIGHT + 12}" y="{HEIGHT - BELOW + 18}">minutes</text>']

    def _line(self, place: int, line: Line, ends: float, top: float) -> list[str]:
        colour = COLOURS[place % len(COLOURS)]
        path, last = [], float("-inf")
        for x, value in thinned(line.points, POINTS):
            path.append(f"{'M' if x - last > max(GAP, ends / 40) else 'L'}{self._x(x, ends)} {self._y(value, top)}")
            last = x
        y = TOP + 10 + 18 * place
        return [
            f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="1.6" stroke-linejoin="round"/>',
            f'<path d="M{WIDTH - RIGHT + 12} {y - 4}h14" stroke="{colour}" stroke-width="3"/>',
            f'<text x="{WIDTH - RIGHT + 32}" y="{y}">{escape(line.name)}</text>',
        ]


def rounded_up(value: float) -> float:
    """The least of 1, 2, 2.5, 4, 5, 6, 8, 10 and their powers of ten that is not below it."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 4, 5, 6, 8, 10) if step * power >= value * (1 - 1e-9))
