"""docs/commands.md says what the commands say."""

from __future__ import annotations

import subprocess
import sys

from app.cli import COMMANDS
from tests.docs.commands import PAGE
from tests.support.root import ROOT


def rendered() -> str:
    """In a process of its own: click keeps a command's option for help as somebody first asked for it."""
    script = "import sys; from tests.docs.commands import render; sys.stdout.write(render())"
    env = {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, cwd=ROOT, capture_output=True, timeout=60, check=True
    )
    return done.stdout.decode()


def test_the_reference_is_up_to_date() -> None:
    assert PAGE.read_text() == rendered(), "run `make docs`"


def test_every_command_is_in_it() -> None:
    text = PAGE.read_text()
    assert [name for name in COMMANDS if f"\n## geo {name}\n" not in text] == []
