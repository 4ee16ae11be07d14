"""The report of a run: a table of what was measured against its limits, and plots."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from tests.benchmarks.report import number, percentile
from tests.soak.flat import Finding, Point
from tests.soak.measures import MIB, PEERS, Measure, Sample, connections, judged_part, measures
from tests.soak.svg import Line, Plot

#: Seconds below which a run still warms up when it is judged.
SHORT = 900.0

#: Seconds that one point of the plot of lags stands for.
BUNCH = 60.0

#: Faults of a verdict.
FAULTS = ("lost", "stuck", "wrongly_deleted", "wrongly_synced", "left")


@dataclass(frozen=True)
class Report:
    """Of what a run left in its directory."""

    run: Mapping[str, Any]
    samples: Sequence[Sample]

    @classmethod
    def read(cls, out: Path) -> Self:
        """Read `run.json` and `samples.jsonl`."""
        lines = (out / "samples.jsonl").read_text().splitlines()
        return cls(json.loads((out / "run.json").read_text()), [json.loads(line) for line in lines])

    @cached_property
    def judged(self) -> list[Sample]:
        return judged_part(self.samples)

    @cached_property
    def measured(self) -> list[tuple[Measure, Finding]]:
        """Everything that has a limit, and whether it holds."""
        plan = self.run["plan"]
        short, forgotten = plan["seconds"] < SHORT, "GEO_KEEP_EVENTS" in plan.get("settings", {})
        return [(each, each.judged()) for each in measures(self.judged, short=short, forgotten=forgotten)]

    @property
    def faults(self) -> list[str]:
        """What the verdict found."""
        verdict = self.run["verdict"]
        return [f"{kind.replace('_', ' ')}: {each}" for kind in FAULTS for each in verdict[kind]]

    @property
    def broken(self) -> list[Finding]:
        """Limits that do not hold."""
        return [finding for _, finding in self.measured if not finding.holds]

    @property
    def good(self) -> bool:
        return not self.faults and not self.broken

    def lags(self, samples: Sequence[Sample]) -> list[float]:
        """Seconds from the event of each push until the secondary served it, as the product counted them."""
        return [lag for sample in samples for lag in sample.get("lags", ())]

    def summary(self) -> str:
        """Lines for a terminal."""
        lines = [f"{len(self.measured)} measures, {len(self.broken)} beyond their limits, {len(self.faults)} faults"]
        lines += [f"  {finding.name}: {finding.kind} {finding.why} {finding.unit}" for finding in self.broken]
        return "\n".join([*lines, *(f"  {fault}" for fault in self.faults[:20])])

    def write(self, out: Path) -> None:
        """Write `soak.md` and the plots beside it."""
        (out / "soak.md").write_text(self.markdown())
        for name, plot in self.plots().items():
            (out / f"soak-{name}.svg").write_text(plot.svg())

    def markdown(self) -> str:
        """The tables of docs/reliability.md."""
        return "\n".join([*self._done(), "", *self._limits(), "", self._facts(), ""])

    def plots(self) -> dict[str, Plot]:
        """By the names of their files."""
        marks = [float(at) for at, _ in self.run["faults"]]
        judged = (self.judged[0]["t"], self.judged[-1]["t"]) if self.judged else None

        def plot(title: str, unit: str, lines: Sequence[Line], *, logarithmic: bool = False) -> Plot:
            return Plot(title, unit, [line for line in lines if line.points], marks, judged, logarithmic)

        workers = [
            ("secondary", "worker"),
            ("secondary", "scheduler"),
            ("secondary", "web"),
            ("primary", "web"),
            ("primary", "scheduler"),
            ("secondary", "valkey"),
        ]
        rows = [
            ("events", "geo_events"),
            ("attempts", "sync_attempts"),
            ("references", "container_repository_references"),
            ("counts of references", "geo_reference_counts"),
            ("values of metrics", "geo_metric_values"),
        ]
        return {
            "memory": plot(
                "Memory of a process (PSS)",
                "MiB",
                [Line(f"{site}: {kind}", self._mean(site, kind, "pss", MIB)) for site, kind in workers],
            ),
            "handles": plot(
                "Open files and threads of a process",
                "",
                [
                    *(Line(f"{site}: {kind}, files", self._mean(site, kind, "fds")) for site, kind in workers[:4]),
                    *(
                        Line(f"{site}: {kind}, threads", self._mean(site, kind, "threads"))
                        for site, kind in workers[:3]
                    ),
                ],
            ),
            "connections": plot("Connections", "", [Line(f"to {peer}", self._connections(peer)) for peer in PEERS]),
            "tables": plot(
                "Rows of the site's database",
                "",
                [
                    *(Line(name, self._points("tables", "secondary", table)) for name, table in rows),
                    Line("tags on the primary", self._points("done", "there")),
                ],
            ),
            "stores": plot(
                "Databases and spool",
                "MiB",
                [
                    Line(name, self._points("bytes", name, divided=MIB))
                    for name in ("primary database", "secondary database", "secondary spool")
                ],
            ),
            "lag": plot("From push to being there, by the minute", "s", [*self._lag_lines()], logarithmic=True),
            "backlog": plot(
                "What waits",
                "",
                [
                    Line("repositories not in order", self._points("backlog")),
                    Line("events not heard of", self._unheard()),
                    Line("repositories not verified", self._points("unverified")),
                ],
            ),
        }

    def _done(self) -> list[str]:
        done, run = self.run["done"], self.run
        looked = run["verdict"]["looked"]
        faults = Counter(name for _, name in run["faults"])
        first, second = self.samples[: len(self.samples) - len(self.judged)], self.judged
        rows = [
            (
                "time of pushes and faults",
                f"{run['worked_seconds'] / 60:.0f} minutes, then {run['plan']['quiet']:.0f} s quiet",
            ),
            ("pushes", f"{done['pushes']:,}, of them {_kinds(done)}"),
            ("tags deleted", f"{done.get('deletions', 0):,}"),
            (
                "events, blobs, bytes",
                f"{done['events']:,}, {done['blobs']:,}, {done['bytes'] / 1e6:,.0f} MB",
            ),
            (
                "faults",
                f"{sum(faults.values())}: {', '.join(f'{name} ({count})' for name, count in sorted(faults.items()))}",
            ),
            ("lag p50 / p99, first half", self._percentiles(first)),
            ("lag p50 / p99, second half", self._percentiles(second)),
            ("in order after the last push", f"{run['settled_after']:.1f} s"),
            ("processor time of everything", f"{run['processors']:.2f} processors on average"),
            (
                "read back and compared",
                f"{looked['repositories']} repositories, {looked['tags']} tags, {looked['manifests']:,} manifests,"
                f" {looked['blobs']:,} blobs, {looked['bytes'] / 1e6:,.0f} MB on each side",
            ),
            (
                "lost, stuck, wrongly deleted, wrongly synced, left over",
                ", ".join(str(len(run["verdict"][k])) for k in FAULTS),
            ),
        ]
        return ["| what | figure |", "| --- | --- |", *(f"| {name} | {figure} |" for name, figure in rows)]

    def _limits(self) -> list[str]:
        lines = ["| measure | unit | median | most | change | limit | |", "| --- | --- | --- | --- | --- | --- | --- |"]
        still = 0
        for _, finding in self.measured:
            if finding.holds and finding.measured == 0:
                still += 1
                continue
            unit = finding.unit or "-"
            lines.append(
                f"| {finding.name} | {unit} | {number(finding.typical)} | {number(finding.most)} | {_change(finding)}"
                f" | {_limit(finding)} | {'holds' if finding.holds else 'broken'} |"
            )
        return [*lines, f"| {still} further measures | - | | | 0 | | hold |"]

    def _facts(self) -> str:
        run = self.run
        machine, versions = run["machine"], run["versions"]
        return (
            f"{run['date'][:10]}, commit {run['commit']}, seed {run['plan']['seed']}; {machine['cpus']} processors"
            f" ({machine['processor']}), {machine['memory_gib']} GiB of memory, {machine['kernel']};"
            f" {', '.join(f'{name} {version}' for name, version in versions.items())}."
        )

    def _percentiles(self, samples: Sequence[Sample]) -> str:
        lags = self.lags(samples)
        if not lags:
            return "-"
        return f"{percentile(lags, 0.5):.2f} / {percentile(lags, 0.99):.2f} s ({len(lags)} tags)"

    def _mean(self, site: str, kind: str, figure: str, divided: float = 1.0) -> list[Point]:
        """Of a process of a kind, where there are several."""
        found = []
        for sample in self.samples:
            values = [each[figure] for each in sample["processes"] if (each["site"], each["kind"]) == (site, kind)]
            if values:
                found.append((float(sample["t"]), sum(values) / len(values) / divided))
        return found

    def _points(self, *path: str, divided: float = 1.0) -> list[Point]:
        found = []
        for sample in self.samples:
            value: Any = sample
            for name in path:
                value = value.get(name) if isinstance(value, Mapping) else None
            if value is not None:
                found.append((float(sample["t"]), value / divided))
        return found

    def _connections(self, peer: str) -> list[Point]:
        return [(float(sample["t"]), connections(sample, peer)) for sample in self.samples]

    def _unheard(self) -> list[Point]:
        return [
            (float(sample["t"]), float(max(0, sample["newest_event"] - sample["heard"])))
            for sample in self.samples
            if "newest_event" in sample and "heard" in sample
        ]

    def _lag_lines(self) -> list[Line]:
        bunches: dict[int, list[float]] = defaultdict(list)
        for sample in self.samples:
            bunches[int(sample["t"] // BUNCH)] += sample.get("lags", ())
        middle = [((place + 0.5) * BUNCH, lags) for place, lags in sorted(bunches.items()) if lags]
        return [
            Line(name, [(at, percentile(lags, share)) for at, lags in middle])
            for name, share in (("p50", 0.5), ("p99", 0.99))
        ]


def _kinds(done: Mapping[str, int]) -> str:
    named = {
        "moved": "moved tags",
        "release": "new tags",
        "index": "indexes of two platforms",
        "medium": "of medium layers",
        "large": "of large layers",
        "digest": "by digest alone",
    }
    return ", ".join(f"{done[kind]} {name}" for kind, name in named.items() if done.get(kind))


def _change(finding: Finding) -> str:
    if finding.kind == "each":
        return f"{number(finding.measured)} each"
    if finding.kind == "at most":
        return ""
    return f"{'+' if finding.measured > 0 else ''}{number(finding.measured)}"


def _limit(finding: Finding) -> str:
    if finding.kind == "each":
        return f"{finding.allowed:g} each"
    if finding.kind == "at most":
        return f"at most {finding.allowed:g}"
    return f"+{number(finding.allowed)}" if finding.kind == "rise" else finding.why
