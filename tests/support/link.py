"""A TCP link to a server on the loopback that is far away, narrow or unreliable, and counts what it carries.

It knows nothing of HTTP: what a test wants to do to single requests is `tests.support.proxy`'s.
"""

from __future__ import annotations

import contextlib
import ctypes
import queue
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Self

_PIECE = 64 * 1024

#: Pieces under way in one direction of a connection: more than the rate of any test times its delay.
_UNDER_WAY = 128

#: Linger on, no seconds: closing resets.
_RESET = struct.pack("ii", 1, 0)

#: Linux's socket option, and a filter that keeps every packet from the socket: it is not even acknowledged.
_ATTACH_FILTER = 26
_NOTHING = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
_FILTER = struct.pack("HL", 1, ctypes.addressof(_NOTHING))

_Piece = tuple[float, bytes]


class Link:
    """`with Link(registry.port) as link: ...`: whoever connects to `link.port` talks to the server behind.

    The attributes may be changed while it runs.
    """

    def __init__(
        self,
        port: int,
        *,
        round_trip: float = 0.0,
        rate: float | None = None,
        shared: bool = False,
        cut_after: int | None = None,
    ) -> None:
        """Describe the link.

        :param round_trip: seconds there and back; connecting takes one too.
        :param rate: bytes a second that one connection brings from the server.
        :param shared: the rate is that of all connections together.
        :param cut_after: bytes from the server after which a connection ends.
        """
        self.round_trip = round_trip
        self.rate = rate
        self.shared = shared
        self.cut_after = cut_after
        #: Bytes that came from the server, over all connections.
        self.carried = 0
        self.connections = 0
        self.most_at_once = 0
        self.cuts = 0
        self._upstream = port
        self._lock = threading.Lock()
        self._free_at = 0.0
        self._flowing = threading.Event()
        self._flowing.set()
        self._over = threading.Event()
        self._open: set[socket.socket] = set()
        self._behind: set[socket.socket] = set()
        self._vanished = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        """Connections that are open now."""
        with self._lock:
            return len(self._open)

    def pause(self) -> None:
        """Let nothing from the server through; connections stay open."""
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def vanish(self) -> None:
        """Part the two ends for good, without a word, as if the machine of either were gone: nothing is heard of the
        other any more, whoever connects is not answered, and what is sent is not acknowledged."""
        self.pause()
        with self._lock:
            self._vanished = True
            for each in (self._listener, *self._open, *self._behind):
                each.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, _FILTER)

    def cut(self) -> None:
        """Reset all connections."""
        with self._lock:
            doomed = list(self._open)
        for client in doomed:
            _reset(client)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._flowing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        with self._lock:
            parted = list(self._behind) if self._vanished else []
        for server in parted:
            # Nothing comes from there that would end it.
            _reset(server)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._spawn(self._carry, client)

    def _spawn(self, target: object, *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()
        return thread

    def _carry(self, client: socket.socket) -> None:
        with client:
            try:
                server = socket.create_connection(("127.0.0.1", self._upstream), timeout=10)
            except OSError:
                return
            with server:
                server.settimeout(None)
                for each in (client, server):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.rate is not None:
                    # What has left counts as carried, and should not sit in a buffer of ours.
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 128 * 1024)
                with self._lock:
                    self._open.add(client)
                    self._behind.add(server)
                    self.connections += 1
                    self.most_at_once = max(self.most_at_once, len(self._open))
                try:
                    self._both_ways(client, server)
                finally:
                    with self._lock:
                        self._open.discard(client)
                        self._behind.discard(server)

    def _both_ways(self, client: socket.socket, server: socket.socket) -> None:
        up: queue.Queue[_Piece] = queue.Queue(_UNDER_WAY)
        down: queue.Queue[_Piece] = queue.Queue(_UNDER_WAY)
        threads = [
            self._spawn(self._read, client, up, self.round_trip),
            self._spawn(self._read, server, down, 0.0),
            self._spawn(self._up, server, up),
        ]
        self._down(client, down)
        for each in (client, server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        _drain(down)
        for thread in threads:
            thread.join(5)

    def _read(self, source: socket.socket, pieces: queue.Queue[_Piece], first: float) -> None:
        """Take in what comes; the first piece of a client waits for the connection's own round trip, too."""
        while True:
            try:
                data = source.recv(_PIECE)
            except OSError:
                data = b""
            pieces.put((time.monotonic() + self.round_trip / 2 + first, data))
            if not data:
                return
            first = 0.0

    def _up(self, server: socket.socket, pieces: queue.Queue[_Piece]) -> None:
        broken = False
        while True:
            due, data = pieces.get()
            self._over.wait(max(0.0, due - time.monotonic()))
            try:
                if not data:
                    server.shutdown(socket.SHUT_WR)
                elif not broken:
                    server.sendall(data)
            except OSError:
                broken = True
            if not data:
                return

    def _down(self, client: socket.socket, pieces: queue.Queue[_Piece]) -> None:
        carried, free_at = 0, 0.0
        while True:
            due, data = pieces.get()
            self._flowing.wait()
            if not data:
                return
            if self.rate is not None:
                free_at = self._slot(free_at, len(data) / self.rate)
                due = max(due, free_at)
            self._over.wait(max(0.0, due - time.monotonic()))
            room = len(data) if self.cut_after is None else min(len(data), self.cut_after - carried)
            try:
                client.sendall(data[:room])
            except OSError:
                return
            carried += room
            with self._lock:
                self.carried += room
            if room < len(data):
                # Not reset: that would drop what has been counted and waits in a buffer.
                self.cuts += 1
                return

    def _slot(self, free_at: float, seconds: float) -> float:
        """Return when a piece that takes so many seconds is through, the one before it being through at `free_at`."""
        if not self.shared:
            return max(free_at, time.monotonic()) + seconds
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic()) + seconds
            return self._free_at


def _drain(pieces: queue.Queue[_Piece]) -> None:
    """Let a reader that waits for room go on to its end."""
    with contextlib.suppress(queue.Empty):
        while pieces.get(timeout=1)[1]:
            pass


def _reset(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        sock.shutdown(socket.SHUT_RDWR)
