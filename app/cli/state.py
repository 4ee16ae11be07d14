"""`geo status`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from app.cli.common import json_value, load, plainly
from app.cli.text import number, repositories, scope_text, table
from app.cli.watching import watch
from app.database import connection
from app.replication import health, queries
from app.replication import status as counting
from app.replication.movements import Movement, Movements
from app.replication.progress import Backfill
from app.replication.running import SHOWN, Running, running
from app.replication.status import FollowerStatus, SiteStatus, Status
from app.units import duration, size
from app.visible import visible

#: Seconds between two looks of `--watch`, if nothing else is said.
INTERVAL = 2.0


@click.command(short_help="Tell how far each site is.")
@click.option("--json", "as_json", is_flag=True, help="For scripts; with --watch a line each time.")
@click.option(
    "--watch",
    "interval",
    type=click.FloatRange(min=0.1),
    is_flag=False,
    flag_value=INTERVAL,
    metavar="[SECONDS]",
    help=f"Show it again and again, until Ctrl-C; every {INTERVAL:g} seconds unless said.",
)
@plainly
def status(as_json: bool, interval: float | None) -> None:
    """Tell how far each site is: synced, verified, waiting, failed, what is being copied, and the first failure.

    \b
    Examples:
      geo status
      geo status --watch
      geo status --json | jq '.sites[] | {name, pending, failed, oldest_pending_seconds}'

    Exit status: 0, however the sites are; 1 it cannot be told; 2 wrong usage. `geo check` judges.
    """
    with closing(load()) as context:

        def look() -> str:
            with connection():
                found = counting.status()
                under_way = _under_way(found, context.movements)
            if not as_json:
                return "\n".join(_lines(found, under_way))
            return json.dumps(_document(found, under_way), indent=None if interval else 2, default=json_value)

        if interval is None:
            click.echo(look())
        else:
            watch(look, interval)


def _under_way(found: Status, movements: Movements) -> dict[str, list[Running]]:
    """What is being synced on each site that is replicated to from here."""
    rows = {row.name: row for row in queries.sites()}
    busy = [site.name for site in found.sites if site.started and not site.remote]
    return {name: running(rows[name], SHOWN, movements) for name in busy}


def _document(found: Status, under_way: Mapping[str, list[Running]]) -> dict[str, Any]:
    document = asdict(found)
    for site in document["sites"]:
        site["running"] = None if site["remote"] else [_sync(each) for each in under_way.get(site["name"], [])]
    return document


def _sync(sync: Running) -> dict[str, Any]:
    path = sync.row.container_repository.path
    moved = None if sync.moved is None else {**asdict(sync.moved), "seconds_left": sync.moved.seconds_left}
    return {"path": path, "started_at": sync.since, "references_left": sync.left, "moved": moved}


def _lines(found: Status, under_way: Mapping[str, list[Running]]) -> Iterator[str]:
    events = number(found.events, "event")
    yield f"{repositories(found.repositories)}, {events} in the log, {found.quarantined} quarantined"
    beat = found.scheduler_seconds
    yield "scheduler: " + ("never ran" if beat is None else f"last acted {duration(beat)} ago")
    yield ""
    yield from table(_HEADINGS, [_row(site) for site in found.sites])
    for site in found.sites:
        yield from _scope(site)
        if site.remote:
            yield from _remote(site, health.judge(site, found, found.at, replication_enabled=True))
        if site.follower is not None:
            yield from _follower(site.name, site.follower)
    for name, syncs in under_way.items():
        yield from _copying(name, syncs)
    for site in found.sites:
        if site.backfill is not None and not site.backfill.done:
            yield f"\nlooking at everything on {site.name}: {_backfill(site.backfill)}"
        if site.out_of_scope or site.references_out_of_scope:
            outside = f"{site.out_of_scope} repositories, {site.references_out_of_scope} tags"
            yield f"\nout of scope on {site.name}, kept and not updated: {outside}"
    for site in found.sites:
        if site.first_failure:
            yield f"\n{click.style('failed', fg='red')} on {site.name}: {visible(site.first_failure)}"
        if site.first_verification_failure:
            yield f"\n{click.style('not whole', fg='red')} on {site.name}: {visible(site.first_verification_failure)}"


_HEADINGS = (
    *("SITE", "SYNCED", "VERIFIED", "PENDING", "STARTED", "FAILED", "TAGS", "DRIFT"),
    *("UNREAD EVENTS", "OLDEST WAITING", "LAST SYNCED"),
)


def _row(site: SiteStatus) -> tuple[object, ...]:
    oldest = duration(site.oldest_pending_seconds) if site.oldest_pending_at else None
    return (site.name, *_counts(site), site.unread_events, oldest, site.last_synced_at)


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


def _scope(site: SiteStatus) -> Iterator[str]:
    limits = (site.repositories, site.tags, site.capacity)
    granted = (site.granted_repositories, site.granted_tags, site.granted_capacity)
    if any(limits):
        yield f"\n{site.name} replicates {scope_text(*limits)}"
    if any(granted):
        yield f"\nthe primary's deployment limits {site.name} to {scope_text(*granted)}"


def _remote(site: SiteStatus, judged: health.Health) -> Iterator[str]:
    yield f"\n{site.name} follows from a deployment of its own, last seen: {_time(site.seen_at)}"
    last = site.report
    if last is not None:
        own = (last.report.repositories, last.report.tags, last.report.capacity)
        narrowed = f", its own settings narrow that to {scope_text(*own)}" if any(own) else ""
        old = click.style(" (too old)", fg="red") if last.stale else ""
        yield f"it reported {duration(last.age_seconds)} ago{old}, version {last.report.version}{narrowed}"
    yield f"{judged.headline}. {judged.advice}".strip()


def _time(instant: datetime | None) -> str:
    return "never" if instant is None else f"{instant.astimezone():%Y-%m-%d %H:%M:%S}"


def _backfill(progress: Backfill) -> str:
    failed = f", {progress.failed} of them failed" if progress.failed else ""
    end = "" if progress.ends_at is None else f", should end at {progress.ends_at.astimezone():%Y-%m-%d %H:%M}"
    began = _time(progress.started_at)
    return (
        f"{repositories(progress.found)} found{' so far' if progress.finding else ''},"
        f" {progress.found - progress.left} done{failed}, {progress.left} left, began at {began}{end}"
    )


def _copying(name: str, syncs: list[Running]) -> Iterator[str]:
    for sync in syncs:
        if sync.moved is not None:
            yield f"\ncopying {sync.row.container_repository.path} to {name}: {_moved(sync.moved)}"


def _moved(moved: Movement) -> str:
    parts = [f"{size(moved.done)} of {size(moved.total)}"]
    if moved.speed is not None:
        parts.append(f"{size(moved.speed)}/s")
    if moved.seconds_left is not None:
        parts.append(f"{duration(moved.seconds_left)} left")
    return ", ".join(parts)


def _follower(name: str, follower: FollowerStatus) -> Iterator[str]:
    heard = _time(follower.heard_at)
    yield f"\n{name} follows the primary's event log: last heard {heard}, {follower.behind} events behind"
    if follower.report_failure:
        when = _time(follower.reported_at)
        yield f"its status is not reported to the primary's deployment since {when}: {follower.report_failure}"
    if follower.failure:
        failed = click.style("failing", fg="red")
        yield f"{failed} for {duration(follower.failing_seconds)}: {follower.failure}"
    if follower.reset_reason:
        yield f"events were missed at {follower.reset_at} and left to a backfill: {follower.reset_reason}"
