"""The `geo` command. Each module beside this one holds the commands of one noun."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

import click

from app import __version__
from app.cli.names import meant

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

#: Where each command is, in the order in which `geo --help` lists them: what a newcomer needs comes first. A module is
#: imported when one of its commands is asked for: all of them together take longer than most commands do.
COMMANDS: Mapping[str, str] = {
    "up": "processes",
    "demo": "demo",
    "migrate": "database",
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
    "backup": "database",
    "promote": "promote",
    "demote": "demote",
    "keygen": "keys",
    "token": "keys",
    "registry-config": "keys",
    "console": "console",
    "completion": "shell",
    "help": "shell",
    "web": "processes",
    "worker": "processes",
    "scheduler": "processes",
}


#: What they do, for `geo --help` and for a shell: so that neither has to import them all.
SUMMARIES: Mapping[str, str] = {
    "up": "Run everything in one go.",
    "demo": "See it work on this machine.",
    "migrate": "Bring the database's schema up to date.",
    "status": "Tell how far each site is.",
    "check": "Try everything; say what is wrong and what to change.",
    "sites": "List, add, edit, pause and release sites.",
    "repositories": "List the repositories of each site and how they are.",
    "sync": "Sync one repository now, or mark all, or those that failed.",
    "verify": "Prove that what was replicated is there.",
    "reconcile": "Ask for a full look at everything.",
    "plan": "Tell what a sync would do, and touch nothing.",
    "why": "Tell why an image is, or is not, on each site.",
    "events": "List the newest events of the log, newest first.",
    "backup": "Copy the embedded database, while everything runs.",
    "promote": "Make a secondary the primary.",
    "demote": "Make a former primary a secondary, and lose nothing of it.",
    "keygen": "Make the key pair and the notification secret.",
    "token": "Mint a registry token, to try requests by hand.",
    "registry-config": "Print what to add to a registry's configuration.",
    "console": "Open a Python console.",
    "completion": "Print the completion script of a shell.",
    "help": "Explain a command.",
    "web": "Run the web process (gunicorn) in the foreground.",
    "worker": "Run the worker process (dramatiq) in the foreground.",
    "scheduler": "Run the scheduler in the foreground.",
}

#: Functions that are called otherwise than their command.
FUNCTIONS: Mapping[str, str] = {"help": "help_"}


class Commands(click.Group):
    """Those of `COMMANDS`, each a function of its name in its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"app.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, FUNCTIONS.get(cmd_name, cmd_name.replace("-", "_")))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._summary(ctx, name)) for name in COMMANDS])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        names = [name for name in COMMANDS if name.startswith(incomplete)]
        items = [CompletionItem(name, help=self._summary(ctx, name)) for name in names]
        return items + click.Command.shell_complete(self, ctx, incomplete)

    def _summary(self, ctx: click.Context, name: str) -> str:
        if name in SUMMARIES:
            return SUMMARIES[name]
        command = self.get_command(ctx, name)
        return command.get_short_help_str(limit=100) if command is not None else ""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not (args[0].startswith("-") or ctx.resilient_parsing):
            ctx.fail(f"No such command {args[0]!r}{meant(args[0], COMMANDS) or '.'}")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="geo-registry")
@click.pass_context
def main(context: click.Context) -> None:
    """Event-driven, verified geo-replication of container registries.

    Settings come from the environment; see docs/settings.md. `geo help COMMAND` explains a command.

    Exit status: 0 good, 1 not in order, 2 wrong usage. Colours only on a terminal, and never with NO_COLOR.
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        context.color = False


__all__ = ["COMMANDS", "main"]
