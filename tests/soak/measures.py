"""What is measured, from the samples of a run, and the limit of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.soak.flat import Ceiling, Finding, Limit, Point, Rate, Series, judge

Sample = Mapping[str, Any]

#: The judged part of a run: its second half, until pushing ends.
FROM = 0.5

MIB = 1024 * 1024

#: Processes of the product, by site and kind.
KINDS = (
    ("primary", "web"),
    ("primary", "web leader"),
    ("primary", "scheduler"),
    ("primary", "supervisor"),
    ("primary", "valkey"),
    ("secondary", "worker"),
    ("secondary", "worker leader"),
    ("secondary", "scheduler"),
    ("secondary", "web"),
    ("secondary", "web leader"),
    ("secondary", "supervisor"),
    ("secondary", "valkey"),
)

#: Tables that keep a row for each event or attempt until it is older than is kept (14 and 30 days), and rows of each
#: for each event.
KEPT = {
    ("primary", "geo_events"): 1.02,
    ("secondary", "geo_events"): 1.02,
    ("secondary", "sync_attempts"): 3.0,
    ("secondary", "container_repository_references"): 1.0,
}


@dataclass(frozen=True, slots=True)
class Measure:
    """A series and what it is held to."""

    group: str
    series: Series
    limit: Limit | Rate | Ceiling

    def judged(self) -> Finding:
        return judge(self.series, self.limit)


def judged_part(samples: Sequence[Sample]) -> list[Sample]:
    """The second half of the time in which there were pushes, with the faults in it."""
    busy = [sample for sample in samples if sample["phase"] in ("run", "fault")]
    ends = busy[-1]["t"] if busy else 0.0
    return [sample for sample in busy if sample["t"] >= FROM * ends]


def measures(samples: Sequence[Sample], *, short: bool) -> list[Measure]:
    """All of them, for these samples.

    :param short: a run of minutes, in which everything still warms up: it finds only what is gross.
    """
    made = _Maker(samples, 8.0 if short else 1.0)
    return [*made.processes(), *made.tables(), *made.stores(), *made.work()]


class _Maker:
    def __init__(self, samples: Sequence[Sample], slack: float) -> None:
        self.samples = samples
        self.slack = slack

    def processes(self) -> Iterable[Measure]:
        for site, kind in KINDS:
            name = f"{site}: {kind}"
            # A Valkey keeps where each blob can be mounted from: what that takes is held to the blobs.
            if kind != "valkey":
                yield self.of("memory", f"{name}, PSS", "MiB", self.lives(site, kind, "pss", MIB), 2.0, 0.04)
                yield self.of("memory", f"{name}, RSS", "MiB", self.lives(site, kind, "rss", MIB), 2.0, 0.04)
            yield self.of("handles", f"{name}, open files", "", self.lives(site, kind, "fds"), 2.0)
            yield self.of("handles", f"{name}, threads", "", self.lives(site, kind, "threads"), 1.0)
        yield self.of("connections", "all, TCP connections", "", self.one(_connections), 3.0, 0.1)
        for peer in ("primary registry", "secondary registry", "feed", "PostgreSQL"):
            series = self.one(lambda sample, peer=peer: _connections(sample, peer))
            yield self.of("connections", f"to {peer}", "", series, 2.0, 0.1)
        sessions = self.one(lambda sample: sum(sample["postgresql"].values()))
        yield self.of("connections", "PostgreSQL, sessions", "", sessions, 2.0, 0.1)
        stuck = self.one(lambda sample: sample["postgresql"].get("idle in transaction", 0))
        yield self.of("connections", "PostgreSQL, idle in transaction", "", stuck, 1.0)

    def tables(self) -> Iterable[Measure]:
        for site in ("primary", "secondary"):
            names = {name for sample in self.samples for name in sample["tables"].get(site, {})}
            for table in sorted(names):
                counted = self.table(site, table)
                title = f"{site}: {table}"
                if (site, table) in KEPT:
                    yield Measure("tables", self.series(title, "rows", (counted(_by_event),)), Rate(KEPT[site, table]))
                else:
                    # The counts of references are summed up at every 256th row, and so are those of repositories.
                    most = 300.0 if table.endswith("_counts") else 5.0
                    yield self.of("tables", title, "rows", (counted(_by_time),), most, 0.05)

    def stores(self) -> Iterable[Measure]:
        for site, most in (("primary", 4.0), ("secondary", 6.0)):
            stored = self.bytes_of(f"{site} database", _by_event)
            yield Measure("stores", self.series(f"{site}: database", "KiB", (stored,)), Rate(most))
        ahead = self.bytes_of("secondary write-ahead log", _by_time, MIB)
        yield Measure("stores", self.series("secondary: write-ahead log", "MiB", (ahead,)), Ceiling(32.0))
        spooled = self.bytes_of("secondary spool", _by_time, MIB)
        yield Measure("stores", self.series("secondary: spool", "MiB", (spooled,)), Ceiling(64.0))
        for site in ("primary", "secondary"):
            memory = self.points(lambda sample, site=site: sample["valkey"][site]["memory"] / 1024, _by_blob)
            yield Measure("stores", self.series(f"{site}: valkey, memory", "KiB", (memory,)), Rate(1.0))
            keys = self.points(lambda sample, site=site: sample["valkey"][site]["cache keys"], _by_blob)
            yield Measure("stores", self.series(f"{site}: valkey, keys of caches", "", (keys,)), Rate(1.0))
            others = self.one(lambda sample, site=site: sample["valkey"][site]["queue keys"])
            yield self.of("stores", f"{site}: valkey, keys of queues", "", others, 3.0)

    def work(self) -> Iterable[Measure]:
        for queue in ("events", "sync", "verification"):
            waiting = self.points(lambda sample, queue=queue: sample["queues"]["secondary"][queue], _by_time)
            # At most twice the threads of a queue are under way: two processes of four threads.
            yield Measure("work", self.series(f"queue {queue}", "messages", (waiting,)), Ceiling(17.0))
        backlog = self.points(lambda sample: sample["backlog"], _by_time)
        yield Measure("work", self.series("repositories not in order", "", (backlog,)), Limit(5.0))
        unverified = self.points(lambda sample: sample["unverified"], _by_time)
        yield Measure("work", self.series("repositories not verified", "", (unverified,)), Limit(10.0))

    def of(
        self,
        group: str,
        name: str,
        unit: str,
        lives: Sequence[Sequence[Point]],
        rise: float,
        share: float = 0.0,
    ) -> Measure:
        return Measure(group, self.series(name, unit, lives), Limit(rise * self.slack, min(0.5, share * self.slack)))

    def series(self, name: str, unit: str, lives: Sequence[Sequence[Point]]) -> Series:
        return Series(name, unit, tuple(tuple(life) for life in lives if life))

    def lives(self, site: str, kind: str, figure: str, divided: float = 1.0) -> list[list[Point]]:
        """Of each process of a kind its own."""
        found: dict[tuple[int, int], list[Point]] = defaultdict(list)
        for sample in self.samples:
            for each in sample["processes"]:
                if (each["site"], each["kind"]) == (site, kind):
                    found[each["pid"], each["born"]].append((sample["t"], each[figure] / divided))
        return list(found.values())

    def one(self, value: Callable[[Sample], float]) -> list[list[Point]]:
        return [self.points(value, _by_time)]

    def points(self, value: Callable[[Sample], float], x: Callable[[Sample], float]) -> list[Point]:
        """A sample that lacks it is left out."""
        found = []
        for sample in self.samples:
            try:
                found.append((x(sample), float(value(sample))))
            except (KeyError, TypeError):
                continue
        return found

    def table(self, site: str, table: str) -> Callable[[Callable[[Sample], float]], list[Point]]:
        return lambda x: self.points(lambda sample: sample["tables"][site][table], x)

    def bytes_of(self, name: str, x: Callable[[Sample], float], divided: float = 1024) -> list[Point]:
        return self.points(lambda sample: sample["bytes"][name] / divided, x)


def _by_time(sample: Sample) -> float:
    return float(sample["t"])


def _by_event(sample: Sample) -> float:
    return float(sample["done"].get("events", 0))


def _by_blob(sample: Sample) -> float:
    return float(sample["done"].get("blobs", 0))


def _connections(sample: Sample, peer: str | None = None) -> int:
    """Of the product's processes, to one or to all."""
    return sum(
        count
        for each in sample["processes"]
        if each["site"]
        for name, count in each["connections"].items()
        if peer in (None, name)
    )
