"""`geo migrate` and `geo status`."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import datetime

import click

from app import migrate as migrations
from app.boot import bind_database
from app.cli.common import duration, load, plainly, print_json, print_table, scope_text
from app.database import connection
from app.replication import health, sites
from app.replication import status as counting
from app.replication.progress import Backfill
from app.replication.status import FollowerStatus, SiteStatus
from app.settings import Settings


@click.command()
@click.option("--status", "show", is_flag=True, help="Only say what is pending; exit 1 if anything is.")
@click.option("--down", is_flag=True, help="Undo the last migration instead.")
@plainly
def migrate(show: bool, down: bool) -> None:
    """Bring the database's schema up to date. Safe to run from several places at once."""
    settings = Settings.from_env(os.environ)
    bind_database(settings)
    if show:
        pending = migrations.pending()
        click.echo("\n".join(f"pending: {name}" for name in pending) or "The schema is up to date.")
        raise SystemExit(1 if pending else 0)
    done = migrations.revert() if down else migrations.migrate()
    word = "undone" if down else "applied"
    click.echo("\n".join(f"{word}: {name}" for name in done) or "The schema is up to date.")
    if not down:
        sites.apply_environment(settings)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@plainly
def status(as_json: bool) -> None:
    """Tell how far each site is. Exits 0 unless it cannot tell."""
    load()
    with connection():
        found = counting.status()
    if as_json:
        print_json(asdict(found))
        return
    click.echo(f"{found.repositories} repositories, {found.events} events in the log, {found.quarantined} quarantined")
    beat = found.scheduler_seconds
    click.echo("scheduler: " + ("never ran" if beat is None else f"last acted {duration(beat)} ago"))
    click.echo()
    print_table(
        (
            "SITE",
            "SYNCED",
            "VERIFIED",
            "PENDING",
            "STARTED",
            "FAILED",
            "TAGS",
            "DRIFT",
            "UNREAD EVENTS",
            "OLDEST WAITING",
            "LAST SYNCED",
        ),
        [
            (
                site.name,
                *_counts(site),
                site.unread_events,
                duration(site.oldest_pending_seconds) if site.oldest_pending_at else None,
                site.last_synced_at,
            )
            for site in found.sites
        ],
    )
    for site in found.sites:
        _tell_scope(site)
        if site.remote:
            _tell_remote(site, health.judge(site, found, found.at, replication_enabled=True))
        if site.follower is not None:
            _tell_follower(site.name, site.follower)
    for site in found.sites:
        if site.backfill is not None and not site.backfill.done:
            click.echo(f"\nlooking at everything on {site.name}: {_backfill(site.backfill)}")
        if site.out_of_scope or site.references_out_of_scope:
            click.echo(
                f"\nout of scope on {site.name}, kept and not updated: {site.out_of_scope} repositories,"
                f" {site.references_out_of_scope} tags"
            )
    for site in found.sites:
        if site.first_failure:
            click.echo(f"\n{click.style('failed', fg='red')} on {site.name}: {site.first_failure}")
        if site.first_verification_failure:
            click.echo(f"\n{click.style('not whole', fg='red')} on {site.name}: {site.first_verification_failure}")


def _counts(site: SiteStatus) -> tuple[object, ...]:
    """Synced, verified, pending, started, failed, tags and drift; nothing is known of a site that never reported."""
    if site.remote and site.report is None:
        return (None,) * 7
    return (
        f"{site.synced}/{site.total} ({site.synced_percent:.0f} %)",
        f"{site.verified}/{site.verification_total}" if site.verification_total else None,
        site.pending,
        site.started,
        site.failed,
        f"{site.references_synced}/{site.references}",
        site.drift,
    )


def _tell_scope(site: SiteStatus) -> None:
    limits = (site.repositories, site.tags, site.capacity)
    granted = (site.granted_repositories, site.granted_tags, site.granted_capacity)
    if any(limits):
        click.echo(f"\n{site.name} replicates {scope_text(*limits)}")
    if any(granted):
        click.echo(f"\nthe primary's deployment limits {site.name} to {scope_text(*granted)}")


def _tell_remote(site: SiteStatus, judged: health.Health) -> None:
    click.echo(f"\n{site.name} follows from a deployment of its own, last seen: {_time(site.seen_at)}")
    last = site.report
    if last is not None:
        own = (last.report.repositories, last.report.tags, last.report.capacity)
        narrowed = f", its own settings narrow that to {scope_text(*own)}" if any(own) else ""
        old = click.style(" (too old)", fg="red") if last.stale else ""
        click.echo(f"it reported {duration(last.age_seconds)} ago{old}, version {last.report.version}{narrowed}")
    click.echo(f"{judged.headline}. {judged.advice}".strip())


def _time(instant: datetime | None) -> str:
    return "never" if instant is None else f"{instant.astimezone():%Y-%m-%d %H:%M:%S}"


def _backfill(progress: Backfill) -> str:
    failed = f", {progress.failed} of them failed" if progress.failed else ""
    end = "" if progress.ends_at is None else f", should end at {progress.ends_at.astimezone():%Y-%m-%d %H:%M}"
    began = _time(progress.started_at)
    return (
        f"{progress.found} repositories found{' so far' if progress.finding else ''},"
        f" {progress.found - progress.left} done{failed}, {progress.left} left, began at {began}{end}"
    )


def _tell_follower(name: str, follower: FollowerStatus) -> None:
    heard = _time(follower.heard_at)
    click.echo(f"\n{name} follows the primary's event log: last heard {heard}, {follower.behind} events behind")
    if follower.report_failure:
        when = _time(follower.reported_at)
        click.echo(f"its status is not reported to the primary's deployment since {when}: {follower.report_failure}")
    if follower.failure:
        failed = click.style("failing", fg="red")
        click.echo(f"{failed} for {duration(follower.failing_seconds)}: {follower.failure}")
    if follower.reset_reason:
        click.echo(f"events were missed at {follower.reset_at} and left to a backfill: {follower.reset_reason}")
