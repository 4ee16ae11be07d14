"""A line to a server on the loopback: round trip and rate, in a process of its own: `python -m tests.benchmarks.line`.

It knows nothing of HTTP. One thread and one event loop, so that it takes little of the processors it is measured on.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from tests.support.ports import free_port
from tests.support.processes import Process, clean_environment
from tests.support.root import ROOT

#: Bytes under way in one direction of a connection, as a TCP window would bound them; a rated one has twice what
#: fits into a round trip.
WINDOW = 16 * 1024 * 1024
LEAST_WINDOW = 512 * 1024

#: Seconds by which a timer may be early.
_EARLY = 0.0005


class Line:
    """`with Line(port, round_trip=0.08) as line: ...`: whoever connects to `line.port` talks to the server behind.

    A new connection costs a round trip before its first byte leaves, every byte half of one in each direction. `rate`
    is bytes a second that one connection brings from the server.
    """

    def __init__(self, to: int, log: Path, *, round_trip: float = 0.0, rate: float | None = None) -> None:
        self.port = free_port()
        self.round_trip = round_trip
        self.rate = rate
        self._to = to
        self._log = log
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        command = [sys.executable, "-m", "tests.benchmarks.line", str(self.port), str(self._to)]
        command += ["--round-trip", str(self.round_trip), "--rate", str(self.rate or 0)]
        self._process = Process(command, log=self._log, env=clean_environment(PYTHONPATH=str(ROOT)), cwd=ROOT).start()
        self._process.wait_for_port(self.port)
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def change(self, *, round_trip: float, rate: float | None = None) -> None:
        """Be another line from now on, at the same port; open connections are cut."""
        self.stop()
        self.round_trip, self.rate = round_trip, rate
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Way:
    """One direction of a connection: what came in goes out when it is due."""

    def __init__(self, source: asyncio.Transport, delay: float, rate: float, opens_at: float) -> None:
        self.target: asyncio.Transport | None = None
        self.blocked = False
        self._source = source
        self._delay = delay
        self._rate = rate
        self._free_at = opens_at
        self._window = max(2 * rate * delay * 2, LEAST_WINDOW) if rate else WINDOW
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def put(self, data: bytes) -> None:
        """Take in what came; empty bytes are the end."""
        start = max(self._loop.time(), self._free_at)
        if self._rate:
            self._free_at = start = start + len(data) / self._rate
        self._pieces.append((start + self._delay, data))
        self._size += len(data)
        if self._size > self._window and not self._paused:
            self._paused = True
            self._source.pause_reading()
        self.move()

    def move(self) -> None:
        """Send what is due, and come back for the rest."""
        if self.target is None or self.blocked or self.target.is_closing():
            return
        now = self._loop.time() + _EARLY
        while self._pieces and self._pieces[0][0] <= now and not self.blocked:
            _, data = self._pieces.popleft()
            self._size -= len(data)
            if data:
                self.target.write(data)
            else:
                self.target.write_eof()
        if self._paused and self._size <= self._window / 2 and not self._source.is_closing():
            self._paused = False
            self._source.resume_reading()
        if self._pieces and not self.blocked and (self._timer is None or self._timer.cancelled()):
            self._timer = self._loop.call_at(self._pieces[0][0], self._due)

    def _due(self) -> None:
        self._timer = None
        self.move()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._pieces.clear()


class _End(asyncio.Protocol):
    """One of the two connections; `out` is the way of what comes in here, `back` the one of what is sent here."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.out: _Way | None = None
        self.back: _Way | None = None
        self.other: _End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        assert self.out is not None
        self.out.put(data)

    def eof_received(self) -> bool:
        assert self.out is not None
        self.out.put(b"")
        # The other direction goes on.
        return True

    def pause_writing(self) -> None:
        if self.back is not None:
            self.back.blocked = True

    def resume_writing(self) -> None:
        if self.back is not None:
            self.back.blocked = False
            self.back.move()

    def connection_lost(self, _error: Exception | None) -> None:
        for way in (self.out, self.back):
            if way is not None:
                way.close()
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class _Client(_End):
    """A connection that was accepted."""

    def __init__(self, to: int, round_trip: float, rate: float) -> None:
        super().__init__()
        self._to = to
        self._round_trip = round_trip
        self._rate = rate
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        loop = asyncio.get_running_loop()
        # The kernel has accepted already: what a far one would have taken is made up for before the first byte.
        self.out = _Way(self.transport, self._round_trip / 2, 0, loop.time() + self._round_trip)
        self._opening = loop.create_task(self._open())

    async def _open(self) -> None:
        assert self.transport is not None
        server = _End()
        try:
            await asyncio.get_running_loop().create_connection(lambda: server, "127.0.0.1", self._to)
        except OSError:
            self.transport.abort()
            return
        assert self.out is not None
        assert server.transport is not None
        server.out = self.back = _Way(server.transport, self._round_trip / 2, self._rate, 0.0)
        server.back, server.other, self.other = self.out, self, server
        self.back.target = self.transport
        self.out.target = server.transport
        if self.transport.is_closing():
            server.transport.close()
        self.out.move()


async def _serve(port: int, to: int, round_trip: float, rate: float) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: _Client(to, round_trip, rate), "127.0.0.1", port, backlog=1024
    )
    async with server:
        await server.serve_forever()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("port", type=int, help="where to listen")
    arguments.add_argument("to", type=int, help="port of the server behind")
    arguments.add_argument("--round-trip", type=float, default=0.0, help="seconds there and back")
    arguments.add_argument("--rate", type=float, default=0.0, help="bytes a second that a connection brings; 0: any")
    options = arguments.parse_args()
    asyncio.run(_serve(options.port, options.to, options.round_trip, options.rate))


if __name__ == "__main__":
    main()
