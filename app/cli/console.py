"""`geo console`: Python with the models, the actors and the registries at hand."""

from __future__ import annotations

import code
from typing import Any

import click

from app.cli.common import load, plainly
from app.database import database

BANNER = """geo-registry console. At hand: {names}

  ContainerRepositoryRegistry.replication_enabled()
  registry = ContainerRepositoryRegistry.first()
  registry.replicator.sync()               # here and now
  sync_repository.send(registry.id)        # by a worker
  registry.reload()
"""


@click.command(short_help="Open a Python console.")
@click.option("--command", "-c", help="Run this and end, as `python -c` does.")
@plainly
def console(command: str | None) -> None:
    """Open a Python console with the models, the actors and both registries at hand."""
    names = namespace()
    # One connection for the whole of a person's visit; the models' queries need one, and nothing waits for it.
    database.connect()
    try:
        if command is not None:
            exec(compile(command, "<command>", "exec"), names)  # noqa: S102 - a person's own console
            return
        code.interact(banner=BANNER.format(names=", ".join(sorted(names))), local=names, exitmsg="")
    finally:
        if not database.is_closed():
            database.close()


def namespace() -> dict[str, Any]:
    """What the console knows by name. Imports the actors, so the broker is made from the environment."""
    context = load()
    import workers
    from app import models
    from app.replication import claim, cursor, event_log, replicator, status

    return {
        **{name: getattr(models, name) for name in models.__all__ if name not in {"MODELS", "BaseModel"}},
        "process_events": workers.process_events,
        "sync_repository": workers.sync_repository,
        "primary": context.primary,
        "secondary": context.secondary,
        "context": context,
        "claim": claim,
        "cursor": cursor,
        "event_log": event_log,
        "replicator": replicator,
        "status": status,
    }
