"""A proxy before a registry that knows which transfers are under way, and for which process."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.support.proxy import Proxy
from tests.support.registries import DistributionRegistry

#: Requests that carry a blob: read from a registry, or written to it.
_BLOB = re.compile(r"^(GET /v2/.+/blobs/\w+:\w+|(PUT|PATCH) /v2/.+/blobs/uploads/)")


@dataclass(frozen=True, slots=True)
class Transfer:
    """A request that carries a blob and has not come to its end; the client's port tells whose it is."""

    request: str
    port: int


class Watch(Proxy):
    """`with Watch(registry) as watch: ...`; `pass_on = False` makes it a registry that is away."""

    def __init__(self, upstream: DistributionRegistry) -> None:
        super().__init__(upstream)
        #: False: every connection is reset, as by a host that is down.
        self.pass_on = True
        self.refused = 0
        self._transfers: dict[int, Transfer] = {}
        self._connections: dict[int, socket.socket] = {}
        self._watching = threading.Lock()

    def cut(self) -> int:
        """Break the transfers that are under way; return how many."""
        with self._watching:
            connections = list(self._connections.values())
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        return len(connections)

    @property
    def transfers(self) -> list[Transfer]:
        """What is under way now."""
        with self._watching:
            return list(self._transfers.values())

    def transfers_of(self, pids: Iterable[int]) -> list[Transfer]:
        """Those of these processes: asked of the kernel, not of them."""
        ports = _local_ports(pids)
        return [transfer for transfer in self.transfers if transfer.port in ports]

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        request = f"{handler.command} {handler.path}"
        if not self.pass_on:
            with self._watching:
                self.refused += 1
            handler.close_connection = True
            with contextlib.suppress(OSError):
                handler.connection.shutdown(socket.SHUT_RDWR)
            return
        if _BLOB.search(request) is None:
            super()._handle(handler)
            return
        key = threading.get_ident()
        with self._watching:
            self._transfers[key] = Transfer(request, int(handler.client_address[1]))
            self._connections[key] = handler.connection
        try:
            super()._handle(handler)
        finally:
            with self._watching:
                del self._transfers[key], self._connections[key]


def _local_ports(pids: Iterable[int]) -> set[int]:
    """Ports of the TCP sockets that these processes hold."""
    inodes = {inode for pid in pids for inode in _sockets(pid)}
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[9] in inodes:
            found.add(int(words[1].partition(":")[2], 16))
    return found


def _sockets(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if match := re.match(r"socket:\[(\d+)\]", os.readlink(entry)):  # noqa: PTH115 - not a path
                    found.add(match.group(1))
    return found
