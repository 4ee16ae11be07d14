"""The real programs that the tests run, found on this machine."""

from __future__ import annotations

import glob
import importlib
import os
import re
import shutil
from pathlib import Path

import pytest


def required_here() -> bool:
    """Whether a missing part is an error: true on the build machine (`CI=true`)."""
    return os.environ.get("CI", "").lower() == "true"


def find(name: str, *candidates: str) -> str | None:
    """Return the path of program `name`, or of the first existing candidate, or None.

    A candidate is a name on PATH, a path, or a glob pattern of paths, of which the last in order wins (so that
    `/usr/lib/postgresql/*/bin/initdb` means the newest).
    """
    for candidate in (name, *candidates):
        expanded = os.path.expanduser(candidate)  # noqa: PTH111 - pathlib expands no pattern
        matches = sorted(glob.glob(expanded)) if glob.has_magic(expanded) else [expanded]  # noqa: PTH207
        for match in reversed(matches):
            path = shutil.which(match)
            if path is not None:
                return path
    return None


def require(name: str, *candidates: str) -> str:
    """Return the path of a program that the tests cannot do without.

    Missing, it skips the test for a person and fails it on the build machine, where a skipped test would pass
    unseen.
    """
    path = find(name, *candidates)
    if path is not None:
        return path
    message = f"{name} is not installed"
    if required_here():
        pytest.fail(f"{message}, and CI=true", pytrace=False)
    pytest.skip(message)


def library(module: str, distribution: str) -> None:
    """Skip the test where a library is not installed; on the build machine fail it if the tests' lock file has it."""
    try:
        importlib.import_module(module)
    except ImportError:
        locked = (Path(__file__).resolve().parents[1] / "requirements.txt").read_text()
        if required_here() and re.search(rf"^{re.escape(distribution)}==", locked, re.MULTILINE):
            pytest.fail(f"{distribution} is not installed, and CI=true", pytrace=False)
        pytest.skip(f"{distribution} is not installed")


def optional(name: str, *candidates: str) -> str:
    """Return the path of a program that only some machines have: missing, it always skips the test."""
    path = find(name, *candidates)
    if path is None:
        pytest.skip(f"{name} is not installed (optional)")
    return path
