"""Load on a web server: POSTs at a steady rate, or as fast as they are answered, from a process of its own:
`python -m tests.benchmarks.load PORT PATH …` prints what became of them as JSON.

It is one thread a connection and no HTTP library: it runs beside what it measures, on the same processors.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count

from tests.support.deployment import SECRET

#: Seconds for which an answer is waited for, and between two connections that are opened.
PATIENCE, APART = 30.0, 0.03


@dataclass
class Load:
    """So many connections, of which each sends when it is its turn."""

    port: int
    path: str
    connections: int
    seconds: float
    #: Requests a second, of all together; 0: each sends as soon as it was answered.
    rate: float = 0.0
    #: Distinguishes the events of one run from those of another.
    name: str = "load"
    #: Repositories that the events are of.
    repositories: int = 100
    _numbers: count[int] = field(default_factory=count)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    #: Seconds of each answer, from when it should have been sent.
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    _began: float = 0.0

    def run(self) -> dict[str, object]:
        """Send until the time is over; what became of it."""
        connections = [self._connect() for _ in range(self.connections)]
        self._began = time.perf_counter()
        threads = [threading.Thread(target=self._send, args=(connection,)) for connection in connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {
            "seconds": time.perf_counter() - self._began,
            "statuses": dict(self.statuses),
            "latencies": self.latencies,
        }

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Opened all at once, all of them would be one process's: whichever was awake.
        time.sleep(APART)
        return connection

    def _send(self, connection: socket.socket) -> None:
        latencies: list[float] = []
        statuses: Counter[str] = Counter()
        try:
            while True:
                number = next(self._numbers)
                due = self._began + number / self.rate if self.rate else time.perf_counter()
                if due - self._began >= self.seconds:
                    break
                if (early := due - time.perf_counter()) > 0:
                    time.sleep(early)
                connection.sendall(self._request(number))
                statuses[_answer(connection)] += 1
                latencies.append(time.perf_counter() - due)
        except OSError as error:
            statuses[type(error).__name__] += 1
        finally:
            connection.close()
            with self._lock:
                self.latencies += latencies
                self.statuses += statuses

    def _request(self, number: int) -> bytes:
        body = _event(f"{self.name}-{number}", f"load/app-{number % self.repositories:03}", f"v{number}")
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: {SECRET}\r\n"
            "Content-Type: application/vnd.docker.distribution.events.v1+json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def _event(key: str, repository: str, tag: str) -> bytes:
    """A push as CNCF Distribution tells of it."""
    digest = "sha256:" + f"{abs(hash(key)):064x}"[-64:]
    media_type = "application/vnd.oci.image.manifest.v1+json"
    event = {
        "id": key,
        "timestamp": "2026-01-01T00:00:00.000000000Z",
        "action": "push",
        "target": {
            "mediaType": media_type,
            "size": 1234,
            "digest": digest,
            "length": 1234,
            "repository": repository,
            "url": f"http://registry.example/v2/{repository}/manifests/{digest}",
            "tag": tag,
        },
        "request": {
            "id": key,
            "addr": "10.0.0.1:51234",
            "host": "registry.example",
            "method": "PUT",
            "useragent": "docker/24.0.7",
        },
        "actor": {"name": "ci"},
        "source": {"addr": "registry-1:5000", "instanceID": "8b5b1c4e-5d4c-4b0f-9d6c-1f1f5f6a7b8c"},
    }
    return json.dumps({"events": [event]}).encode()


def _answer(connection: socket.socket) -> str:
    """Read one answer to its end; its status."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
    while len(body) < length:
        body += _more(connection)
    return head[9:12].decode()


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionResetError("the server closed the connection")
    return data


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("port", type=int)
    arguments.add_argument("path")
    arguments.add_argument("--connections", type=int, default=16)
    arguments.add_argument("--seconds", type=float, default=10.0)
    arguments.add_argument("--rate", type=float, default=0.0, help="requests a second; 0: as fast as they are answered")
    arguments.add_argument("--name", default="load")
    options = arguments.parse_args()
    # Threads that are due take their turn soon.
    sys.setswitchinterval(0.001)
    load = Load(options.port, options.path, options.connections, options.seconds, options.rate, options.name)
    json.dump(load.run(), sys.stdout)


if __name__ == "__main__":
    main()
