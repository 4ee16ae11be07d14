"""docs/commands.md says what the commands say."""

from __future__ import annotations

from app.cli import COMMANDS
from tests.docs.commands import PAGE, render


def test_the_reference_is_up_to_date() -> None:
    assert PAGE.read_text() == render(), "run `make docs`"


def test_every_command_is_in_it() -> None:
    text = PAGE.read_text()
    assert [name for name in COMMANDS if f"\n## geo {name}\n" not in text] == []
