"""`geo repositories`."""

from __future__ import annotations

from typing import Any

import click

from app.cli.common import load, plainly, print_json, print_table
from app.cli.names import complete_site
from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import SyncState
from app.replication import queries
from app.replication.narrowing import Filter

#: How the states are called; the numbers are GitLab's.
WORDS = {
    SyncState.PENDING: "pending",
    SyncState.STARTED: "started",
    SyncState.SYNCED: "synced",
    SyncState.FAILED: "failed",
}


@click.command(short_help="List the repositories of each site and how they are.")
@click.option("--state", type=click.Choice(list(WORDS.values())), help="List only those in this state.")
@click.option("--site", help="List only this site's.", shell_complete=complete_site)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@plainly
def repositories(state: str | None, site: str | None, as_json: bool) -> None:
    """List the repositories of each site and how they are.

    \b
    Examples:
      geo repositories --state failed
      geo repositories --json | jq -r '.[] | select(.state == 3) | .path'

    Exit status: 0, however they are; 1 it cannot be told; 2 wrong usage.
    """
    load()
    narrow = Filter.parse(state=state, site=site)
    with connection():
        rows = [_row(row) for row in queries.every(lambda after: queries.repositories(narrow, after=after))]
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo("No repository is known yet. Push one, or find them with `geo sync --all`.")
    else:
        print_table(
            ("PATH", "SITE", "STATE", "RETRIES", "LAST SYNCED", "FAILURE"),
            [
                (
                    r["path"],
                    r["site"],
                    WORDS[SyncState(r["state"])] if r["in_scope"] else "out of scope",
                    r["retry_count"],
                    r["last_synced_at"],
                    r["last_sync_failure"],
                )
                for r in rows
            ],
        )


def _row(row: Registry) -> dict[str, Any]:
    return {
        "id": row.id,
        "path": row.container_repository.path,
        "site": row.site.name,
        "state": row.state,
        "in_scope": row.in_scope,
        "retry_count": row.retry_count,
        "last_sync_failure": row.last_sync_failure,
        "retry_at": row.retry_at,
        "last_synced_at": row.last_synced_at,
        "created_at": row.created_at,
    }
