"""A process that copies blobs from one registry to another, to be measured or killed.

Prints one line of JSON at its end: seconds, bytes received from the source, and the most memory held, in bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from app.registry import Anonymous, Descriptor, RegistryClient, Watch, copy_blob
from app.replication.spool import Spool
from app.replication.spool.directory import SpoolDirectory


def command(
    source: str, destination: str, repository: str, *blobs: tuple[str, int], spool: Path | None = None
) -> list[str]:
    """The command line of the process; run it in `ROOT`."""
    line = [sys.executable, "-m", "tests.support.copying", source, destination, repository]
    line += [f"{digest}={size}" for digest, size in blobs]
    return [*line, "--spool", str(spool)] if spool else line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("destination")
    parser.add_argument("repository")
    parser.add_argument("blobs", nargs="+", metavar="DIGEST=SIZE")
    parser.add_argument("--spool", type=Path)
    parser.add_argument("--careless", action="store_true", help="believe that there is room on the disk")
    options = parser.parse_args()
    descriptors = []
    for blob in options.blobs:
        digest, _, size = blob.partition("=")
        descriptors.append(Descriptor("application/octet-stream", digest, int(size)))
    free = (lambda _: 1024**5) if options.careless else None
    spool = Spool(SpoolDirectory(options.spool, 1024**4, free=free)) if options.spool else None
    source = RegistryClient(options.source, Anonymous(), actions=("pull",))
    destination = RegistryClient(options.destination, Anonymous(), actions=("pull", "push", "delete"))
    lock, received = threading.Lock(), 0

    def count(size: int) -> None:
        nonlocal received
        with lock:
            received += size

    def copy(descriptor: Descriptor) -> None:
        watch = Watch(received=count)
        opener = spool.opener(source, options.repository, descriptor, watch) if spool else source
        copy_blob(opener, destination, options.repository, descriptor)

    began = time.monotonic()
    with ThreadPoolExecutor(len(descriptors)) as threads:
        for _ in threads.map(copy, descriptors):
            pass
    seconds = time.monotonic() - began
    print(json.dumps({"seconds": round(seconds, 3), "received": received, "memory": _most_memory()}))  # noqa: T201


def _most_memory() -> int:
    # Not by getrusage: there a process begins with what the one had that started it.
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
