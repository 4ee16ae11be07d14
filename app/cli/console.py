"""`geo console`: Python with the models, the actors and the registries at hand."""

from __future__ import annotations

import code
import sys
from typing import Any

import click
from dramatiq.brokers.stub import StubBroker
from peewee import ModelSelect

from app.cli.common import load, plainly
from app.database import database

#: Rows of a query that are printed.
SHOWN = 20

BANNER = """geo-registry console. At hand: {names}

  ContainerRepositoryRegistry.replication_enabled()
  registry = ContainerRepositoryRegistry.first()
  registry.replicator.sync()               # here and now
  sync_repository.send(registry.id)        # by a worker
  registry.replicator.verify()             # is everything there?
  registry.reload()
"""


@click.command(short_help="Open a Python console.")
@click.option("--command", "-c", help="Run this and end, as `python -c` does.")
@plainly
def console(command: str | None) -> None:
    """Open a Python console with the models, the actors and both registries at hand.

    \b
    Examples:
      geo console
      geo console -c "print(Event.select().count())"

    Exit status: 0; 1 the database cannot be used, or the command failed; 2 wrong usage.
    """
    names = namespace()
    if command is None and isinstance(names["sync_repository"].broker, StubBroker):
        click.echo(
            "geo: warning: no broker is known here, so nobody hears of .send(); set REDIS_URL,"
            " or open the console in the directory of `geo up`",
            err=True,
        )
    sys.displayhook = show
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


def show(value: Any) -> None:
    """Print what a line gives, and of a query the rows: that is what a person asks for."""
    if not isinstance(value, ModelSelect):
        sys.__displayhook__(value)
        return
    rows = list(value.limit(SHOWN + 1))
    for row in rows[:SHOWN]:
        click.echo(repr(row))
    click.echo(f"({len(rows)} rows)" if len(rows) <= SHOWN else f"(the first {SHOWN}; .count() counts them)")


def namespace() -> dict[str, Any]:
    """What the console knows by name. Imports the actors, so the broker is made from the environment."""
    context = load()
    import workers
    from app import models
    from app.replication import claim, closing, cursor, event_log, replicator, status, work

    return {
        **{name: getattr(models, name) for name in models.__all__ if name not in {"MODELS", "BaseModel"}},
        "process_events": workers.process_events,
        "sync_repository": workers.sync_repository,
        "verify_repository": workers.verify_repository,
        "primary": context.primary,
        "secondary": context.secondary,
        "context": context,
        "claim": claim,
        "closing": closing,
        "cursor": cursor,
        "event_log": event_log,
        "replicator": replicator,
        "status": status,
        "work": work,
    }
