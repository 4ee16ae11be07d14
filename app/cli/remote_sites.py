"""`geo sites add`, `edit`, `remove`, `token` and `apply`: sites with deployments of their own."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import click

from app.cli.common import fail, load, plainly, print_json, site_named
from app.database import connection
from app.models import Site
from app.replication import remote_sites, site_tokens
from app.replication.remote_sites import Change, Declaration
from app.settings import MAX_CAPACITY, Deletion, VerificationLevel

#: Leaves a policy to the site's own deployment.
OWN = "own"

_DELETIONS = [each.value for each in Deletion]
_LEVELS = [each.value for each in VerificationLevel]


@click.command("add", short_help="Add a site that follows from its own deployment.")
@click.argument("name")
@click.option("--url", default="", help="The address of its registry, for who looks.")
@click.option("--repository", "-r", "patterns", multiple=True, metavar="PATTERN", help="Replicate these alone.")
@click.option("--tag", "-t", "tags", multiple=True, metavar="PATTERN", help="Of them, replicate these tags alone.")
@click.option("--capacity", type=click.IntRange(1, MAX_CAPACITY), help="Sync so many repositories at once at most.")
@click.option("--deletion", type=click.Choice(_DELETIONS), help="Delete this much at most.")
@click.option("--protect", "protected", multiple=True, metavar="PATTERN", help="Never delete these tags.")
@click.option("--verification", type=click.Choice(_LEVELS), help="Verify this far at least.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: the site, and its token.")
@plainly
def add(
    name: str,
    url: str,
    patterns: tuple[str, ...],
    tags: tuple[str, ...],
    capacity: int | None,
    deletion: str | None,
    protected: tuple[str, ...],
    verification: str | None,
    as_json: bool,
) -> None:
    """Add a site that follows from its own deployment, and show its token, once.

    Give the token to that deployment as GEO_SITE_TOKEN, with GEO_ROLE=secondary, GEO_SITE_NAME and GEO_PRIMARY_URL.

    \b
    With --json:
      {"site": {"name": NAME, "url": URL, "repositories": [PATTERN, …], …}, "token": TOKEN}
    """
    _require_receiver()
    declaration = Declaration(
        name,
        url.rstrip("/"),
        patterns,
        tags,
        capacity,
        Deletion(deletion) if deletion else None,
        protected,
        VerificationLevel(verification) if verification else None,
    )
    with connection():
        if any(site.name == name for site in remote_sites.remote()):
            fail(f"there is a site {name} already: geo sites edit {name}", 2)
    remote_sites.apply([Change(None, declaration)])
    token = site_tokens.issue(site_named(name, remote=True))
    if as_json:
        print_json({"site": asdict(declaration), "token": token})
    else:
        _show_token(token)


@click.command("edit", short_help="Change what a remote site replicates.")
@click.argument("name")
@click.option("--url", default=None, help="The address of its registry, for who looks.")
@click.option(
    "--repository", "-r", "patterns", multiple=True, metavar="PATTERN", help="Replicate these alone from now."
)
@click.option("--all-repositories", is_flag=True, help="Replicate all repositories from now.")
@click.option("--tag", "-t", "tags", multiple=True, metavar="PATTERN", help="Replicate these tags alone from now.")
@click.option("--all-tags", is_flag=True, help="Replicate all tags from now.")
@click.option("--capacity", type=click.IntRange(0, MAX_CAPACITY), help="Repositories at once at most; 0: no limit.")
@click.option(
    "--deletion", type=click.Choice([*_DELETIONS, OWN]), help="Delete this much at most; own: as its deployment has it."
)
@click.option("--protect", "protected", multiple=True, metavar="PATTERN", help="Never delete these tags from now.")
@click.option("--protect-none", is_flag=True, help="Protect no tags beside those that its deployment does.")
@click.option(
    "--verification",
    type=click.Choice([*_LEVELS, OWN]),
    help="Verify this far at least; own: as its deployment has it.",
)
@click.option("--json", "as_json", is_flag=True, help="For scripts: the site as it is now.")
@plainly
def edit(
    name: str,
    url: str | None,
    patterns: tuple[str, ...],
    all_repositories: bool,
    tags: tuple[str, ...],
    all_tags: bool,
    capacity: int | None,
    deletion: str | None,
    protected: tuple[str, ...],
    protect_none: bool,
    verification: str | None,
    as_json: bool,
) -> None:
    """Change what a remote site replicates; it takes that up by itself.

    The settings of its own deployment can narrow this, and not widen it.

    \b
    With --json:
      {"changed": BOOLEAN, "site": {"name": NAME, "url": URL, "repositories": [PATTERN, …], …}}
    """
    _require_receiver()
    before = Declaration.of(_remote(name))
    after = before if url is None else replace(before, url=url.rstrip("/"))
    if patterns or all_repositories:
        after = replace(after, repositories=() if all_repositories else patterns)
    if tags or all_tags:
        after = replace(after, tags=() if all_tags else tags)
    if capacity is not None:
        after = replace(after, capacity=capacity or None)
    if deletion is not None:
        after = replace(after, deletion=None if deletion == OWN else Deletion(deletion))
    if protected or protect_none:
        after = replace(after, protected_tags=() if protect_none else protected)
    if verification is not None:
        after = replace(after, verification=None if verification == OWN else VerificationLevel(verification))
    if after != before:
        remote_sites.apply([Change(before, after)])
    if as_json:
        print_json({"changed": after != before, "site": asdict(after)})
    elif after == before:
        click.echo(f"{name} stays as it is.")
    else:
        click.echo("\n".join(Change(before, after).lines()))


@click.command("remove")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="For scripts: its name.")
@plainly
def remove(name: str, as_json: bool) -> None:
    """Remove a remote site: its token is void at once, and the event log is no longer kept for it.

    \b
    With --json:
      {"name": NAME, "removed": true}
    """
    _require_receiver()
    remote_sites.apply([Change(Declaration.of(_remote(name)), None)])
    if as_json:
        print_json({"name": name, "removed": True})
        return
    click.echo(f"{name} is removed; what its registry holds stays there.")


@click.command("token", short_help="Give a remote site a new token.")
@click.argument("name")
@click.option("--revoke", is_flag=True, help="Void the former token at once, not only in a day.")
@click.option("--json", "as_json", is_flag=True, help="For scripts: the token.")
@plainly
def token(name: str, revoke: bool, as_json: bool) -> None:
    """Give a remote site a new token, and show it, once. The former one is good for another day.

    \b
    With --json:
      {"name": NAME, "token": TOKEN}
    """
    _require_receiver()
    made = site_tokens.issue(_remote(name), timedelta(0) if revoke else site_tokens.OVERLAP)
    if as_json:
        print_json({"name": name, "token": made})
    else:
        _show_token(made)


@click.command("apply", short_help="Make the remote sites, and their policies, those of a file.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only show the difference; exit 1 if there is one.")
@click.option("--json", "as_json", is_flag=True, help="For scripts; applies only with --yes.")
@plainly
def apply(file: Path, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Make the remote sites and their policies exactly those of a TOML file, after showing the difference.

    \b
        [sites.berlin]
        url = "https://registry.berlin.example.com"
        repositories = ["team/**", "!team/secret"]
        tags = ["stable", "semver:>=1.2 <2"]
        capacity = 4
        deletion = "tags"
        protected_tags = ["stable"]
        verification = "blobs"
        paused = false

    A site that is new has no token before `geo sites token NAME`. One that the file leaves out is removed.
    What a site's own deployment is set to holds as well: of both the narrower, or the more careful. The site of this
    deployment's own environment (GEO_SITE_NAME) is governed by that, and not by a file.

    \b
    With --json, before is null for a new site, and after for one that is removed:
      {"applied": BOOLEAN, "changes": [{"name": NAME, "before": SITE, "after": SITE}, …]}
    Without --yes it is a dry run.
    """
    _require_receiver()
    try:
        declared = remote_sites.read(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        fail(f"{file} is not UTF-8 text", 2)
    with connection():
        changed = remote_sites.changes(declared)
        ours = remote_sites.of_environment()
    if as_json:
        applied = bool(changed) and yes and not dry_run
        if applied:
            remote_sites.apply(changed)
        print_json({"applied": applied, "changes": [_change(change) for change in changed]})
        raise SystemExit(1 if changed and not applied else 0)
    if ours is not None:
        click.echo(f"{ours.name} is governed by the environment (GEO_SITE_NAME), and stays as it is.")
    if not changed:
        click.echo("The sites are those of the file.")
        return
    click.echo("\n".join(line for change in changed for line in change.lines()))
    if dry_run:
        raise SystemExit(1)
    if not yes and not click.confirm("Apply?"):
        fail("nothing was changed")
    remote_sites.apply(changed)
    click.echo(f"{len(changed)} sites changed.")
    for change in changed:
        if change.before is None:
            click.echo(f"{change.name} is new: geo sites token {change.name}")


def _change(change: Change) -> dict[str, object]:
    sides = {"before": change.before, "after": change.after}
    return {"name": change.name} | {side: asdict(said) if said else None for side, said in sides.items()}


def _remote(name: str) -> Site:
    site = site_named(name, remote=True)
    if not site.remote:
        fail(f"{name} is the site of this deployment's own environment (GEO_SITE_NAME); it is changed there", 2)
    return site


def _require_receiver() -> None:
    if not load().settings.role.receives:
        fail("sites are kept at the primary's deployment; this one has GEO_ROLE=secondary", 2)


def _show_token(shown: str) -> None:
    click.echo("GEO_SITE_TOKEN, shown this once:", err=True)
    click.echo(shown)


#: Added to `geo sites`.
COMMANDS = (add, edit, remove, token, apply)
