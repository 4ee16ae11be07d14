"""What large blobs cost with and without the spool: `python -m tests.benchmarks.spool --help`.

Two Distribution registries with their storage in memory, the copy in a process of its own, the line a `Link`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import requests

from tests.support.copying import command
from tests.support.link import Link
from tests.support.registries import DistributionRegistry
from tests.support.root import ROOT

MIB = 1024 * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of each blob")
    parser.add_argument("--blobs", type=int, default=1, help="blobs at the same time")
    parser.add_argument("--rate", type=float, help="MB/s that each connection to the primary brings")
    parser.add_argument("--delay", type=float, default=0.0, help="milliseconds to the primary and back")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--spool", type=Path, default=Path(tempfile.gettempdir()), help="where the spool is made")
    parser.add_argument("--storage", type=Path, default=Path("/dev/shm"), help="where the registries' storage is made")
    parser.add_argument("--only", choices=["plain", "spool"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.storage) as storage:
        primary = DistributionRegistry(Path(storage) / "primary")
        secondary = DistributionRegistry(Path(storage) / "secondary")
        with primary, secondary:
            blobs = [_push(primary, options.mib, seed) for seed in range(options.blobs)]
            link = Link(primary.port, round_trip=options.delay / 1000, rate=options.rate and options.rate * 1e6)
            with link:
                far = options.rate or options.delay
                url = link.url if far else primary.url
                modes = [options.only] if options.only else ["plain", "spool"]
                runs: dict[str, list[dict[str, Any]]] = {mode: [] for mode in modes}
                for _ in range(options.rounds):
                    for mode in modes:
                        link.connections = link.most_at_once = 0
                        run = _run(mode, url, secondary, blobs, options.spool)
                        runs[mode].append(run | {"connections": link.connections, "at_once": link.most_at_once})
    for mode, done in runs.items():
        seconds = [run["seconds"] for run in done]
        median = statistics.median(seconds)
        total = options.mib * options.blobs
        print(
            f"{mode:6} median {median:6.2f} s ({total / median:6.0f} MiB/s), all {seconds},"
            f" memory {max(run['memory'] for run in done) // MIB} MiB,"
            f" received {done[-1]['received'] / MIB:.0f} MiB,"
            f" connections {done[-1]['connections']}, at once {done[-1]['at_once']}"
        )


def _run(
    mode: str, url: str, secondary: DistributionRegistry, blobs: list[tuple[str, int]], spool: Path
) -> dict[str, Any]:
    secondary.stop()
    shutil.rmtree(secondary.storage, ignore_errors=True)
    secondary.start()
    with tempfile.TemporaryDirectory(dir=spool) as directory:
        line = command(
            url, secondary.url, "bench/blob", *blobs, spool=Path(directory) / "spool" if mode == "spool" else None
        )
        done = subprocess.run(line, cwd=ROOT, check=True, capture_output=True, text=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _push(registry: DistributionRegistry, mib: int, seed: int) -> tuple[str, int]:
    def pieces() -> Any:
        # Different for each MiB and blob, the same in each run.
        for number in range(mib):
            yield hashlib.shake_128(f"{seed} {number}".encode()).digest(1024) * 1024

    hasher = hashlib.sha256()
    for piece in pieces():
        hasher.update(piece)
    digest = f"sha256:{hasher.hexdigest()}"
    with requests.Session() as session:
        session.trust_env = False
        begun = session.post(f"{registry.url}/v2/bench/blob/blobs/uploads/", timeout=60)
        location = begun.headers["Location"]
        put = session.put(
            f"{location}&digest={digest}",
            data=pieces(),
            headers={"Content-Type": "application/octet-stream"},
            timeout=600,
        )
        put.raise_for_status()
    return digest, mib * MIB


if __name__ == "__main__":
    main()
