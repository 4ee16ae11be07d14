"""Bulk scenarios: everything is copied, or found to be in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from tests.benchmarks.corpus import MIB, Client, Corpus, large, push_on, shared_base
from tests.benchmarks.measure import Run
from tests.benchmarks.ours import NAME
from tests.benchmarks.race import FAR, Options, Race
from tests.benchmarks.report import AS_IT_COMES, BEST, Aim, Row
from tests.benchmarks.stage import Stage
from tests.support import images
from tests.support.images import Blob

REPOSITORIES, TAGS = 40, 5

#: Bytes a second of one connection over the slow line.
SLOW = 20e6

#: Bytes that a worker may hold, in MB.
MEMORY_LIMIT = 150


@dataclass(slots=True)
class Result:
    """What a scenario brings: lines of the table, and the runs behind them."""

    rows: list[Row] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    #: The requests that the protocol asks for at least, where they are counted.
    least: int | None = None
    in_memory: bool = True


def cold(options: Options, *, far: bool) -> Result:
    with _many(options, far=far) as race:
        runs = race.cold()
    title = f"cold, {_size(race.corpus)}, {_where(far)}"
    aims = [Aim(5, AS_IT_COMES), Aim(5, BEST), Aim(20, "skopeo")] if far else [Aim(1.5, AS_IT_COMES), Aim(1.5, BEST)]
    name = "cold-far" if far else "cold"
    rows = [times(name, title, runs, aims)]
    if not far:
        rows.append(requests(name, "requests to the primary per cold tag", race.corpus, race.corpus.least_cold, runs))
    return Result(rows, runs, race.corpus.least_cold, race.stage.in_memory)


def unchanged(options: Options, *, far: bool) -> Result:
    with _many(options, far=far) as race:
        runs = race.again()
    name = "unchanged-far" if far else "unchanged"
    factor = 10 if far else 1.5
    aims = [Aim(factor, AS_IT_COMES), Aim(factor, BEST)]
    rows = [times(name, f"nothing changed, {len(race.corpus.tags)} tags, {_where(far)}", runs, aims)]
    least = race.corpus.least_unchanged
    if not far:
        rows.append(requests(name, "requests to the primary per unchanged tag", race.corpus, least, runs))
    return Result(rows, runs, least, race.stage.in_memory)


def changed(options: Options) -> Result:
    """One tag of each repository has moved since the last sync."""
    with _many(options, far=False) as race:
        base = Blob(images.layer(MIB))
        with Client(race.primary) as client:
            for repository in race.corpus.repositories:
                client.push_blob(repository, base)

            def move(_round: int) -> None:
                kept = [tag for tag in race.corpus.tags if tag.name != "v0"]
                for repository in race.corpus.repositories:
                    kept.append(push_on(client, repository, "v0", base, MIB // 4))
                race.corpus.tags = kept

            runs = race.again(move)
    title = f"one tag of each repository moved, {_size(race.corpus)}, {_where(False)}"
    return Result([times("changed", title, runs, [])], runs, None, race.stage.in_memory)


def big_images(options: Options) -> Result:
    size = options.scaled(384) * MIB
    with _stage(options, 2 * 4 * size) as stage:
        primary = stage.primary()
        corpus = large(primary, ["bench/big-0", "bench/big-1"], 2, size)
        race = Race(options.tuned(), stage, primary, corpus)
        runs = race.cold()
    title = f"cold, 2 images of {2 * size // MIB} MiB in two layers, {_where(False)}"
    return Result([times("large", title, runs, [Aim(1.3, BEST)])], runs, corpus.least_cold, stage.in_memory)


def slow_layer(options: Options) -> Result:
    size = options.scaled(1024) * MIB
    with _stage(options, 2 * size) as stage:
        primary = stage.primary()
        corpus = large(primary, ["bench/layer"], 1, size)
        line = stage.line(primary, round_trip=FAR, rate=SLOW)
        race = Race(options.tuned(), stage, primary, corpus, line)
        runs = race.cold()
    title = f"one layer of {size // MIB} MiB, {_where(True)}, {SLOW / 1e6:.0f} MB/s a connection"
    return Result([times("layer-far", title, runs, [Aim(3, BEST)])], runs, corpus.least_cold, stage.in_memory)


def memory(options: Options) -> Result:
    """Of our workers alone: what a peer holds is in its runs."""
    size = options.scaled(2048) * MIB
    alone = replace(options, peers=(), rounds=min(options.rounds, 2))
    with _stage(options, 2 * 2 * size) as stage:
        primary = stage.primary()
        race = Race(alone, stage, primary, large(primary, ["bench/huge"], 2, size))
        runs = race.cold()
    held = {NAME: [run.memory / 1e6 for run in runs if run.failure is None]}
    title = f"resident memory of a worker, two layers of {size // MIB} MiB at once"
    row = Row("memory", title, "MB", held, [Aim(MEMORY_LIMIT)], _failures(runs))
    return Result([row], runs, None, stage.in_memory)


def times(scenario: str, title: str, runs: Sequence[Run], aims: list[Aim]) -> Row:
    """The seconds of each tool's runs."""
    values: dict[str, list[float]] = {}
    for run in runs:
        if run.seconds is not None:
            values.setdefault(run.tool, []).append(run.seconds)
    return Row(scenario, title, "s", values, aims, _failures(runs))


def requests(scenario: str, title: str, corpus: Corpus, least: int, runs: Sequence[Run]) -> Row:
    """Requests to the primary, a tag, beside the fewest that the protocol allows."""
    tags = len(corpus.tags)
    values: dict[str, list[float]] = {}
    for run in runs:
        if run.failure is None:
            values.setdefault(run.tool, []).append(run.count("primary") / tags)
    return Row(
        f"{scenario}-requests", title, "requests", values | {"least": [least / tags]}, [Aim(1.05, "least", False)]
    )


@contextmanager
def _many(options: Options, *, far: bool) -> Iterator[Race]:
    repositories = options.scaled(REPOSITORIES, 2)
    # Each of the tools may have its own copy at a time, and without mounts the base layer is sent again and again.
    need = (1 + len(options.tools)) * repositories * (TAGS * MIB + MIB) + 64 * MIB
    with _stage(options, need) as stage:
        primary = stage.primary()
        corpus = shared_base(primary, repositories, TAGS)
        line = stage.line(primary, round_trip=FAR) if far else None
        yield Race(options, stage, primary, corpus, line)


def _stage(options: Options, need: int) -> Stage:
    return Stage(need, options.storage)


def _failures(runs: Sequence[Run]) -> dict[str, list[str]]:
    failures: dict[str, list[str]] = {}
    for run in runs:
        if run.failure is not None:
            failures.setdefault(run.tool, []).append(run.failure)
    return failures


def _size(corpus: Corpus) -> str:
    repositories = len(corpus.repositories)
    return f"{repositories} repositories x {len(corpus.tags) // repositories} tags, shared base layer"


def _where(far: bool) -> str:
    return f"{FAR * 1000:.0f} ms" if far else "loopback"
