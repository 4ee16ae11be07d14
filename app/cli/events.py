"""`geo events`."""

from __future__ import annotations

from itertools import islice

import click

from app.cli.common import load, plainly, print_json, print_table, short
from app.database import connection
from app.replication import queries


@click.command(short_help="List the newest events of the log, newest first.")
@click.option("--limit", "-n", default=20, show_default=True, type=click.IntRange(1, 10_000), help="How many to list.")
@click.option("--quarantined", is_flag=True, help="List what could not be read instead.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@plainly
def events(limit: int, quarantined: bool, as_json: bool) -> None:
    """List the newest events of the log, newest first.

    \b
    Examples:
      geo events -n 5
      geo events --quarantined --json

    Exit status: 0; 1 it cannot be told; 2 wrong usage.
    """
    load()
    rows = _quarantined(limit) if quarantined else _events(limit)
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo(
            "Nothing is quarantined." if quarantined else "No event has arrived. `geo registry-config` says how."
        )
    else:
        headings = [name for name in rows[0] if name != "excerpt"]
        print_table(
            [name.upper().replace("_", " ") for name in headings],
            [[short(r[n]) if n == "digest" else r[n] for n in headings] for r in rows],  # type: ignore[arg-type]
        )


def _events(limit: int) -> list[dict[str, object]]:
    with connection():
        return [
            {
                "id": event.id,
                "occurred_at": event.occurred_at,
                "action": event.action,
                "repository": event.container_repository.path,
                "tag": event.tag,
                "digest": event.digest,
                "actor": event.actor,
            }
            for event in islice(queries.every(lambda after: queries.events(after=after)), limit)
        ]


def _quarantined(limit: int) -> list[dict[str, object]]:
    with connection():
        return [
            {
                "id": item.id,
                "last_seen_at": item.last_seen_at,
                "reason": item.reason,
                "occurrences": item.occurrences,
                "size": item.size,
                "remote_address": item.remote_address,
                "excerpt": item.excerpt,
            }
            for item in islice(queries.every(lambda after: queries.quarantined(after=after)), limit)
        ]
