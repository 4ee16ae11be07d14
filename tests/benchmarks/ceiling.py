"""What the line itself can do, so that nobody takes its limits for a tool's."""

from __future__ import annotations

import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from tests.benchmarks.bulk import Result
from tests.benchmarks.corpus import MIB, large
from tests.benchmarks.measure import cpu_seconds
from tests.benchmarks.race import FAR, Options
from tests.benchmarks.report import Row
from tests.benchmarks.stage import Stage

#: Small requests that are timed one after the other, and how many connections ask at the same time.
REQUESTS, CONNECTIONS = 25, 32


def ceiling(options: Options) -> Result:
    size = options.scaled(256, 16) * MIB
    rows = []
    with Stage(size, options.storage) as stage:
        primary = stage.primary()
        corpus = large(primary, ["bench/line"], 1, size)
        (tag,) = corpus.tags
        biggest = max(tag.blobs, key=lambda digest: primary.blob_path(digest).stat().st_size)
        target = f"/v2/{tag.repository}/blobs/{biggest}"
        near = stage.line(primary, round_trip=0.0)
        far = stage.line(primary, round_trip=FAR)
        places = {"direct": (primary.port, 0), "line, 0 ms": (near.port, near.pid), "line, 80 ms": (far.port, far.pid)}
        small: dict[str, list[float]] = {}
        opening: dict[str, list[float]] = {}
        many: dict[str, list[float]] = {}
        one: dict[str, list[float]] = {}
        eight: dict[str, list[float]] = {}
        cost: dict[str, list[float]] = {}
        for name, (port, pid) in places.items():
            small[name] = [median(_asked(port, REQUESTS)) * 1000]
            opening[name] = [median(_asked(port, 1)[0] for _ in range(10)) * 1000]
            many[name] = [_asked_by_many(port)]
            before = cpu_seconds(pid) if pid else 0.0
            one[name] = [_read(port, target, 1)]
            eight[name] = [_read(port, target, 8)]
            if pid:
                cost[name] = [(cpu_seconds(pid) - before) / (9 * size / 1e9)]
        in_memory = stage.in_memory
    for title, unit, values in (
        ("line: a small request on an open connection", "ms", small),
        ("line: a small request and its connection", "ms", opening),
        (f"line: small requests on {CONNECTIONS} connections", "a second", many),
        ("line: one connection", "MB/s", one),
        ("line: eight connections together", "MB/s", eight),
        ("line: processor time", "s for each GB", cost),
    ):
        rows.append(Row("line", title, unit, values))
    return Result(rows, in_memory=in_memory)


def _asked(port: int, count: int) -> list[float]:
    """Seconds of each of `count` requests on one connection; the first includes opening it."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    taken = []
    for _ in range(count):
        began = time.monotonic()
        connection.request("GET", "/v2/")
        connection.getresponse().read()
        taken.append(time.monotonic() - began)
    connection.close()
    return taken


def _asked_by_many(port: int) -> float:
    """Requests a second of many connections."""
    began = time.monotonic()
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        counts = list(threads.map(lambda _: len(_asked(port, REQUESTS)), range(CONNECTIONS)))
    return sum(counts) / (time.monotonic() - began)


def _read(port: int, target: str, connections: int) -> float:
    """MB a second of so many connections that read the blob at the same time."""
    began = time.monotonic()
    with ThreadPoolExecutor(connections) as threads:
        total = sum(threads.map(lambda _: _drain(port, target), range(connections)))
    return total / 1e6 / (time.monotonic() - began)


def _drain(port: int, target: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", target)
    answer = connection.getresponse()
    buffer, total = bytearray(MIB), 0
    while read := answer.readinto(buffer):
        total += read
    connection.close()
    return total
