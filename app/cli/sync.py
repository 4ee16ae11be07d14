"""`geo sync` and `geo reconcile`."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

import click
from peewee import PeeweeException

from app.cli.common import fail, load, plainly, print_json, site_named, waking
from app.cli.names import complete_repository, complete_site, meant_repository
from app.cli.progress import BYTES, TICK, Progress
from app.cli.text import number, repositories
from app.database import DatabaseUnavailable, connection
from app.models import Site, SyncState
from app.replication import backfill, bulk, marking, queries
from app.replication.catalog import NoCatalog
from app.replication.closing import Closed
from app.replication.context import Context
from app.replication.planner import RepositoryMissing
from app.replication.progress import halted
from app.replication.replicator import Replicator, UnknownRepository, find
from app.units import duration

#: Seconds to wait for another process that is finding the repositories: longer than a killed one keeps its lease.
PATIENCE = 90.0


@click.command(short_help="Sync one repository now, or mark all, or those that failed.")
@click.argument("repository", required=False, shell_complete=complete_repository)
@click.option("--all", "everything", is_flag=True, help="Find all repositories and mark them; the workers copy them.")
@click.option("--failed", "only_failed", is_flag=True, help="Mark those that failed, or in which a tag did.")
@click.option("--wait", is_flag=True, help="With --all or --failed: wait until they are done; exit 1 if any failed.")
@click.option("--json", "as_json", is_flag=True, help="For scripts; the document is described above.")
@click.option("--site", help="Which site, if there are several.", shell_complete=complete_site)
@plainly
def sync(
    repository: str | None, everything: bool, only_failed: bool, wait: bool, as_json: bool, site: str | None
) -> None:
    """Make the secondary's REPOSITORY equal to the primary's: a full sync, here and now.

    One try, whatever its retry time says; a running sync is waited for. With --all or --failed repositories are only
    marked, in seconds, and the workers sync them.

    \b
    Examples:
      geo sync team/app
      geo sync --all --wait
      geo sync --failed --site eu

    \b
    With --json, of a repository:
      {"repository": PATH, "site": NAME, "synced": BOOLEAN, "copied": N, "equal": N, "deleted": N, "gone": N,
       "bytes": N, "seconds": N, "failure": TEXT | null}
    With --all or --failed:
      {"site": NAME, "marked": N}, and with --wait {..., "total": N, "failed": N}

    Exit status: 0 synced, or marked; 1 failed, or with --wait any of them did; 2 wrong usage.
    """
    if [repository is not None, everything, only_failed].count(True) != 1:
        raise click.UsageError("name one repository, such as team/app, or give --all or --failed")
    if wait and repository is not None:
        raise click.UsageError("--wait goes with --all and --failed; a single repository is always waited for")
    context = load()
    chosen = site_named(site)
    if repository is not None:
        _sync_one(context, chosen, repository, as_json=as_json)
    else:
        _sync_many(context, chosen, only_failed=only_failed, wait=wait, as_json=as_json)


# --- one ------------------------------------------------------------------------------------------------------------


def _sync_one(context: Context, site: Site, repository: str, *, as_json: bool) -> None:
    try:
        row = find(site, repository, context.primary)
    except UnknownRepository as error:
        fail(str(error), 2)
    except RepositoryMissing as error:
        fail(f"{error}{meant_repository(repository)}")
    started = time.monotonic()
    with connection():
        before = next((attempt.id for attempt in queries.attempts(row.id, limit=1).rows), 0)
    with _shown(context, row.id):
        closed = Replicator(row.id).sync()
    context.close()
    done = _account(row.id, before)
    seconds = time.monotonic() - started
    failure = _failure(closed)
    if as_json:
        told = {"repository": repository, "site": site.name, "synced": failure is None, **done}
        print_json({**told, "seconds": round(seconds, 3), "failure": failure})
    if failure is not None:
        fail(failure)
    if not as_json:
        counts = [f"{done[key]} {word}" for key, word in _WORDS.items() if done[key]] or ["no tags"]
        click.echo(f"{repository} is synced on {site.name} ({', '.join(counts)}; {duration(seconds)})")


_WORDS = {"copied": "copied", "equal": "already equal", "deleted": "deleted", "gone": "gone"}


def _account(registry_id: int, before: int) -> dict[str, int]:
    """What was done since the attempt with this id."""
    with connection():
        attempts = queries.every(lambda after: queries.attempts(registry_id, after=after))
        new = [each for each in takewhile(lambda attempt: attempt.id > before, attempts) if each.outcome == "synced"]
        actions = Counter(attempt.action for attempt in new)
        return {
            "copied": actions["copy"],
            # What was found equal moved nothing, and leaves no attempt.
            "equal": max(0, queries.tags_in_order(registry_id) - actions["copy"]),
            "deleted": actions["delete"],
            "gone": actions["forget"],
            "bytes": sum(attempt.bytes_copied for attempt in new),
        }


def _failure(closed: Closed) -> str | None:
    if closed.state is SyncState.FAILED:
        return closed.failure or "the sync failed"
    if closed.state is None:
        return "another worker took the repository over; look with `geo repositories`"
    return None


@contextmanager
def _shown(context: Context, registry_id: int) -> Iterator[None]:
    """On a terminal, show the bytes that move and the tags that are left; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield
        return
    over = threading.Event()
    with Progress(BYTES) as bar:
        thread = threading.Thread(target=_watch, args=(context, registry_id, bar, over), name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _watch(context: Context, registry_id: int, bar: Progress, over: threading.Event) -> None:
    # Most are over before there is anything to see.
    while not over.wait(TICK):
        moved = context.movements.whole.now
        if moved.total:
            bar.show(moved.done, moved.total, _tags_left(registry_id))
    moved = context.movements.whole.now
    if bar.shown:
        bar.show(moved.done, moved.total)


def _tags_left(registry_id: int) -> str:
    try:
        with connection():
            count = queries.references_pending(registry_id)
    except (PeeweeException, DatabaseUnavailable):
        # The sync itself says what is wrong.
        return ""
    return f"{number(count, 'tag')} to go" if count else ""


# --- many -----------------------------------------------------------------------------------------------------------


def _sync_many(context: Context, site: Site, *, only_failed: bool, wait: bool, as_json: bool) -> None:
    with waking(context):
        ids = bulk.resync_failed(site, context) if only_failed else None
        marked = _mark_all(site, context) if ids is None else len(ids)
    told: dict[str, Any] = {"site": site.name, "marked": marked}
    if not as_json:
        which = "that failed " if only_failed else ""
        verb = "is" if marked == 1 else "are"
        click.echo(f"{repositories(marked)} {which}{verb} marked for a full sync on {site.name}.")
    context.close()
    if wait and ids != []:
        told |= _wait(site, context, ids)
    if as_json:
        print_json(told)
    if told.get("failed"):
        fail(f"{repositories(told['failed'])} failed; `geo repositories --state failed` says why")
    if "total" in told and not as_json:
        click.echo(f"All {repositories(told['total'])} are synced.")


def _mark_all(site: Site, context: Context) -> int:
    try:
        marked = backfill.mark_all(site, context.repositories(), priority=marking.MANUAL, patience=PATIENCE)
    except (NoCatalog, backfill.WalkUnderWay, backfill.WalkLost) as error:
        fail(str(error))
    if marked:
        context.wake.bulk(marked)
    return marked


def _wait(site: Site, context: Context, ids: Sequence[int] | None) -> dict[str, int]:
    """Follow the workers until no repository waits, or none of these. A failed one with a later try counts as done."""
    with Progress("repositories") as progress:
        while True:
            with connection():
                site = Site.get_by_id(site.id)
                counts = queries.repository_counts(site.name, ids)
                halt = halted(site, replication_enabled=context.settings.replication_enabled)
            total, failed = sum(counts.values()), counts[SyncState.FAILED]
            open_rows = counts[SyncState.PENDING] + counts[SyncState.STARTED]
            progress.show(total - open_rows, total, _note(site, failed))
            if not open_rows:
                return {"total": total, "failed": failed}
            if halt is not None:
                fail(f"{repositories(open_rows)} {'waits' if open_rows == 1 else 'wait'}, and {halt}")
            time.sleep(TICK)


def _note(site: Site, failed: int) -> str:
    notes = [] if site.enabled else [f"{site.name} is paused"]
    notes += [f"{failed} failed"] if failed else []
    return ", ".join(notes)


@click.command(short_help="Ask for a full look at everything.")
@click.option("--json", "as_json", is_flag=True, help='For scripts: {"requested": true}.')
@plainly
def reconcile(as_json: bool) -> None:
    """Ask for a full look at everything: drift that no event told of is found and set right.

    The scheduler takes it up within a second; `geo status` shows how far it is.

    \b
    Examples:
      geo reconcile

    Exit status: 0 asked for; 1 the database cannot be used; 2 wrong settings.
    """
    load()
    backfill.request("asked for by hand")
    if as_json:
        print_json({"requested": True})
    else:
        click.echo("The scheduler takes it up; `geo status` shows how far it is.")
