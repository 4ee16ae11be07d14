"""`geo demote`: a registry that was the primary becomes a secondary, and nothing that it alone holds is lost."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from app.cli.common import fail, load, plainly, print_json, print_table, short
from app.cli.progress import Progress
from app.database import connection
from app.replication import former
from app.replication.failover import demotion, steps
from app.replication.failover.remains import DemotionPlan, Kind, Remain
from app.replication.failover.steps import Step
from app.visible import visible

#: Tags that are shown to people without --verbose.
SHOWN = 30

#: In the order in which they matter, what becomes of each kind.
FATE = {
    Kind.UNCLEAR: "could not be told",
    Kind.LOST: "saved, then replaced",
    Kind.ALONE: "kept here, not at the primary",
    Kind.DELETED: "deleted at the primary since, kept here",
    Kind.GONE: "gone from here alone, comes back",
    Kind.BROKEN: "listed here, with nothing under it",
    Kind.MOVED: "moved on at the primary, replaced",
}


@click.command(short_help="Make a former primary a secondary, and lose nothing of it.")
@click.option("--delete-gone", is_flag=True, help="Delete here too what was deleted at the new primary since.")
@click.option("--accept-loss", is_flag=True, help="Go on although of some tags it could not be told.")
@click.option("--verbose", "-v", is_flag=True, help="List every tag that differs.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only show the plan; exit 1 if something could not be told.")
@click.option("--json", "as_json", is_flag=True, help="For scripts; demotes only with --yes.")
@plainly
def demote(delete_gone: bool, accept_loss: bool, verbose: bool, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Make GEO_SECONDARY_REGISTRY_URL, which was the primary, a secondary of the new primary: after a plan.

    Run it with the new environment, before `geo up`. It compares both registries tag by tag. A tag that stands here on
    something the new primary does not have would be replaced by the new primary's: what it stands on gets another tag
    first (NAME.rescued-DIGEST), on this registry, which replication does not touch. A tag that is here alone stays as
    it is, and is shown as drift. What was deleted at the new primary stays here too, unless --delete-gone is given.

    Nothing is deleted on it before `geo sites release-deletions`. It may be run again; it is right, too, for any other
    secondary whose primary has become another registry.

    \b
    Examples:
      geo demote --dry-run
      geo demote --yes

    Exit status: 0 done (or with --dry-run); 1 not, or something could not be told; 2 wrong usage.
    """
    context = load()
    try:
        if context.settings.secondary is None:
            _say_what_is_missing()
        with _progress() as show:
            made = demotion.plan(context, show)
        if not as_json:
            _print_plan(made, every=verbose, delete_gone=delete_gone)
        if dry_run or (as_json and not yes):
            if as_json:
                print_json(document(made, [], demoted=False))
            raise SystemExit(1 if made.unclear else 0)
        if made.unclear and not accept_loss:
            if as_json:
                print_json(document(made, [], demoted=False))
            fail("nothing was changed; --accept-loss goes on all the same, and what could not be told is replaced")
        if not yes and not click.confirm(f"\nMake {made.url} a secondary of {made.primary}?"):
            fail("nothing was changed")
        with _progress() as show:
            made = demotion.demote(made, context, delete=delete_gone, progress=show).plan
    finally:
        context.close()
    todo = steps.after_demotion(made, deleting=delete_gone and bool(made.count(Kind.DELETED)))
    if as_json:
        print_json(document(made, todo, demoted=True))
        return
    click.echo(f"\n{made.url} is a secondary of {made.primary} from now on. To be done, in this order:\n")
    click.echo("\n".join(steps.told(todo)))


def _say_what_is_missing() -> NoReturn:
    with connection():
        given_up = former.given_up()
        lines = steps.told(steps.to_demote(given_up.url if given_up is not None else None))
    fail("\n".join(["the environment has no secondary yet, set one of these:", *lines]), 2)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    with Progress("repositories compared", sys.stderr) as bar:
        yield bar.show


# --- for people -----------------------------------------------------------------------------------------------------


def _print_plan(made: DemotionPlan, *, every: bool, delete_gone: bool) -> None:
    since = f", which took over at {made.since:%Y-%m-%d %H:%M} UTC" if made.since else ""
    click.echo(f"{made.url} becomes {made.site}, a secondary of {made.primary}{since}.\n")
    fates = FATE | ({Kind.DELETED: "deleted at the primary since, deleted here too"} if delete_gone else {})
    rows = [
        (f"{path}:{remain.name}", fates[kind], short(remain.here), short(remain.there), remain.pushed_at, _note(remain))
        for kind in fates
        for path, remain in _of(made, kind)
    ]
    if rows:
        shown = rows if every else rows[:SHOWN]
        print_table(("TAG", "WHAT BECOMES OF IT", "HERE", "PRIMARY", "PUSHED HERE", "NOTE"), shown)
        if len(shown) < len(rows):
            click.echo(f"and {len(rows) - len(shown):,} more (--verbose)")
        click.echo()
    for each in made.problems:
        click.echo(f"{click.style('not compared', fg='red')}  {each.path}: {visible(str(each.problem))}")
    counts = [f"{made.count(kind):,} {fate}" for kind, fate in fates.items() if made.count(kind)]
    looked = count(len(made.repositories), "repository", "repositories")
    click.echo(f"{looked}: {count(made.equal, 'tag is', 'tags are')} the same, {made.coming:,} to come.")
    if counts:
        click.echo("; ".join(counts) + ".")
    if made.out_of_scope:
        left = count(
            made.out_of_scope, "repository is not replicated and stays", "repositories are not replicated, stay"
        )
        click.echo(f"{left} as before.")
    for warning in made.warnings:
        click.echo(warning)


def count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _of(made: DemotionPlan, kind: Kind) -> Iterator[tuple[str, Remain]]:
    for repository in made.repositories:
        for remain in repository.of(kind):
            yield repository.path, remain


def _note(remain: Remain) -> str | None:
    if remain.saved_as is not None:
        return f"as {remain.saved_as}" + ("" if remain.in_scope else "; not replicated, and not replaced before it is")
    if remain.is_saved:
        return "saved before"
    return remain.reason


# --- for scripts ----------------------------------------------------------------------------------------------------


def document(made: DemotionPlan, todo: list[Step], *, demoted: bool) -> dict[str, Any]:
    """The document that `--json` prints."""
    return {
        "site": made.site,
        "url": made.url,
        "primary": made.primary,
        "planned_at": made.at,
        "since": made.since,
        "demoted": demoted,
        "unclear": made.unclear,
        "counts": {
            "equal": made.equal,
            "coming": made.coming,
            **{kind.value: made.count(kind) for kind in Kind},
        },
        "repositories": [
            {
                "repository": each.path,
                "problem": each.problem,
                "equal": each.equal,
                "coming": each.coming,
                "tags": [
                    {
                        "name": remain.name,
                        "kind": remain.kind.value,
                        "digest": remain.here,
                        "primary_digest": remain.there,
                        "pushed_at": remain.pushed_at,
                        "saved_as": remain.saved_as,
                        "reason": remain.reason,
                        "in_scope": remain.in_scope,
                    }
                    for remain in each.remains
                ],
            }
            for each in made.repositories
            if each.remains or each.problem
        ],
        "warnings": list(made.warnings),
        "steps": [{"text": step.text, "lines": list(step.lines)} for step in todo],
    }
