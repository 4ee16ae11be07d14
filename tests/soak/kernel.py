"""What the kernel says of processes: memory, open files, threads, connections, processor time."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

#: A connection that is there for both sides, in /proc/net/tcp.
_ESTABLISHED = "01"


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one process at one moment; memory in bytes."""

    pid: int
    #: When it was started, in the kernel's ticks: a pid alone may come again.
    born: int
    rss: int
    #: Its share of what it shares with others.
    pss: int
    fds: int
    sockets: int
    threads: int
    #: TCP connections by whom they lead to.
    connections: Mapping[str, int]

    def document(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Entry:
    """A process in the list of all."""

    pid: int
    parent: int
    born: int
    threads: int
    rss: int
    #: Processor seconds, with those of its children that have ended.
    seconds: float


def entry_of(pid: int) -> Entry | None:
    """None when it has ended, or is a zombie."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name may hold blanks and brackets: the fields begin behind the last one.
    words = stat.rpartition(")")[2].split()
    if words[0] == "Z":
        return None
    return Entry(
        pid=pid,
        parent=int(words[1]),
        born=int(words[19]),
        threads=int(words[17]),
        rss=int(words[21]) * _PAGE,
        seconds=sum(map(int, words[11:15])) / _TICKS,
    )


def entries() -> dict[int, Entry]:
    """All processes, by pid."""
    pids = (int(path.name) for path in _PROC.iterdir() if path.name.isdigit())
    return {pid: entry for pid in pids if (entry := entry_of(pid)) is not None}


def descendants(of: int, among: Mapping[int, Entry]) -> list[Entry]:
    """All that come from it, without it, parents first."""
    children: dict[int, list[Entry]] = {}
    for entry in among.values():
        children.setdefault(entry.parent, []).append(entry)
    found, waiting = [], list(children.get(of, []))
    while waiting:
        entry = waiting.pop(0)
        found.append(entry)
        waiting += children.get(entry.pid, [])
    return found


def command_line(pid: int) -> str:
    """Its words; empty when it has ended."""
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def processor_seconds(of: int) -> float:
    """What it and all that come from it have used so far, the ended ones that were waited for too."""
    among = entries()
    own = among[of].seconds if of in among else 0.0
    return own + sum(entry.seconds for entry in descendants(of, among))


class Look:
    """One look at the connections of all processes; `figures` gives what belongs to one."""

    def __init__(self, ports: Mapping[int, str]) -> None:
        """:param ports: whom a connection to that port of this machine leads to."""
        self._ports = ports
        self._remote = dict(_established())

    def figures(self, entry: Entry) -> Figures | None:
        """None when it has ended meanwhile."""
        try:
            inodes, fds = _sockets(entry.pid)
            pss = _pss(entry.pid)
        except OSError:
            return None
        known = (self._ports.get(self._remote[inode]) for inode in inodes if inode in self._remote)
        return Figures(
            pid=entry.pid,
            born=entry.born,
            rss=entry.rss,
            pss=pss,
            fds=fds,
            sockets=len(inodes),
            threads=entry.threads,
            connections=dict(Counter(name for name in known if name is not None)),
        )


def _established() -> Iterable[tuple[str, int]]:
    """The socket's number and the port at the other end, of each connection."""
    for line in (_PROC / "net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == _ESTABLISHED:
            yield words[9], int(words[2].partition(":")[2], 16)


def _sockets(pid: int) -> tuple[list[str], int]:
    """Numbers of its sockets, and how many files it has open in all."""
    inodes, fds = [], 0
    for entry in (_PROC / str(pid) / "fd").iterdir():
        fds += 1
        with contextlib.suppress(OSError):
            if match := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry)):  # noqa: PTH115 - not a path
                inodes.append(match[1])
    return inodes, fds


def _pss(pid: int) -> int:
    for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
