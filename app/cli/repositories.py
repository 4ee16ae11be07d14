"""`geo repositories`, `geo sync`, `geo reconcile` and `geo why`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any

import click

from app.cli.common import duration, fail, load, plainly, print_json, print_table, short, site_named
from app.cli.progress import Progress
from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Site, SyncState
from app.registry import is_digest, is_repository, is_tag
from app.replication import backfill, marking, queries, replicator
from app.replication.context import Context
from app.replication.explain import explain
from app.replication.explanation import Cause, Explanation
from app.replication.planner import RepositoryMissing
from app.replication.progress import Backfill
from app.replication.progress import backfill as backfill_progress
from app.replication.queries import Filter
from app.replication.replicator import Replicator, UnknownRepository, find

#: Seconds to wait for another process that is finding the repositories: longer than a killed one keeps its lease.
PATIENCE = 90.0

#: How the states are called; the numbers are GitLab's.
WORDS = {
    SyncState.PENDING: "pending",
    SyncState.STARTED: "started",
    SyncState.SYNCED: "synced",
    SyncState.FAILED: "failed",
}


@click.command()
@click.option("--state", type=click.Choice(list(WORDS.values())), help="List only those in this state.")
@click.option("--site", help="List only this site's.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@plainly
def repositories(state: str | None, site: str | None, as_json: bool) -> None:
    """List the repositories of each site and how they are."""
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
    if only_failed:
        _sync_failed(chosen, context, wait)
        return
    if repository is None:
        _sync_all(chosen, wait)
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


def _sync_all(site: Site, wait: bool) -> None:
    from app.replication.context import current

    try:
        count = backfill.mark_all(site, current().repositories(), priority=marking.MANUAL, patience=PATIENCE)
    except (backfill.NoCatalog, backfill.WalkUnderWay, backfill.WalkLost) as error:
        fail(str(error))
    click.echo(f"{count} repositories are marked for a full sync on {site.name}.")
    if wait:
        _wait(site)


def _sync_failed(site: Site, context: Context, wait: bool) -> None:
    ids = replicator.resync_failed(site, context)
    click.echo(f"{len(ids)} repositories that failed are marked for a full sync on {site.name}.")
    context.close()
    if wait and ids:
        _wait(site, ids)


def _wait(site: Site, ids: Sequence[int] | None = None) -> None:
    """Follow the workers until no repository waits, or none of these. A failed one with a later try counts as done."""
    with Progress("repositories") as progress:
        while True:
            with connection():
                site = Site.get_by_id(site.id)
                counts = queries.repository_counts(site.name, ids)
                everything = None if ids else backfill_progress(site)
            total, failed = sum(counts.values()), counts[SyncState.FAILED]
            open_rows = counts[SyncState.PENDING] + counts[SyncState.STARTED]
            progress.show(total - open_rows, total, _note(site, failed, everything))
            if not open_rows:
                break
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


@click.command(short_help="Tell why an image is, or is not, on each site.")
@click.argument("image", metavar="REPOSITORY[:TAG|@DIGEST]")
@click.option("--json", "as_json", is_flag=True, help="For scripts: a list with an object a site.")
@plainly
def why(image: str, as_json: bool) -> None:
    """Tell why an image is, or is not, on each site, what to do about it, and what was tried.

    Without tag and digest it is `latest`. From what was seen and done so far: to ask both registries now, `geo plan`.
    Exits 1 if it is not there, or older than on the primary.
    """
    path, name = _split(image)
    context = load()
    with connection():
        found = explain(path, name, replication_enabled=context.settings.replication_enabled)
    if as_json:
        print_json([_explanation(each) for each in found])
    elif not found:
        click.echo("No site replicates anything: this deployment has no secondary (GEO_ROLE).")
    else:
        for each in found:
            _tell(each)
    current = [each for each in found if each.cause is not Cause.RETIRED]
    raise SystemExit(0 if current and all(each.there for each in current) else 1)


def _split(image: str) -> tuple[str, str]:
    """Repository and tag or digest; of both together the digest counts, as everywhere."""
    named, _, digest = image.partition("@")
    path, colon, tag = named.rpartition(":")
    if not colon or "/" in tag:
        # A colon before a slash is a port's.
        path, colon, tag = named, "", ""
    name = digest or (tag if colon else "latest")
    if not is_repository(path):
        raise click.UsageError(f"{path!r} is not a repository path, such as team/app (without host)")
    if not (is_digest(name) if digest else is_tag(name)):
        raise click.UsageError(f"{name!r} is neither a tag nor a digest")
    return path, name


def _tell(told: Explanation) -> None:
    joint = "@" if is_digest(told.reference) else ":"
    image = f"{told.repository}{joint}{told.reference}"
    click.echo(click.style(f"{image} on {told.site}: {told.cause.replace('_', ' ')}", bold=True))
    click.echo(f"  {told.why}")
    click.echo(f"  {told.next}")
    if told.record is not None:
        record = told.record
        click.echo(f"  state        {WORDS[SyncState(record.state)]}")
        click.echo(f"  on primary   {record.desired_digest or 'not there'}")
        click.echo(f"  on secondary {record.observed_digest or 'not put there by us'}")
        if record.drift_since is not None:
            what = record.drift_digest or "something"
            click.echo(f"  drift        {what} stands there and is not ours, since {_time(record.drift_since)}")
        if record.retry_at:
            click.echo(f"  next try     {_time(record.retry_at)}")
    if told.history:
        print_table(
            ("  WHEN", "TRIGGER", "ACTION", "OUTCOME", "FROM", "TO", "LAG", "REASON"),
            [
                (
                    f"  {_time(a.finished_at)}",
                    f"{a.trigger} {a.event_id or ''}",
                    a.action,
                    a.outcome,
                    short(a.old_digest),
                    short(a.new_digest),
                    duration(a.lag_seconds) if a.lag_seconds is not None else None,
                    a.reason,
                )
                for a in told.history
            ],
        )


def _time(instant: datetime) -> str:
    return f"{instant.astimezone():%Y-%m-%d %H:%M:%S}"


def _explanation(told: Explanation) -> dict[str, Any]:
    """What `--json` prints of one site."""
    record = told.record
    return {
        "site": told.site,
        "repository": told.repository,
        "reference": told.reference,
        "cause": told.cause.value,
        "there": told.there,
        "why": told.why,
        "next": told.next,
        "ahead": told.ahead,
        "state": None if record is None else record.state,
        "primary_digest": None if record is None else record.desired_digest,
        "secondary_digest": None if record is None else record.observed_digest,
        "drift_digest": None if record is None else record.drift_digest,
        "failure": None if record is None else record.failure,
        "failure_reason": None if record is None else record.failure_reason,
        "retry_at": None if record is None else record.retry_at,
        "attempts": [
            {
                "finished_at": attempt.finished_at,
                "trigger": attempt.trigger,
                "event_id": attempt.event_id,
                "action": attempt.action,
                "outcome": attempt.outcome,
                "reason": attempt.reason,
                "message": attempt.message,
                "old_digest": attempt.old_digest,
                "new_digest": attempt.new_digest,
                "bytes_copied": attempt.bytes_copied,
                "lag_seconds": attempt.lag_seconds,
            }
            for attempt in told.history
        ],
    }
