"""The registries that an interop run knows: where their programs are found, and how each is started."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from tests.interop.servers import Olareg, Zot
from tests.support import parts
from tests.support.oci_registry import OciRegistry
from tests.support.registries import DistributionRegistry, Registry, Version
from tests.support.running import endpoint

#: Layers that are to be had from such addresses are taken by Distribution too, as far as it can.
URLS_ALLOWED = {"validation": {"manifests": {"urls": {"allow": ["^https://"]}}}}

#: Starts a registry in a directory of its own. The port is that of the deployment that it tells of pushes, if it can.
Start = Callable[[Path, int | None], AbstractContextManager[Registry]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A registry that is there to be run."""

    name: str
    title: str
    version: str
    start: Start = field(repr=False)
    #: Whether it tells of pushes and deletions; without that `geo sync` looks.
    notifies: bool


@dataclass(frozen=True, slots=True)
class _Known:
    name: str
    title: str
    #: Where the program is looked for, as `parts.find`; none for what is part of the tests.
    program: tuple[str, ...]
    make: Callable[[str], Start]
    #: The tag of Go's build without which it tells nobody; None for one that never does, "" for one that always does.
    notifies_with: str | None
    arguments: Sequence[str] = ("--version",)


def _distribution(version: Version) -> Callable[[str], Start]:
    def make(_: str) -> Start:
        def start(path: Path, notify: int | None) -> DistributionRegistry:
            return DistributionRegistry(
                path,
                version=version,
                schema1=version == "2.8",
                config=URLS_ALLOWED,
                notify=[endpoint(notify, ignore=True)] if notify is not None else [],
            )

        return start

    return make


def _zot(program: str) -> Start:
    return lambda path, notify: Zot(path, program, notify)


def _olareg(program: str) -> Start:
    return lambda path, _: Olareg(path, program)


def _stand_in(_: str) -> Start:
    return lambda _path, _notify: OciRegistry(sparse=True)


#: The one of these that is no real registry.
STAND_IN = "oci"

_KNOWN = (
    _Known("2.8", "Distribution 2.8", ("docker-registry", "/usr/bin/docker-registry"), _distribution("2.8"), ""),
    _Known("3", "Distribution 3", ("registry", "~/go/bin/registry"), _distribution("3"), ""),
    _Known("zot", "zot", ("zot", "~/go/bin/zot"), _zot, "events"),
    _Known("olareg", "olareg", ("olareg", "~/go/bin/olareg"), _olareg, None, ("version",)),
    _Known(STAND_IN, "OCI 1.1 (stand-in)", (), _stand_in, None),
)

#: The names of all of them.
NAMES = tuple(known.name for known in _KNOWN)


def find(name: str) -> Kind | None:
    """The registry of this name, or None where its program is not installed."""
    known = next(known for known in _KNOWN if known.name == name)
    if not known.program:
        return Kind(name, known.title, "of these tests", known.make(""), notifies=False)
    program = parts.find(*known.program)
    if program is None:
        return None
    facts = build_of(program)
    tag = known.notifies_with
    notifies = tag is not None and (not tag or tag in tags_in(facts))
    version = version_in(facts, _output(program, *known.arguments))
    return Kind(name, known.title, version, known.make(program), notifies)


def title(name: str) -> str:
    return next(known.title for known in _KNOWN if known.name == name)


def tags_in(facts: str) -> list[str]:
    """The build tags that `go version -m` tells of a program."""
    found = re.search(r"^\s*build\s+-tags=(\S+)$", facts, re.MULTILINE)
    return found[1].split(",") if found else []


def version_in(facts: str, words: str) -> str:
    """The version of a program by what `go version -m` tells of it, or else by its own words.

    Of itself, a program that `go install` made most often says "unknown".
    """
    found = re.search(r"^\s*mod\s+\S+\s+(v\d\S*)", facts, re.MULTILINE)
    found = found or re.search(r"\b(v?\d+\.\d+[.\d]*\S*)", words)
    return found[1] if found else "unknown"


def build_of(program: str) -> str:
    """What Go's linker wrote into the program, where there is a Go to read it."""
    go = parts.find("go", "/usr/local/go/bin/go")
    return _output(go, "version", "-m", program) if go is not None else ""


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
