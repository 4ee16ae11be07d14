"""`geo promote`: a secondary's registry becomes the primary."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from app.cli.common import fail, load, plainly, print_json, site_named
from app.cli.progress import Progress
from app.database import connection
from app.models import Site
from app.replication import queries, sites
from app.replication.failover import promotion, steps
from app.replication.failover.missing import Finding
from app.replication.failover.promotion import PromotionPlan
from app.replication.failover.steps import Step
from app.replication.survey import Progress as Surveyed
from app.settings import Settings
from app.visible import visible

#: Things of a kind that are named to people; `--json` names more.
SHOWN = 10


@click.command(short_help="Make a secondary the primary.")
@click.argument("site", required=False)
@click.option("--wait", "seconds", type=click.FloatRange(0), help="First wait for so many seconds for what is missing.")
@click.option(
    "--no-compare", is_flag=True, help="Go by what is known, though the primary answers and could be compared."
)
@click.option("--accept-loss", is_flag=True, help="Go on although what the plan names would be lost.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only show the plan; exit 1 if something would be lost.")
@click.option("--json", "as_json", is_flag=True, help="For scripts; promotes only with --yes.")
@plainly
def promote(
    site: str | None,
    seconds: float | None,
    no_compare: bool,
    accept_loss: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make the registry of SITE (or of the only site) the primary: after a plan, and unless something would be lost.

    Run it in the deployment that replicates to the site, with the environment as it has been. The plan says what the
    site lacks of what the primary has: by comparing both while the primary answers, else by what came to be known of
    it before. What would be lost is named, and refused without --accept-loss.

    It writes to the database alone, and to no registry. Every process here stands still from then on; which lines of
    the environment to change is printed, with all else that is to be done, and again when it is run once more.
    The former primary is given up: nothing is written to it before `geo demote`.

    \b
    Examples:
      geo promote --dry-run
      geo promote berlin

    Exit status: 0 done, or nothing would be lost (with --dry-run); 1 not; 2 wrong usage.
    """
    context = load()
    settings = context.settings
    try:
        _require_secondary(settings)
        before = promotion.promoted(settings)
        if before is not None:
            promotion.outlast(before, _last_writes())
            _print_done(before, settings, as_json=as_json, again=True)
            return
        sites.require_applied(settings)
        _require_here(site)
        chosen = site_named(site)
        if seconds is not None and not _wait(chosen, seconds):
            click.echo(f"geo: after {seconds:g} seconds {chosen.name} still lacks something.", err=True)
        with _progress() as show:
            made = promotion.plan(context, chosen, compare=not no_compare, progress=show)
        if not as_json:
            _print_plan(made)
        if dry_run or (as_json and not yes):
            if as_json:
                print_json(document(made, steps.after_promotion(made, settings, os.environ), promoted=False))
            raise SystemExit(1 if made.losses else 0)
        if made.losses and not accept_loss:
            if as_json:
                print_json(document(made, [], promoted=False))
            fail("nothing was changed; --accept-loss promotes all the same, and loses what is named above")
        if not yes and not click.confirm(f"\nMake {made.successor} the primary?"):
            fail("nothing was changed")
        promotion.promote(made, settings, _last_writes())
    finally:
        context.close()
    _print_done(made, settings, as_json=as_json, again=False)


def _require_secondary(settings: Settings) -> None:
    if settings.secondary is None:
        fail(
            "this deployment replicates to no registry (GEO_ROLE=primary): a site with a deployment of its own is"
            " promoted there, with that deployment's environment",
            2,
        )


def _require_here(name: str | None) -> None:
    with connection():
        elsewhere = {each.name for each in queries.sites() if each.remote and not each.retired}
    if name in elsewhere:
        fail(f"{name} has a deployment of its own: it is promoted there, with that deployment's environment", 2)


def _last_writes() -> Callable[[float], None]:
    """Say once what is waited for."""
    said = False

    def show(seconds: float) -> None:
        nonlocal said
        if not said:
            said = True
            click.echo(
                f"geo: it is the primary; waiting {seconds:.0f} seconds until nothing that was being synced can be"
                " written to it any more. Let nobody push there before.",
                err=True,
            )

    return show


def _wait(site: Site, seconds: float) -> bool:
    with Progress("found missing have come", sys.stderr) as bar:
        most = 0

        def show(left: int) -> None:
            nonlocal most
            most = max(most, left)
            if most:
                bar.show(most - left, most)

        return promotion.wait(site, seconds, show)


@contextmanager
def _progress() -> Iterator[Callable[[Surveyed], None]]:
    """A bar on a terminal; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with Progress("tags compared", sys.stderr) as bar:
        yield lambda now: bar.show(now.tags_looked_at, now.tags)


# --- for people -----------------------------------------------------------------------------------------------------


def _print_plan(made: PromotionPlan) -> None:
    click.echo(f"{made.site}: {made.successor} takes over as primary from {made.former}")
    if made.silent is not None:
        click.echo(f"\nThe primary cannot be asked: {visible(made.silent)}")
        newest = f"{made.last_event_at:%Y-%m-%d %H:%M:%S} UTC" if made.last_event_at else "never"
        click.echo(
            f"What it took without telling of it is not known here. The newest event is of {newest}."
            " `geo demote` finds and saves the rest when it is back."
        )
    elif made.compared:
        click.echo("\nThe primary answers, and both were compared just now. What is pushed to it from here on is lost:")
        click.echo("see that nobody does (read-only mode), and keep it so.")
    else:
        click.echo("\nThe primary answers, and was not compared: this is what is known of it.")
    for heading, found in (
        (click.style("\nWould be lost, or is in doubt:", fg="red"), made.losses),
        ("\nTo know:", tuple(each for each in made.findings if not each.loses)),
    ):
        if found:
            click.echo(heading)
            for each in found:
                _print_finding(each)
    if not made.losses:
        click.echo(click.style(f"\nNothing is known that {made.site} lacks.", fg="green"))


def _print_finding(finding: Finding) -> None:
    click.echo(f"  {visible(finding.text)}")
    for named in finding.named[:SHOWN]:
        click.echo(f"    {visible(str(named))}")
    if len(finding.named) > SHOWN:
        click.echo(f"    and {finding.count - SHOWN:,} more (--json names {len(finding.named):,})")


def _print_done(made: PromotionPlan, settings: Settings, *, as_json: bool, again: bool) -> None:
    todo = steps.after_promotion(made, settings, os.environ)
    if as_json:
        print_json(document(made, todo, promoted=True))
        return
    when = f" since {made.at:%Y-%m-%d %H:%M} UTC" if again else " from now on"
    click.echo(f"\n{made.successor} is the primary{when}. To be done, in this order:\n")
    click.echo("\n".join(steps.told(todo)))


# --- for scripts ----------------------------------------------------------------------------------------------------


def document(made: PromotionPlan, todo: list[Step], *, promoted: bool) -> dict[str, Any]:
    """The document that `--json` prints."""
    return {
        "site": made.site,
        "former_primary": made.former,
        "primary": made.successor,
        "planned_at": made.at,
        "promoted": promoted,
        "former_primary_answers": made.silent is None,
        "compared": made.compared,
        "loses": bool(made.losses),
        "findings": [
            {
                "kind": each.kind.value,
                "text": each.text,
                "loses": each.loses,
                "count": each.count,
                "named": [
                    {"repository": named.repository, "name": named.name, "detail": named.detail} for named in each.named
                ],
            }
            for each in made.findings
        ],
        "steps": [{"text": step.text, "lines": list(step.lines)} for step in todo],
    }
