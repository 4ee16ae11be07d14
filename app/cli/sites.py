"""`geo sites`."""

from __future__ import annotations

from typing import Any

import click

from app.cli import remote_sites
from app.cli.common import load, plainly, print_json, print_table, site_named
from app.cli.names import complete_site
from app.database import connection, now
from app.replication import brake, event_log, holds, queries, site_reports
from app.replication.cursor import positions
from app.replication.site_reports import Reported
from app.replication.sites import enable
from app.units import duration


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_context
@plainly
def sites(context: click.Context, as_json: bool) -> None:
    """List, add, edit, pause and release sites.

    Added, edited and removed are sites with deployments of their own.

    \b
    Examples:
      geo sites
      geo sites pause berlin
      geo sites --json | jq '.[] | select(.enabled | not) | .name'

    Exit status: 0; 1 it cannot be told; 2 wrong usage.
    """
    if context.invoked_subcommand is not None:
        return
    load()
    with connection():
        found = queries.sites()
        reports = site_reports.last(now())
        read = positions()
        unread = {site_id: event_log.unread(position) for site_id, position in read.items()}
    rows: list[dict[str, Any]] = [
        {
            "name": site.name,
            "role": "primary" if site.primary else "secondary",
            "remote": site.remote,
            "url": site.url,
            "enabled": site.enabled and not site.retired,
            "retired": site.retired,
            "cursor_last_event_id": read[site.id].last if site.id in read else None,
            "unread_events": unread.get(site.id),
            "deletion": site.deletion or None,
            "protected_tags": site.protected_tags.splitlines(),
            "verification": site.verification,
            "deletions_held_because": holds.told(site),
            "repositories": site.repositories.splitlines(),
            "tags": site.tags.splitlines(),
            "capacity": site.capacity,
            "granted_repositories": site.granted_repositories.splitlines(),
            "granted_tags": site.granted_tags.splitlines(),
            "granted_capacity": site.granted_capacity,
            "granted_deletion": site.granted_deletion,
            "granted_protected_tags": site.granted_protected_tags.splitlines(),
            "granted_verification": site.granted_verification,
            "report": _report(reports.get(site.id)) if site.remote else None,
        }
        for site in found
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        (
            *("NAME", "ROLE", "URL", "STATE", "REPORTED", "UNREAD EVENTS", "DELETION", "PROTECTED TAGS"),
            *("REPOSITORIES", "TAGS", "AT ONCE"),
        ),
        [
            (
                r["name"],
                "remote" if r["remote"] else r["role"],
                r["url"] or None,
                "retired" if r["retired"] else "enabled" if r["enabled"] else "paused",
                _reported(r["report"]) if r["remote"] else "-",
                "-" if r["role"] == "primary" else r["unread_events"],
                "-" if r["role"] == "primary" else _deletion(r),
                "-" if r["role"] == "primary" else _protected(r),
                _within(r["repositories"], r["granted_repositories"]),
                _within(r["tags"], r["granted_tags"]),
                min(filter(None, (r["capacity"], r["granted_capacity"])), default=None),
            )
            for r in rows
        ],
    )
    for r in rows:
        if r["deletions_held_because"]:
            click.echo(f"\nNothing is deleted on {r['name']}: {r['deletions_held_because']}.")


@sites.command("pause", short_help="Copy nothing to a site until it is resumed.")
@click.argument("name", shell_complete=complete_site)
@click.option("--json", "as_json", is_flag=True, help="For scripts: whether it is enabled.")
@plainly
def pause(name: str, as_json: bool) -> None:
    """Copy nothing to a site until it is resumed; its backlog is kept.

    \b
    Examples:
      geo sites pause berlin

    \b
    With --json:
      {"name": NAME, "enabled": false}

    Exit status: 0 it is paused; 2 there is no such site.
    """
    load()
    enable(site_named(name, remote=True), enabled=False)
    if as_json:
        print_json({"name": name, "enabled": False})
        return
    click.echo(f"{name} is paused; `geo sites resume {name}` takes up the backlog.")


@sites.command("resume", short_help="Copy to a paused site again.")
@click.argument("name", shell_complete=complete_site)
@click.option("--json", "as_json", is_flag=True, help="For scripts: whether it is enabled.")
@plainly
def resume(name: str, as_json: bool) -> None:
    """Copy to a paused site again.

    \b
    Examples:
      geo sites resume berlin

    \b
    With --json:
      {"name": NAME, "enabled": true}

    Exit status: 0 it is enabled; 2 there is no such site.
    """
    load()
    enable(site_named(name, remote=True), enabled=True)
    if as_json:
        print_json({"name": name, "enabled": True})
        return
    click.echo(f"{name} is enabled.")


@sites.command("release-deletions", short_help="Let deletions pass that the brake holds.")
@click.argument("name", shell_complete=complete_site)
@click.option("--json", "as_json", is_flag=True, help="For scripts: how many.")
@plainly
def release_deletions(name: str, as_json: bool) -> None:
    """Let deletions pass that were held because they were unusually many.

    \b
    Examples:
      geo sites release-deletions berlin

    \b
    With --json:
      {"name": NAME, "released": NUMBER}

    Exit status: 0 they may go ahead; 2 there is no such site.
    """
    load()
    count = brake.release(site_named(name))
    if as_json:
        print_json({"name": name, "released": count})
        return
    click.echo(f"{count} held deletions on {name} may go ahead.")


def _report(last: Reported | None) -> dict[str, Any] | None:
    """What `--json` prints of a remote site's last report."""
    if last is None:
        return None
    told = {"received_at": last.received_at, "age_seconds": last.age_seconds, "stale": last.stale}
    return told | site_reports.dump(last.report)


def _reported(report: dict[str, Any] | None) -> str:
    if report is None:
        return "never"
    old = f"{duration(report['age_seconds'])} ago"
    return f"{old}, too old" if report["stale"] else f"{report['headline'] or report['level']}, {old}"


def _deletion(row: dict[str, Any]) -> str:
    """What the site's own settings let be deleted, and what the primary's deployment lets it delete at most."""
    if not row["remote"]:
        return f"{row['deletion']} of {row['granted_deletion']}" if row["granted_deletion"] else str(row["deletion"])
    own = row["report"]["deletion"] if row["report"] else "-"
    return f"{own} of {row['deletion']}" if row["deletion"] else own


def _protected(row: dict[str, Any]) -> str:
    """Tags that both together protect."""
    theirs = (row["report"] or {}).get("protected_tags", []) if row["remote"] else row["granted_protected_tags"]
    return " ".join(dict.fromkeys([*row["protected_tags"], *theirs])) or "none"


def _within(patterns: list[str], granted: list[str]) -> str:
    """Patterns, and those of the primary's deployment that limit them."""
    own = " ".join(patterns) or "all"
    return f"{own} of {' '.join(granted)}" if granted else own


for command in remote_sites.COMMANDS:
    sites.add_command(command)
