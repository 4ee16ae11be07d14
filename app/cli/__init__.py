"""The `geo` command. Each module beside this one holds the commands of one noun."""

from __future__ import annotations

import click

from app import __version__
from app.cli.console import console
from app.cli.demo import demo
from app.cli.events import events
from app.cli.keys import keygen, registry_config, token
from app.cli.plan import plan
from app.cli.processes import scheduler, up, web, worker
from app.cli.remote_sites import COMMANDS as REMOTE_SITES
from app.cli.repositories import reconcile, repositories, sync, why
from app.cli.sites import sites
from app.cli.state import migrate, status
from app.cli.verify import verify

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class InOrder(click.Group):
    """Lists commands as they were added: what a newcomer needs comes first."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)


@click.group(cls=InOrder, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="geo-registry")
def main() -> None:
    """Event-driven, verified geo-replication of container registries.

    Settings come from the environment; see the README. Exit status: 0 good, 1 not in order, 2 wrong usage.
    """


for command in (
    up,
    demo,
    migrate,
    status,
    sites,
    repositories,
    sync,
    verify,
    reconcile,
    plan,
    why,
    events,
    keygen,
    token,
    registry_config,
    console,
    web,
    worker,
    scheduler,
):
    main.add_command(command)

for command in REMOTE_SITES:
    sites.add_command(command)

__all__ = ["main"]
