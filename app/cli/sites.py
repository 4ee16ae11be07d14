"""`geo sites`."""

from __future__ import annotations

from typing import Any

import click

from app.cli.common import load, plainly, print_json, print_table, site_named
from app.database import connection, transaction
from app.models import Site
from app.replication import replicator


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_context
@plainly
def sites(context: click.Context, as_json: bool) -> None:
    """List the sites, or pause, resume and release one."""
    if context.invoked_subcommand is not None:
        return
    load()
    with connection():
        found = list(Site.select().order_by(Site.primary.desc(), Site.id))
    rows: list[dict[str, Any]] = [
        {
            "name": site.name,
            "role": "primary" if site.primary else "secondary",
            "url": site.url,
            "enabled": site.enabled and not site.retired,
            "retired": site.retired,
            "deletion": site.deletion,
            "repositories": site.repositories.splitlines(),
        }
        for site in found
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("NAME", "ROLE", "URL", "STATE", "DELETION", "REPOSITORIES"),
        [
            (
                r["name"],
                r["role"],
                r["url"],
                "retired" if r["retired"] else "enabled" if r["enabled"] else "paused",
                "-" if r["role"] == "primary" else r["deletion"],
                " ".join(r["repositories"]) or "all",
            )
            for r in rows
        ],
    )


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


def _enable(name: str, *, enabled: bool) -> None:
    site = site_named(name)
    with transaction():
        Site.update(enabled=enabled).where(Site.id == site.id).execute()
