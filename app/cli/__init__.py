"""The `geo` command. Each module beside this one holds the commands of one noun."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import click

from app import __version__

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

#: Where each command is, in the order in which `geo --help` lists them: what a newcomer needs comes first. A module is
#: imported when one of its commands is asked for: all of them together take longer than most commands do.
COMMANDS: Mapping[str, str] = {
    "up": "processes",
    "demo": "demo",
    "migrate": "state",
    "status": "state",
    "check": "check",
    "sites": "sites",
    "repositories": "repositories",
    "sync": "sync",
    "verify": "verify",
    "reconcile": "sync",
    "plan": "plan",
    "why": "why",
    "events": "events",
    "keygen": "keys",
    "token": "keys",
    "registry-config": "keys",
    "console": "console",
    "web": "processes",
    "worker": "processes",
    "scheduler": "processes",
}


class Commands(click.Group):
    """Those of `COMMANDS`, each a function of its name in its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"app.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command


@click.group(cls=Commands, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="geo-registry")
def main() -> None:
    """Event-driven, verified geo-replication of container registries.

    Settings come from the environment; see the README. Exit status: 0 good, 1 not in order, 2 wrong usage.
    """


__all__ = ["COMMANDS", "main"]
