"""The report: medians, spread, ratios and aims, as a table and as Markdown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

OURS = "ours"

#: Stands for the fastest of the peers where an aim names what it is compared with.
BEST = "the best peer"

#: Stands for the fastest of those that run as they come, skopeo among them, which takes no such options.
AS_IT_COMES = "the best peer at its defaults"

#: What is no tool but a yardstick.
YARDSTICKS = ("least", "small repository", "10,000 references", "one site")

#: Tools in the order of the columns.
TOOLS = (OURS, "skopeo", "crane-defaults", "regsync-defaults", "crane", "regsync", *YARDSTICKS)
PLAIN = TOOLS[1:4]


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest value that at least `share` of all do not exceed.

    Raises:
        ValueError: without values, or for a share that is not above 0 and at most 1.
    """
    if not values or not 0 < share <= 1:
        raise ValueError("a percentile needs values and a share above 0 and at most 1")
    return sorted(values)[math.ceil(share * len(values)) - 1]


@dataclass(frozen=True, slots=True)
class Aim:
    """What our median should be, compared with the median of `than`; with `faster`, at least so many times smaller,
    else at most so many times as large. Without `than`, `factor` is the limit itself."""

    factor: float
    than: str | None = None
    faster: bool = True

    def __str__(self) -> str:
        if self.than is None:
            return f"at most {self.factor:g}"
        return f"{self.factor:g} x {self.than}" if self.faster else f"at most {self.factor:g} x {self.than}"

    def ratio(self, medians: Mapping[str, float]) -> float | None:
        """How we did, to be compared with `factor`; None where one side is missing."""
        ours, theirs = medians.get(OURS), self._theirs(medians)
        if ours is None or theirs is None or not ours or not theirs:
            return None
        return theirs / ours if self.than is not None and self.faster else ours / theirs

    def met(self, medians: Mapping[str, float]) -> bool | None:
        ratio = self.ratio(medians)
        if ratio is None:
            return None
        return ratio >= self.factor if self.than is not None and self.faster else ratio <= self.factor

    def _theirs(self, medians: Mapping[str, float]) -> float | None:
        if self.than is None:
            return 1.0
        if self.than == BEST:
            peers = [value for tool, value in medians.items() if tool != OURS and tool not in YARDSTICKS]
            return min(peers, default=None)
        if self.than == AS_IT_COMES:
            return min((value for tool, value in medians.items() if tool in PLAIN), default=None)
        return medians.get(self.than)


@dataclass(slots=True)
class Row:
    """One line of the table: the values of each tool, one for each run that succeeded."""

    scenario: str
    title: str
    unit: str
    values: dict[str, list[float]]
    aims: list[Aim] = field(default_factory=list)
    #: Runs that did not succeed, by tool: why.
    failures: dict[str, list[str]] = field(default_factory=dict)
    #: Show p99 beside the median.
    tail: bool = False

    @property
    def medians(self) -> dict[str, float]:
        """By tool, of those that failed in less than half of their runs."""
        return {
            tool: statistics.median(values)
            for tool, values in self.values.items()
            if values and len(values) > len(self.failures.get(tool, []))
        }

    @property
    def tools(self) -> list[str]:
        known = {**self.values, **self.failures}
        return [tool for tool in TOOLS if tool in known] + sorted(known.keys() - set(TOOLS))

    def cell(self, tool: str) -> str:
        """The tool's median and spread, or why there is none."""
        values, failures = self.values.get(tool, []), self.failures.get(tool, [])
        if tool not in self.medians:
            return failures[0] if failures else "-"
        text = number(self.medians[tool])
        if self.tail:
            text += f" / {number(percentile(values, 0.99))}"
        elif len(values) > 1:
            text += f" ({number(min(values))}-{number(max(values))})"
        return f"{text}, {len(failures)} failed" if failures else text

    def verdicts(self) -> list[str]:
        """How we did against each aim: `3.21 x the best peer (aim 1.5): met`."""
        medians = self.medians
        found = []
        for aim in self.aims:
            ratio, met = aim.ratio(medians), aim.met(medians)
            if ratio is None:
                continue
            name = f" x {aim.than}" if aim.than is not None else f" {self.unit}"
            word = "met" if met else "missed"
            found.append(
                f"{number(ratio)}{name} ({'aim' if aim.faster and aim.than else 'limit'} {aim.factor:g}): {word}"
            )
        return found

    def document(self) -> dict[str, Any]:
        """For JSON; `Row.load` reads it."""
        medians = self.medians
        return {
            "scenario": self.scenario,
            "title": self.title,
            "unit": self.unit,
            "tail": self.tail,
            "values": self.values,
            "failures": self.failures,
            "summary": {tool: _summary(values) for tool, values in self.values.items() if values},
            "aims": [
                {
                    "factor": aim.factor,
                    "than": aim.than,
                    "faster": aim.faster,
                    "ratio": aim.ratio(medians),
                    "met": aim.met(medians),
                }
                for aim in self.aims
            ],
        }

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Self:
        return cls(
            document["scenario"],
            document["title"],
            document["unit"],
            {tool: list(values) for tool, values in document["values"].items()},
            [Aim(aim["factor"], aim["than"], aim["faster"]) for aim in document["aims"]],
            {tool: list(why) for tool, why in document["failures"].items()},
            document["tail"],
        )


def table(rows: Sequence[Row]) -> str:
    """For a terminal: a block of lines for each row."""
    lines = []
    for row in rows:
        lines.append(f"{row.title} [{row.unit}{', p50 / p99' if row.tail else ''}]")
        width = max((len(tool) for tool in row.tools), default=0)
        lines += [f"    {tool:{width}}  {row.cell(tool)}" for tool in row.tools]
        lines += [f"    -> {verdict}" for verdict in row.verdicts()]
    return "\n".join(lines)


def markdown(document: Mapping[str, Any]) -> str:
    """The figures of a JSON report as they stand in docs/performance.md."""
    rows = [Row.load(row) for row in document["rows"]]
    tools = [tool for tool in TOOLS if tool not in YARDSTICKS and any(tool in row.tools for row in rows)]
    head = ["scenario", "unit", *tools, "we are at"]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in rows:
        cells = [row.cell(tool) if tool in row.tools else "" for tool in tools]
        name = f"{row.title} (p50 / p99)" if row.tail else row.title
        yardsticks = [f"{tool}: {row.cell(tool)}" for tool in YARDSTICKS if tool in row.tools]
        lines.append(_line([name, row.unit, *cells, "; ".join([*row.verdicts(), *yardsticks])]))
    machine = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    storage = "in memory" if document["storage_in_memory"] else "on disk"
    facts = (
        f"{document['date'][:10]}, commit {document['commit']}, {document['options']['rounds']} rounds;"
        f" {machine['cpus']} processors ({machine['processor']}), {machine['memory_gib']} GiB of memory,"
        f" {machine['kernel']}; registries' storage {storage}; {versions}."
    )
    return "\n".join([*lines, "", facts])


def number(value: float) -> str:
    """Three significant digits, and no more than that many."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{places}f}"


def _summary(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": statistics.median(values),
        "p99": percentile(values, 0.99),
        "min": min(values),
        "max": max(values),
        "count": len(values),
    }


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
