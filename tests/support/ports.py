"""TCP ports on the loopback."""

from __future__ import annotations

import random
import socket

#: Below the range that the kernel takes local ports of outgoing connections from (32768 and up): a port that a
#: server leaves for a moment while it restarts is not taken by some client meanwhile.
PORTS = range(15000, 32000)

#: Those of the demonstration, which are fixed: primary, secondary and token service.
DEMONSTRATION = (5001, 5002, 5003)

#: What this process handed out: two servers that start later must not get the same one.
_handed_out: set[int] = set()

_random = random.SystemRandom()


def free_port() -> int:
    """Return a port on 127.0.0.1 on which nothing listens, never the same twice in one process."""
    for _ in range(1000):
        port = _random.choice(PORTS)
        if port not in _handed_out and _bindable(port):
            _handed_out.add(port)
            return port
    raise RuntimeError(f"no free port among {PORTS.start}-{PORTS.stop}")


def listening(port: int) -> bool:
    """Tell whether something listens on this port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _bindable(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
