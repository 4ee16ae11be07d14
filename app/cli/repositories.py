"""`geo repositories`, `geo sync`, `geo reconcile` and `geo why`."""

from __future__ import annotations

import time
from typing import Any

import click

from app.cli.common import duration, fail, load, plainly, print_json, print_table, short, site_named
from app.cli.progress import Progress
from app.database import connection
from app.models import ContainerRepository, Reference, Site, SyncAttempt, SyncState
from app.models import ContainerRepositoryRegistry as Registry
from app.replication import backfill, marking
from app.replication.planner import RepositoryMissing
from app.replication.replicator import Replicator, UnknownRepository, find

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
    with connection():
        query = (
            Registry.select(Registry, ContainerRepository, Site).join(ContainerRepository).switch(Registry).join(Site)
        )
        if state is not None:
            query = query.where(Registry.state == next(s for s, word in WORDS.items() if word == state))
        if site is not None:
            query = query.where(Site.name == site)
        rows = [_row(row) for row in query.order_by(ContainerRepository.path, Registry.site)]
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
                    WORDS[SyncState(r["state"])],
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
        "retry_count": row.retry_count,
        "last_sync_failure": row.last_sync_failure,
        "retry_at": row.retry_at,
        "last_synced_at": row.last_synced_at,
        "created_at": row.created_at,
    }


@click.command(short_help="Sync one repository now, or mark all.")
@click.argument("repository", required=False)
@click.option("--all", "everything", is_flag=True, help="Find all repositories and mark them; the workers copy them.")
@click.option("--wait", is_flag=True, help="With --all: wait until all are done; exit 1 if any failed.")
@click.option("--site", help="Which site, if there are several.")
@plainly
def sync(repository: str | None, everything: bool, wait: bool, site: str | None) -> None:
    """Make the secondary's REPOSITORY equal to the primary's: a full sync, here and now.

    One try, whatever its retry time says; a running sync is waited for. Exits 1 if it failed.
    """
    if (repository is None) == (not everything):
        raise click.UsageError("name one repository, such as team/app, or give --all")
    if wait and not everything:
        raise click.UsageError("--wait goes with --all; a single repository is always waited for")
    context = load()
    chosen = site_named(site)
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
        before = SyncAttempt.select().order_by(SyncAttempt.id.desc()).limit(1).scalar() or 0
    closed = Replicator(row.id).sync()
    context.close()
    with connection():
        query = SyncAttempt.select().where((SyncAttempt.registry == row) & (SyncAttempt.id > before))
        actions = [attempt.action for attempt in query if attempt.outcome == "synced"]
    if closed.state is SyncState.FAILED:
        fail(closed.failure or "the sync failed")
    if closed.state is None:
        fail("another worker took the repository over; look with `geo repositories`")
    done = ", ".join(f"{actions.count(name)} {word}" for name, word in _ACTIONS.items() if name in actions)
    click.echo(f"{repository} is synced on {chosen.name} ({done or 'no tags'}; {duration(time.monotonic() - started)})")


_ACTIONS = {"copy": "copied", "keep": "already equal", "delete": "deleted", "forget": "gone"}


def _sync_all(site: Site, wait: bool) -> None:
    from app.replication.context import current

    try:
        count = backfill.mark_all(site, current().primary, priority=marking.MANUAL)
    except backfill.NoCatalog as error:
        fail(str(error))
    click.echo(f"{count} repositories are marked for a full sync on {site.name}.")
    if wait:
        _wait(site)


def _wait(site: Site) -> None:
    """Follow the workers until no repository waits. A failed one with a later try counts as done."""
    with Progress("repositories") as progress:
        while True:
            with connection():
                of_site = Registry.select().where(Registry.site == site)
                total = of_site.count()
                open_rows = of_site.where(Registry.state.in_([SyncState.PENDING, SyncState.STARTED])).count()
                failed = of_site.where(Registry.state == SyncState.FAILED).count()
            progress.show(total - open_rows, total)
            if not open_rows:
                break
            time.sleep(0.2)
    if failed:
        fail(f"{failed} repositories failed; `geo repositories --state failed` says why")
    click.echo(f"All {total} repositories are synced.")


@click.command(short_help="Ask for a full look at everything.")
@plainly
def reconcile() -> None:
    """Ask for a full look at everything: drift that no event told of is found and set right."""
    load()
    backfill.request("asked for by hand")
    click.echo("The scheduler takes it up; `geo status` shows how far it is.")


@click.command(short_help="Tell why an image is, or is not, on each site.")
@click.argument("image", metavar="REPOSITORY[:TAG|@DIGEST]")
@plainly
def why(image: str) -> None:
    """Tell why an image is, or is not, on each site: what is wanted, what was seen, what was tried.

    Exits 1 if it is not there.
    """
    load()
    path, name = _split(image)
    with connection():
        repository = ContainerRepository.get_or_none(ContainerRepository.path == path)
        if repository is None:
            fail(f"{path} is not known: no event named it and no sync found it; `geo sync {path}` looks now")
        rows = list(Registry.select(Registry, Site).join(Site).where(Registry.container_repository == repository))
        if not rows:
            fail(f"{path} has events but no site replicates it yet; is it in GEO_REPOSITORIES, and do workers run?")
        # All are told, also after the first that is not in order.
        in_order = [_explain(row, path, name) for row in rows]
    raise SystemExit(0 if all(in_order) else 1)


def _split(image: str) -> tuple[str, str]:
    if "@" in image:
        path, _, name = image.partition("@")
    else:
        path, _, name = image.partition(":")
    return path, name or "latest"


def _explain(row: Registry, path: str, name: str) -> bool:
    reference = Reference.get_or_none((Reference.registry == row) & (Reference.name == name))
    click.echo(click.style(f"{path} {name} on {row.site.name}", bold=True))
    if not row.site.enabled:
        click.echo(f"  the site is paused: geo sites resume {row.site.name}")
    if reference is None:
        click.echo("  no event named it and no full sync found it; it is not replicated")
    else:
        click.echo(f"  state        {WORDS[SyncState(reference.state)]}")
        click.echo(f"  on primary   {reference.desired_digest or 'not there'}")
        click.echo(f"  on secondary {reference.observed_digest or 'not put there by us'}")
        if reference.drift_digest:
            click.echo(f"  drift        {reference.drift_digest} stands there and is not ours")
        if reference.failure:
            click.echo(f"  failure      {reference.failure}")
        if reference.retry_at:
            click.echo(f"  next try     {reference.retry_at.astimezone():%Y-%m-%d %H:%M:%S}")
    attempts = SyncAttempt.select().where((SyncAttempt.registry == row) & (SyncAttempt.reference == name))
    history = list(attempts.order_by(SyncAttempt.id.desc()).limit(10))
    if history:
        print_table(
            ("  WHEN", "TRIGGER", "ACTION", "OUTCOME", "FROM", "TO", "LAG", "REASON"),
            [
                (
                    f"  {a.finished_at.astimezone():%Y-%m-%d %H:%M:%S}",
                    f"{a.trigger} {a.event_id or ''}",
                    a.action,
                    a.outcome,
                    short(a.old_digest),
                    short(a.new_digest),
                    duration(a.lag_seconds) if a.lag_seconds is not None else None,
                    a.reason,
                )
                for a in history
            ],
        )
    return reference is not None and reference.state == SyncState.SYNCED
