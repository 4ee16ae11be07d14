"""`geo sync` and `geo reconcile`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile

import click

from app.cli.common import duration, fail, load, plainly, site_named
from app.cli.progress import Progress
from app.database import connection
from app.models import Site, SyncState
from app.replication import backfill, marking, queries, replicator
from app.replication.context import Context
from app.replication.planner import RepositoryMissing
from app.replication.progress import Backfill, halted
from app.replication.progress import backfill as backfill_progress
from app.replication.replicator import Replicator, UnknownRepository, find

#: Seconds to wait for another process that is finding the repositories: longer than a killed one keeps its lease.
PATIENCE = 90.0

#: Seconds that waking them may take.
WAKING = 3.0


@click.command(short_help="Sync one repository now, or mark all, or those that failed.")
@click.argument("repository", required=False)
@click.option("--all", "everything", is_flag=True, help="Find all repositories and mark them; the workers copy them.")
@click.option("--failed", "only_failed", is_flag=True, help="Mark those that failed, or in which a tag did.")
@click.option("--wait", is_flag=True, help="With --all or --failed: wait until they are done; exit 1 if any failed.")
@click.option("--site", help="Which site, if there are several.")
@plainly
def sync(repository: str | None, everything: bool, only_failed: bool, wait: bool, site: str | None) -> None:
    """Make the secondary's REPOSITORY equal to the primary's: a full sync, here and now.

    One try, whatever its retry time says; a running sync is waited for. Exits 1 if it failed.
    """
    if [repository is not None, everything, only_failed].count(True) != 1:
        raise click.UsageError("name one repository, such as team/app, or give --all or --failed")
    if wait and repository is not None:
        raise click.UsageError("--wait goes with --all and --failed; a single repository is always waited for")
    context = load()
    chosen = site_named(site)
    if repository is None:
        ids = _mark_failed(chosen, context) if only_failed else None
        marked = _mark_all(chosen, context) if ids is None else len(ids)
        context.close()
        if marked:
            _wake(context, marked)
        if wait and ids != []:
            _wait(chosen, context, ids)
        return
    try:
        row = find(chosen, repository, context.primary)
    except UnknownRepository as error:
        fail(str(error), 2)
    except RepositoryMissing as error:
        fail(str(error))
    started = time.monotonic()
    with connection():
        before = next((attempt.id for attempt in queries.attempts(row.id, limit=1).rows), 0)
    closed = Replicator(row.id).sync()
    context.close()
    with connection():
        attempts = queries.every(lambda after: queries.attempts(row.id, after=after))
        new = takewhile(lambda attempt: attempt.id > before, attempts)
        actions = Counter(attempt.action for attempt in new if attempt.outcome == "synced")
        # What was found equal moved nothing, and leaves no attempt.
        actions["keep"] = max(0, queries.tags_in_order(row.id) - actions["copy"])
    if closed.state is SyncState.FAILED:
        fail(closed.failure or "the sync failed")
    if closed.state is None:
        fail("another worker took the repository over; look with `geo repositories`")
    done = ", ".join(f"{actions[name]} {word}" for name, word in _ACTIONS.items() if actions[name])
    click.echo(f"{repository} is synced on {chosen.name} ({done or 'no tags'}; {duration(time.monotonic() - started)})")


_ACTIONS = {"copy": "copied", "keep": "already equal", "delete": "deleted", "forget": "gone"}


def _mark_all(site: Site, context: Context) -> int:
    try:
        count = backfill.mark_all(site, context.repositories(), priority=marking.MANUAL, patience=PATIENCE)
    except (backfill.NoCatalog, backfill.WalkUnderWay, backfill.WalkLost) as error:
        fail(str(error))
    click.echo(f"{count} repositories are marked for a full sync on {site.name}.")
    return count


def _mark_failed(site: Site, context: Context) -> list[int]:
    ids = replicator.resync_failed(site, context)
    click.echo(f"{len(ids)} repositories that failed are marked for a full sync on {site.name}.")
    return ids


def _wake(context: Context, count: int) -> None:
    """Wake the workers, if their queue is known here; else the scheduler does, a second later."""
    if context.settings.redis_url is None and context.settings.broker_url is None:
        return
    # Here, because it brings Dramatiq, which takes as long to import as all the rest.
    from workers.wake import QueueWake

    wake = QueueWake(context.settings)
    wake.rows(count)
    wake.join(WAKING)


def _wait(site: Site, context: Context, ids: Sequence[int] | None) -> None:
    """Follow the workers until no repository waits, or none of these. A failed one with a later try counts as done."""
    with Progress("repositories") as progress:
        while True:
            with connection():
                site = Site.get_by_id(site.id)
                counts = queries.repository_counts(site.name, ids)
                everything = None if ids else backfill_progress(site)
                halt = halted(site, replication_enabled=context.settings.replication_enabled)
            total, failed = sum(counts.values()), counts[SyncState.FAILED]
            open_rows = counts[SyncState.PENDING] + counts[SyncState.STARTED]
            progress.show(total - open_rows, total, _note(site, failed, everything))
            if not open_rows:
                break
            if halt is not None:
                fail(f"{open_rows} repositories wait, and {halt}")
            time.sleep(0.2)
    if failed:
        fail(f"{failed} repositories failed; `geo repositories --state failed` says why")
    click.echo(f"All {total} repositories are synced.")


def _note(site: Site, failed: int, everything: Backfill | None) -> str:
    notes = [] if site.enabled else [f"{site.name} is paused"]
    notes += [f"{failed} failed"] if failed else []
    if everything is not None and everything.ends_at is not None:
        notes.append(f"should end at {everything.ends_at.astimezone():%H:%M:%S}")
    return ", ".join(notes)


@click.command(short_help="Ask for a full look at everything.")
@plainly
def reconcile() -> None:
    """Ask for a full look at everything: drift that no event told of is found and set right."""
    load()
    backfill.request("asked for by hand")
    click.echo("The scheduler takes it up; `geo status` shows how far it is.")
