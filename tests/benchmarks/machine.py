"""Where and with what it was measured."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.benchmarks.peers import Peer
from tests.support import parts
from tests.support.root import ROOT


def machine() -> dict[str, Any]:
    """Processors, memory and kernel."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_gib": round(memory / 1024**3, 1),
        "kernel": f"{platform.system()} {platform.release()}",
    }


def versions(peers: Sequence[Peer]) -> dict[str, str]:
    """Of the registry, the peers and what we stand on."""
    registry = parts.find("docker-registry", "/usr/bin/docker-registry")
    return {
        "Distribution": _first(rf"({_NUMBER})", _output([registry, "--version"])) if registry else "none",
        **{peer.name: peer.version for peer in peers if not peer.as_it_comes},
        "Python": platform.python_version(),
        **{name: metadata.version(name) for name in ("dramatiq", "peewee", "requests", "urllib3")},
    }


def commit() -> str:
    """The commit that was measured, with a + if the tree has changed since."""
    head = _output(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]).strip()
    changed = _output(["git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no"]).strip()
    return f"{head or 'unknown'}{'+' if changed else ''}"


_NUMBER = r"\d+\.\d+[.\d]*\S*"


def _processor() -> str:
    return _first(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text()) or platform.machine()


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    return match[1] if match else ""


def _output(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except OSError:
        return ""
    return done.stdout
