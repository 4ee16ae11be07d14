"""`geo sites`."""

from __future__ import annotations

from typing import Any

import click

from app.cli import remote_sites
from app.cli.common import duration, load, plainly, print_json, print_table, site_named
from app.database import connection, now, transaction
from app.models import Site
from app.replication import replicator, site_reports
from app.replication import sites as replication_sites
from app.replication.site_reports import Reported


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_context
@plainly
def sites(context: click.Context, as_json: bool) -> None:
    """List, add, edit, pause and release sites.

    Added, edited and removed are sites with deployments of their own.
    """
    if context.invoked_subcommand is not None:
        return
    load()
    with connection():
        found = list(Site.select().order_by(Site.primary.desc(), Site.id))
        reports = site_reports.last(now())
    rows: list[dict[str, Any]] = [
        {
            "name": site.name,
            "role": "primary" if site.primary else "secondary",
            "remote": site.remote,
            "url": site.url,
            "enabled": site.enabled and not site.retired,
            "retired": site.retired,
            "deletion": site.deletion,
            "protected_tags": site.protected_tags.splitlines(),
            "deletions_held_because": site.deletions_held_because,
            "repositories": site.repositories.splitlines(),
            "tags": site.tags.splitlines(),
            "capacity": site.capacity,
            "granted_repositories": site.granted_repositories.splitlines(),
            "granted_tags": site.granted_tags.splitlines(),
            "granted_capacity": site.granted_capacity,
            "report": _report(reports.get(site.id)) if site.remote else None,
        }
        for site in found
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("NAME", "ROLE", "URL", "STATE", "REPORTED", "DELETION", "PROTECTED TAGS", "REPOSITORIES", "TAGS", "AT ONCE"),
        [
            (
                r["name"],
                "remote" if r["remote"] else r["role"],
                r["url"] or None,
                "retired" if r["retired"] else "enabled" if r["enabled"] else "paused",
                _reported(r["report"]) if r["remote"] else "-",
                "-" if r["role"] == "primary" or r["remote"] else r["deletion"],
                "-" if r["role"] == "primary" or r["remote"] else " ".join(r["protected_tags"]) or "none",
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


@sites.command("pause")
@click.argument("name")
@plainly
def pause(name: str) -> None:
    """Copy nothing to a site until it is resumed; its backlog is kept."""
    load()
    _enable(name, enabled=False)
    click.echo(f"{name} is paused; `geo sites resume {name}` takes up the backlog.")


@sites.command("resume")
@click.argument("name")
@plainly
def resume(name: str) -> None:
    """Copy to a paused site again."""
    load()
    _enable(name, enabled=True)
    click.echo(f"{name} is enabled.")


@sites.command("release-deletions", short_help="Let deletions pass that the brake holds.")
@click.argument("name")
@plainly
def release_deletions(name: str) -> None:
    """Let deletions pass that were held because they were unusually many."""
    load()
    count = replicator.release_deletions(site_named(name))
    click.echo(f"{count} held deletions on {name} may go ahead.")


@sites.command("promote", short_help="Say that a site's registry has become the primary.")
@click.argument("name")
@plainly
def promote(name: str) -> None:
    """Say that a site's registry has taken over as primary, and that the former primary takes its place.

    Stop all processes first, and exchange the two addresses in the environment, before or after this; then start again.
    What is on the former primary alone is shown as drift, what differs is overwritten by the new one's. Nothing is
    deleted before `geo sites release-deletions`.
    """
    settings = load().settings
    if not replication_sites.promote(name, settings):
        click.echo("That was said before, and no environment has been applied since.")
    with connection():
        primary = Site.get(Site.primary)
    if replication_sites.same_address(primary.url, settings.primary.url):
        click.echo(f"{primary.url} is the primary, as in the environment; start everything again.")
    else:
        click.echo(
            f"{primary.url} is the primary; exchange the two addresses in the environment before you start again."
        )


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


def _within(patterns: list[str], granted: list[str]) -> str:
    """Patterns, and those of the primary's deployment that limit them."""
    own = " ".join(patterns) or "all"
    return f"{own} of {' '.join(granted)}" if granted else own


def _enable(name: str, *, enabled: bool) -> None:
    site = site_named(name, remote=True)
    with transaction():
        Site.update(enabled=enabled).where(Site.id == site.id).execute()


for command in remote_sites.COMMANDS:
    sites.add_command(command)
