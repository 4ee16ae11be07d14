"""`geo plan`: what a full sync would do, told beforehand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import click

from app.cli.common import fail, load, plainly, print_json, print_table, short, site_named
from app.cli.names import complete_repository, complete_site
from app.cli.progress import Progress
from app.database import connection, now
from app.replication import sites, survey
from app.replication.catalog import NoCatalog
from app.replication.plan import Action, Amount, RepositoryPlan, SitePlan, TagPlan
from app.replication.replicator import UnknownRepository
from app.units import size
from app.visible import visible

#: What each action is called where one sentence sums all up.
_WORDS = {
    Action.COPY: "to copy",
    Action.MOVE: "to move",
    Action.DELETE: "to delete",
    Action.KEEP: "kept",
    Action.DRIFT: "drift",
    Action.UNCLEAR: "unclear",
}


@click.command(short_help="Tell what a sync would do, and touch nothing.")
@click.argument("repositories", metavar="[REPOSITORY]...", nargs=-1, shell_complete=complete_repository)
@click.option("--all", "everything", is_flag=True, help="All repositories of the site; so it is without any name, too.")
@click.option("--verbose", "-v", is_flag=True, help="List each tag also where there are several repositories.")
@click.option("--json", "as_json", is_flag=True, help="For scripts; the document is described above.")
@click.option("--site", help="Which site, if there are several.", shell_complete=complete_site)
@plainly
def plan(repositories: tuple[str, ...], everything: bool, verbose: bool, as_json: bool, site: str | None) -> None:
    """Tell what a full sync of each REPOSITORY would do: tags to copy, to move to another digest, to delete.

    Both registries are asked what they have now, by GET and HEAD alone; nothing is touched. Bytes are those of blobs
    that the secondary's repository lacks, each once; those that another of its repositories has are mounted there
    and do not travel. A tag that the primary lacks is kept (by GEO_DELETION or GEO_PROTECTED_TAGS), or drift if it
    is not from us.

    \b
    Examples:
      geo plan
      geo plan team/app --verbose

    Exit status: 0 nothing is to be done; 1 something is, or it could not be told; 2 wrong usage.

    \b
    With --json:
      {"site": NAME, "planned_at": TIME, "in_order": BOOLEAN, "obstacles": [SENTENCE...],
       "summary": {"repositories": N, "problems": N, COUNTS...},
       "repositories": [{"repository": PATH, "problem": null | {"reason": WORD, "message": TEXT}, COUNTS...,
         "tags": [{"name": TAG | DIGEST, "kind": "tag" | "digest", "action": WORD, "reason": TEXT | null,
           "primary_digest": DIGEST | null, "secondary_digest": DIGEST | null,
           "bytes_to_copy": N, "bytes_to_mount": N}...]}...]}
      COUNTS are "equal", "copy", "move", "delete", "keep", "drift", "unclear": so many tags;
      "out_of_scope": tags on either side that GEO_TAGS leaves out, which are not listed; and
      "blobs_to_copy", "bytes_to_copy", "blobs_to_mount", "bytes_to_mount". Equal tags are counted and not listed;
      tags that share a blob each count its bytes, their repository counts them once.
    """
    if repositories and everything:
        raise click.UsageError("name repositories or give --all, not both")
    context = load()
    chosen = site_named(site)
    sites.require_applied(context.settings)
    try:
        source = survey.Repositories(context.registry_catalog())
        paths = survey.named(chosen, repositories) if repositories else survey.in_scope(chosen, source)
        with _progress(len(paths)) as show:
            made = survey.survey(context, chosen, paths, show)
    except UnknownRepository as error:
        fail(str(error), 2)
    except NoCatalog as error:
        fail(str(error))
    finally:
        context.close()
    if as_json:
        print_json(document(made))
    else:
        _print(made, each_tag=verbose or len(paths) == 1)
    raise SystemExit(0 if made.in_order else 1)


@contextmanager
def _progress(repositories: int) -> Iterator[Callable[[survey.Progress], None]]:
    """A bar on a terminal, of tags where there is but one repository; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with Progress("tags" if repositories == 1 else "repositories", sys.stderr) as bar:

        def show(now: survey.Progress) -> None:
            if repositories == 1:
                bar.show(now.tags_looked_at, now.tags)
            else:
                bar.show(now.repositories, repositories, f"{now.tags_looked_at} tags")

        yield show


# --- for people -----------------------------------------------------------------------------------------------------


def _print(made: SitePlan, *, each_tag: bool) -> None:
    if not made.repositories:
        click.echo("There is no repository to plan for: nothing was pushed, or GEO_REPOSITORIES leaves all out.")
        return
    print_table(
        ("REPOSITORY", *(action.upper() for action in Action), "BYTES", "MOUNTED"),
        [
            (
                each.path,
                *(each.count(action) if each.problem is None else "?" for action in Action),
                size(each.to_copy.bytes),
                size(each.to_mount.bytes),
            )
            for each in made.repositories
        ],
    )
    if each_tag and any(each.tags for each in made.repositories):
        click.echo()
        print_table(
            ("TAG", "ACTION", "PRIMARY", "SECONDARY", "BYTES", "MOUNTED", "REASON"),
            [_line(each, tag) for each in made.repositories for tag in each.tags],
        )
    for each in made.repositories:
        if each.problem is not None:
            click.echo(f"\n{click.style('not planned', fg='red')}  {each.path}: {visible(each.problem.message)}")
    click.echo(f"\n{_summary(made)}")
    for obstacle in made.obstacles:
        click.echo(obstacle)


def _line(repository: RepositoryPlan, tag: TagPlan) -> tuple[object, ...]:
    copied, mounted = repository.needs(tag)
    moves = tag.action in {Action.COPY, Action.MOVE}
    return (
        f"{repository.path}{':' if tag.is_tag else '@'}{tag.name if tag.is_tag else short(tag.name)}",
        tag.action,
        short(tag.primary_digest),
        short(tag.secondary_digest),
        size(copied.bytes) if moves else None,
        size(mounted.bytes) if moves else None,
        tag.reason,
    )


def _summary(made: SitePlan) -> str:
    counts = [(made.count(action), word) for action, word in _WORDS.items()]
    told = ", ".join(f"{count} {word}" for count, word in counts if count)
    equal = f"{made.count(Action.EQUAL)} equal"
    looked_at = f"{len(made.repositories)} repositories" if len(made.repositories) != 1 else made.repositories[0].path
    outside = f"{made.out_of_scope} out of scope" if made.out_of_scope else ""
    parts = [f"{made.site}, {looked_at}: {', '.join(filter(None, (told, equal, outside)))}."]
    if made.problems:
        parts.append(f"{made.problems} could not be planned.")
    if made.to_copy.blobs or made.to_mount.blobs:
        parts.append(f"{_amount(made.to_copy)} to copy, {_amount(made.to_mount)} to mount.")
    if made.in_order:
        parts.append("Nothing is to be done.")
    return " ".join(parts)


def _amount(amount: Amount) -> str:
    return f"{size(amount.bytes)} ({amount.blobs} {'blob' if amount.blobs == 1 else 'blobs'})"


# --- for scripts ----------------------------------------------------------------------------------------------------


def document(made: SitePlan) -> dict[str, Any]:
    """The document that `--json` prints; what it holds is promised in the command's help."""
    with connection():
        planned_at = now()
    return {
        "site": made.site,
        "planned_at": planned_at,
        "in_order": made.in_order,
        "obstacles": list(made.obstacles),
        "summary": {"repositories": len(made.repositories), "problems": made.problems, **_counts(made)},
        "repositories": [
            {
                "repository": each.path,
                "problem": None if each.problem is None else asdict(each.problem),
                **_counts(each),
                "tags": [_tag(each, tag) for tag in each.tags],
            }
            for each in made.repositories
        ],
    }


def _counts(made: SitePlan | RepositoryPlan) -> dict[str, int]:
    counts = {action.value: made.count(action) for action in Action}
    return {
        **counts,
        "out_of_scope": made.out_of_scope,
        "blobs_to_copy": made.to_copy.blobs,
        "bytes_to_copy": made.to_copy.bytes,
        "blobs_to_mount": made.to_mount.blobs,
        "bytes_to_mount": made.to_mount.bytes,
    }


def _tag(repository: RepositoryPlan, tag: TagPlan) -> dict[str, Any]:
    copied, mounted = repository.needs(tag)
    return {
        "name": tag.name,
        "kind": "tag" if tag.is_tag else "digest",
        "action": tag.action.value,
        "reason": tag.reason,
        "primary_digest": tag.primary_digest,
        "secondary_digest": tag.secondary_digest,
        "bytes_to_copy": copied.bytes,
        "bytes_to_mount": mounted.bytes,
    }
