"""What is measured, from the samples of a run, and the limit of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.soak.flat import Ceiling, Finding, Limit, Point, Rate, Series, judge

Sample = Mapping[str, Any]
Figure = Callable[[Sample], float]

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

#: Tables that have a row for each event or attempt until it is older than is kept, and how many for each event.
KEPT = {
    ("primary", "geo_events"): 1.02,
    ("secondary", "geo_events"): 1.02,
    ("secondary", "sync_attempts"): 3.0,
}

#: And the one that has a row for each tag, and for each manifest without one, as long as the registry has it.
HELD = {("secondary", "container_repository_references"): 1.0}


#: Whom connections lead to.
PEERS = ("primary registry", "secondary registry", "feed", "PostgreSQL")

#: Of Dramatiq.
QUEUES = ("events", "sync", "backfill", "verification")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds in a run of an hour, and in one of minutes."""

    long: Limit | Ceiling
    short: Limit | Ceiling


MEMORY = Bounds(Limit(2.0, 0.04), Limit(16.0, 0.3))

#: What a process opens it keeps for the next burst: it comes to the most that it ever needed at once, step by step.
HANDLES = Bounds(Limit(4.0, 0.25), Ceiling(160.0))

#: Lines that were cut take them down to nothing, and they come back as they are needed: two workers with fifty-two
#: threads each for what registries are asked.
CONNECTIONS = Bounds(Ceiling(104.0), Ceiling(104.0))

ROWS = Bounds(Limit(5.0, 0.05), Limit(120.0))

#: One for each combination of labels, and for each bucket of a histogram.
METRICS = Bounds(Limit(25.0), Limit(150.0))

#: What is forgotten after minutes: as many as come in that time, and after an outage they come all at once.
FORGOTTEN = Bounds(Limit(50.0, 0.3), Limit(400.0))


#: Summed up at every 256th row.
COUNTS = Bounds(Limit(300.0), Limit(600.0))

LIMITS = {"geo_metric_values": METRICS, "geo_reference_counts": COUNTS, "geo_repository_counts": COUNTS}

WORK = Bounds(Limit(5.0), Ceiling(60.0))


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


def measures(samples: Sequence[Sample], *, short: bool, forgotten: bool = False) -> list[Measure]:
    """All of them, for these samples.

    :param short: a run of minutes, in which everything still warms up: it finds only what is gross.
    :param forgotten: events and attempts are kept for minutes.
    """
    made = _Maker(samples, short, forgotten)
    return [*made.processes(), *made.connections(), *made.tables(), *made.stores(), *made.work()]


class _Maker:
    def __init__(self, samples: Sequence[Sample], short: bool, forgotten: bool) -> None:
        self.samples = samples
        self.short = short
        self.forgotten = forgotten

    def processes(self) -> Iterable[Measure]:
        for site, kind in KINDS:
            name = f"{site}: {kind}"
            # A Valkey keeps where each blob can be mounted from: what that takes is held to the blobs.
            if kind != "valkey":
                yield self.flat("memory", f"{name}, PSS", "MiB", self.lives(site, kind, "pss", MIB), MEMORY)
                yield self.flat("memory", f"{name}, RSS", "MiB", self.lives(site, kind, "rss", MIB), MEMORY)
            # A Valkey that is killed every few minutes has no long life; what it has open is its clients' doing.
            lived = self.lives if kind != "valkey" else self.together
            yield self.flat("handles", f"{name}, open files", "", lived(site, kind, "fds"), HANDLES)
            yield self.flat("handles", f"{name}, threads", "", lived(site, kind, "threads"), HANDLES)

    def connections(self) -> Iterable[Measure]:
        yield self.flat("connections", "all, TCP connections", "", self.one(connections), CONNECTIONS)
        for peer in PEERS:
            series = self.one(partial(connections, peer=peer))
            yield self.flat("connections", f"to {peer}", "", series, CONNECTIONS)
        yield self.flat("connections", "PostgreSQL, sessions", "", self.one(_sessions), HANDLES)
        stuck = self.one(lambda sample: sample["postgresql"].get("idle in transaction", 0))
        yield self.flat("connections", "PostgreSQL, idle in transaction", "", stuck, HANDLES)

    def tables(self) -> Iterable[Measure]:
        for site in ("primary", "secondary"):
            names = {name for sample in self.samples for name in sample["tables"].get(site, {})}
            for table in sorted(names):
                title = f"{site}: {table}"
                counted = at("tables", site, table)
                if (site, table) in (growing := HELD if self.forgotten else HELD | KEPT):
                    yield self.each("tables", title, "rows", counted, _events, growing[site, table])
                    continue
                limit = FORGOTTEN if (site, table) in KEPT else LIMITS.get(table, ROWS)
                yield self.flat("tables", title, "rows", self.one(counted), limit)

    def stores(self) -> Iterable[Measure]:
        for site, most in (("primary", 4.0), ("secondary", 6.0)):
            stored = at("bytes", f"{site} database", divided=1024)
            yield self.each("stores", f"{site}: database", "KiB", stored, _events, most)
        for name, most in (("write-ahead log", 32.0), ("spool", 64.0)):
            yield self.most("stores", f"secondary: {name}", "MiB", at("bytes", f"secondary {name}", divided=MIB), most)
        for site in ("primary", "secondary"):
            memory = at("valkey", site, "memory", divided=1024)
            yield self.each("stores", f"{site}: valkey, memory", "KiB", memory, _objects, 1.0)
            keys = at("valkey", site, "cache keys")
            yield self.each("stores", f"{site}: valkey, keys of caches", "", keys, _objects, 1.0)
            others = self.one(at("valkey", site, "queue keys"))
            yield self.flat("stores", f"{site}: valkey, keys of queues", "", others, HANDLES)

    def work(self) -> Iterable[Measure]:
        for queue in sorted(
            {name for sample in self.samples for name in sample.get("queues", {}).get("secondary", {})}
        ):
            # At most twice the threads of a queue are under way: two processes of four threads.
            yield self.most("work", f"queue {queue}", "messages", at("queues", "secondary", queue), 17.0)
        yield self.flat("work", "repositories not in order", "", self.one(at("backlog")), WORK)
        yield self.flat("work", "repositories not verified", "", self.one(at("unverified")), WORK)

    def flat(self, group: str, name: str, unit: str, lives: Sequence[Sequence[Point]], limit: Bounds) -> Measure:
        return Measure(group, _series(name, unit, lives), limit.short if self.short else limit.long)

    def each(self, group: str, name: str, unit: str, value: Figure, of: Figure, per: float) -> Measure:
        """In a run of minutes what was pushed before an outage may come after it all at once."""
        limit = Rate(per * (4.0 if self.short else 1.0))
        return Measure(group, _series(name, unit, [self.points(value, of)]), limit)

    def most(self, group: str, name: str, unit: str, value: Figure, most: float) -> Measure:
        return Measure(group, _series(name, unit, self.one(value)), Ceiling(most))

    def lives(self, site: str, kind: str, figure: str, divided: float = 1.0) -> list[list[Point]]:
        """Of each process of a kind its own."""
        found: dict[tuple[int, int], list[Point]] = defaultdict(list)
        for sample in self.samples:
            for each in sample["processes"]:
                if (each["site"], each["kind"]) == (site, kind):
                    found[each["pid"], each["born"]].append((sample["t"], each[figure] / divided))
        return list(found.values())

    def together(self, site: str, kind: str, figure: str) -> list[list[Point]]:
        """Of whichever process of a kind there was."""
        return [sorted(point for life in self.lives(site, kind, figure) for point in life)]

    def one(self, value: Figure) -> list[list[Point]]:
        return [self.points(value, at("t"))]

    def points(self, value: Figure, x: Figure) -> list[Point]:
        """A sample that lacks it is left out."""
        found = []
        for sample in self.samples:
            try:
                found.append((x(sample), float(value(sample))))
            except (KeyError, TypeError):
                continue
        return found


def at(*path: str, divided: float = 1.0) -> Figure:
    """What stands there in a sample."""

    def figure(sample: Sample) -> float:
        value: Any = sample
        for name in path:
            value = value[name]
        return float(value) / divided

    return figure


def connections(sample: Sample, peer: str | None = None) -> float:
    """Of the product's processes, to one or to all."""
    return float(
        sum(
            count
            for each in sample["processes"]
            if each["site"]
            for name, count in each["connections"].items()
            if peer in (None, name)
        )
    )


def _series(name: str, unit: str, lives: Sequence[Sequence[Point]]) -> Series:
    return Series(name, unit, tuple(tuple(life) for life in lives if life))


def _sessions(sample: Sample) -> float:
    return float(sum(sample["postgresql"].values()))


def _events(sample: Sample) -> float:
    return float(sample["done"].get("events", 0))


def _objects(sample: Sample) -> float:
    """Blobs and manifests."""
    return float(sample["done"].get("blobs", 0) + sample["done"].get("manifests", 0))
