"""docs/commands.md, made from what the commands say of themselves: `python -m tests.docs.commands` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import click

from app.cli import main
from tests.support.root import ROOT

PAGE = ROOT / "docs/commands.md"

#: Columns of the help texts.
WIDTH = 100

_HEAD = """\
# Commands

What each command says with `--help`. This page is made from it by `make docs`; do not edit it.

Settings come from the environment: [settings](settings.md). Commands that look at the state (all but `keygen`,
`token`, `registry-config` and `demo`) are run where the deployment runs, with the environment that it has. A command
exits with 0 where all is good, 1 where something is not in order, and 2 where it was not used rightly.

"""


def render() -> str:
    """The whole page."""
    with _alone():
        commands = list(_commands(main, click.Context(main, info_name="geo", terminal_width=WIDTH, color=False)))
        rows = [
            f"| [`{name}`](#{name.replace(' ', '-')}) | {command.get_short_help_str(200)} |"
            for name, command, _ in commands
        ]
        sections = [f"## {name}\n\n```text\n{text}\n```\n" for name, _, text in commands]
    return _HEAD + "\n".join(["| command | what it does |", "|---|---|", *rows, "", *sections])


def _commands(group: click.Group, parent: click.Context) -> Iterator[tuple[str, click.Command, str]]:
    """Name, command and help of everything below a group, in its own order."""
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        if command is None or command.hidden:
            continue
        context = click.Context(command, parent=parent, info_name=name, **_settings(command))
        text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
        yield context.command_path, command, text
        if isinstance(command, click.Group):
            yield from _commands(command, context)


def _settings(command: click.Command) -> dict[str, Any]:
    return {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH, "color": False}


@contextmanager
def _alone() -> Iterator[None]:
    """Without what the environment of whoever runs it says: help texts show the values of variables."""
    with mock.patch.dict("os.environ", clear=True):
        yield


if __name__ == "__main__":
    PAGE.write_text(render())
