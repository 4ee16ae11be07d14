"""`geo verify`: is everything that was replicated really there?"""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from typing import Any

import click

from app.cli.common import fail, load, plainly, print_json, site_named, waking
from app.cli.names import complete_repository, complete_site, meant_repository
from app.cli.progress import TICK, Progress
from app.cli.text import number, repositories
from app.database import connection
from app.models import Site
from app.replication import bulk, queries
from app.replication.context import Context
from app.replication.narrowing import Filter
from app.replication.progress import halted
from app.replication.replicator import Replicator, UnknownRepository
from app.replication.verification import asking
from app.replication.verification.run import Verified
from app.settings import VerificationLevel
from app.units import duration

#: Findings that are printed for people; the rest is counted, and in the JSON.
SHOWN = 20


@click.command(short_help="Prove that what was replicated is there.")
@click.argument("repository", required=False, shell_complete=complete_repository)
@click.option("--all", "everything", is_flag=True, help="Ask for all repositories to be verified; the workers do it.")
@click.option("--failed", is_flag=True, help="Ask for those whose verification failed.")
@click.option(
    "--level",
    type=click.Choice([level.value for level in VerificationLevel]),
    help="How far: what stands under the tags, the manifests below, a byte of every blob, or all bytes.",
)
@click.option("--wait", is_flag=True, help="With --all or --failed: wait until it is done; exit 1 if any failed.")
@click.option("--json", "as_json", is_flag=True, help="For scripts; the document is described above.")
@click.option("--site", help="Which site, if there are several.", shell_complete=complete_site)
@plainly
def verify(
    repository: str | None,
    everything: bool,
    failed: bool,
    level: str | None,
    wait: bool,
    as_json: bool,
    site: str | None,
) -> None:
    """Ask the secondary for everything in REPOSITORY that was replicated to it, here and now, and name what is missing.

    What is missing is made due for a sync, which copies exactly that. Without --level it goes as far as the
    verifications that come by themselves (GEO_VERIFICATION_INTERVAL_LEVEL).

    \b
    Examples:
      geo verify team/app
      geo verify team/app --level content
      geo verify --all --wait

    Exit status: 0 all is there; 1 it is not, it could not be told, or tags wait for a sync; 2 wrong usage.

    \b
    With --json, of a repository:
      {"repository": PATH, "site": NAME, "level": WORD, "in_order": BOOLEAN, "verification_state": 0-4,
       "references": N, "broken": N, "unsure": N, "behind": N, "unsynced": N,
       "checksum": HEX | null, "primary_checksum": HEX | null, "failure": TEXT | null,
       "findings": [{"reference": TAG | DIGEST, "kind": WORD, "digest": DIGEST, "size": N | null, "message": TEXT}...],
       "problems": [TEXT...]}
      "references" were looked at; "behind" are tags on which the primary has moved on, "unsynced" wait for a sync.
    With --all or --failed:
      {"site": NAME, "level": WORD, "marked": N}, and with --wait
      {..., "in_order": BOOLEAN, "failed": [{"repository": PATH, "failure": TEXT}...]}
    """
    if sum((repository is not None, everything, failed)) != 1:
        raise click.UsageError("name one repository, such as team/app, or give --all or --failed")
    if wait and repository is not None:
        raise click.UsageError("--wait goes with --all and --failed; a single repository is always waited for")
    context = load()
    chosen = site_named(site)
    if repository is None:
        wanted = VerificationLevel(level) if level else context.settings.verification_interval_level
        _verify_many(context, chosen, wanted, failed_only=failed, wait=wait, as_json=as_json)
    else:
        _verify_one(context, chosen, repository.strip("/"), level, as_json=as_json)


def _verify_one(context: Context, site: Site, path: str, level: str | None, *, as_json: bool) -> None:
    try:
        registry_id = asking.find(site, path)
    except ValueError as error:
        fail(str(error), 2)
    except asking.NotTracked as error:
        fail(f"{error}{meant_repository(path)}")
    began = time.monotonic()
    with Progress("references", sys.stderr) if sys.stderr.isatty() else nullcontext() as bar:
        try:
            found = Replicator(registry_id).verify(level, bar.show if bar is not None else lambda _done, _total: None)
        except UnknownRepository as error:
            fail(str(error))
        finally:
            context.close()
    if as_json:
        print_json(document(path, site, found))
    else:
        _tell(path, site, found, time.monotonic() - began)
    raise SystemExit(0 if found.in_order else 1)


def _tell(path: str, site: Site, found: Verified, seconds: float) -> None:
    lines = [f"{each.name}: {finding}" for each in found.named for finding in each.findings]
    for line in [*lines, *found.problems][:SHOWN]:
        click.echo(f"{path}  {line}")
    more = len(lines) + len(found.problems) - SHOWN
    if more > 0:
        click.echo(f"and {more} more; --json lists them")
    if found.in_order:
        click.echo(
            f"{path} is whole on {site.name}: {number(found.looked_at, 'reference')} at level {found.level.value}"
            f" ({duration(seconds)}){f', checksum {found.checksums.secondary}' if found.checksums else ''}"
        )
        return
    if found.failure:
        click.echo(f"geo: {found.failure}", err=True)
    elif found.behind:
        click.echo(f"geo: the primary has moved on in {found.behind} tags of {path}; a sync is due for them", err=True)
    elif found.unsynced:
        click.echo(f"geo: {found.unsynced} tags of {path} wait for a sync or failed; `geo sync {path}`", err=True)
    elif found.state is None:
        click.echo(f"geo: the verification of {path} was not finished; it goes on later", err=True)
    else:
        click.echo(f"geo: something was pushed to {path} meanwhile; it is verified again", err=True)


def document(path: str, site: Site, found: Verified) -> dict[str, Any]:
    """The document that `--json` prints of one repository; what it holds is promised in the command's help."""
    return {
        "repository": path,
        "site": site.name,
        "level": found.level.value,
        "in_order": found.in_order,
        "verification_state": found.state,
        "references": found.looked_at,
        "broken": found.broken,
        "unsure": found.unsure,
        "behind": found.behind,
        "unsynced": found.unsynced,
        "checksum": found.checksums.secondary if found.checksums else None,
        "primary_checksum": found.checksums.primary if found.checksums else None,
        "failure": found.failure,
        "findings": [
            {
                "reference": each.name,
                "kind": finding.kind.value,
                "digest": finding.digest,
                "size": finding.size,
                "message": str(finding),
            }
            for each in found.named
            for finding in each.findings
        ],
        "problems": found.problems,
    }


# --- many -----------------------------------------------------------------------------------------------------------


def _verify_many(
    context: Context, site: Site, level: VerificationLevel, *, failed_only: bool, wait: bool, as_json: bool
) -> None:
    with waking(context):
        if failed_only:
            marked = bulk.reverify_failed(site, context, level)
        else:
            marked = bulk.reverify(Filter(site=site.name), context, level)
    told: dict[str, Any] = {"site": site.name, "level": level.value, "marked": marked}
    if not as_json:
        verb = "is" if marked == 1 else "are"
        click.echo(f"{repositories(marked)} {verb} marked for verification on {site.name} at level {level.value}.")
    if wait:
        _wait(site, replication_enabled=context.settings.replication_enabled)
        failures = _failures(site)
        told |= {"in_order": not failures, "failed": failures}
    if as_json:
        print_json(told)
    if wait:
        _end(site, told, as_json=as_json)


def _end(site: Site, told: dict[str, Any], *, as_json: bool) -> None:
    failures: list[dict[str, str]] = told["failed"]
    if failures and not as_json:
        for each in failures[:SHOWN]:
            click.echo(f"{each['repository']}  {each['failure']}")
        fail(f"{repositories(len(failures))} on {site.name} {'is' if len(failures) == 1 else 'are'} not whole")
    if not as_json:
        click.echo(f"All repositories that were asked for are whole on {site.name}.")
    raise SystemExit(1 if failures else 0)


def _wait(site: Site, *, replication_enabled: bool) -> None:
    """Follow the workers until nothing that was asked for waits. What is tried again later counts as done.

    Ends with a sentence when nobody will do it: the site is paused, or replication switched off.
    """
    with Progress("repositories") as progress:
        total = None
        while True:
            with connection():
                left = queries.verifications_asked_for(site)
                why = halted(site, replication_enabled=replication_enabled) if left else None
            if why is not None:
                fail(f"{repositories(left)} {'waits' if left == 1 else 'wait'}, and {why}")
            total = left if total is None else max(total, left)
            progress.show(total - left, total)
            if not left:
                return
            time.sleep(TICK)


def _failures(site: Site) -> list[dict[str, str]]:
    """Repositories that were found wanting, of which it could not be told, or that are not in sync; and why."""
    with connection():
        return [
            {
                "repository": row.container_repository.path,
                "failure": row.verification_failure or row.last_sync_failure or "it waits for a sync",
            }
            for row in queries.not_whole(site)
        ]
