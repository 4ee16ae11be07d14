"""`geo why`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from app.cli.common import load, plainly, print_json, print_table, short
from app.cli.names import complete_repository
from app.cli.repositories import WORDS
from app.cli.text import paragraph
from app.database import connection
from app.models import SyncState
from app.registry import REPOSITORY_PATH, is_digest, is_repository, is_tag
from app.replication.explain import explain
from app.replication.explanation import Cause, Explanation
from app.units import duration


@click.command(short_help="Tell why an image is, or is not, on each site.")
@click.argument("image", metavar="REPOSITORY[:TAG|@DIGEST]", shell_complete=complete_repository)
@click.option("--json", "as_json", is_flag=True, help="For scripts: a list with an object a site.")
@plainly
def why(image: str, as_json: bool) -> None:
    """Tell why an image is, or is not, on each site, what to do about it, and what was tried.

    Without tag and digest it is `latest`. From what was seen and done so far: to ask both registries now, `geo plan`.

    \b
    Examples:
      geo why team/app:v1
      geo why team/app@sha256:2d0f…

    Exit status: 0 it is there; 1 it is not, or it is older than on the primary; 2 wrong usage.
    """
    path, name = _split(image)
    context = load()
    with connection():
        found = explain(path, name, replication_enabled=context.settings.replication_enabled)
    if as_json:
        print_json([_explanation(each) for each in found])
    elif not found:
        click.echo("No site replicates anything: this deployment has no secondary (GEO_ROLE).")
    else:
        for each in found:
            _tell(each)
    current = [each for each in found if each.cause is not Cause.RETIRED]
    raise SystemExit(0 if current and all(each.there for each in current) else 1)


def _split(image: str) -> tuple[str, str]:
    """Repository and tag or digest; of both together the digest counts, as everywhere."""
    named, _, digest = image.partition("@")
    path, colon, tag = named.rpartition(":")
    if not colon or "/" in tag:
        # A colon before a slash is a port's.
        path, colon, tag = named, "", ""
    name = digest or (tag if colon else "latest")
    if not is_repository(path):
        raise click.UsageError(f"{path!r} is not {REPOSITORY_PATH}")
    if not (is_digest(name) if digest else is_tag(name)):
        raise click.UsageError(f"{name!r} is neither a tag nor a digest")
    return path, name


def _tell(told: Explanation) -> None:
    joint = "@" if is_digest(told.reference) else ":"
    image = f"{told.repository}{joint}{told.reference}"
    click.echo(click.style(f"{image} on {told.site}: {told.cause.replace('_', ' ')}", bold=True))
    click.echo(paragraph(told.why, "  "))
    click.echo(paragraph(told.next, "  "))
    if told.record is not None:
        record = told.record
        click.echo(f"  state        {WORDS[SyncState(record.state)]}")
        click.echo(f"  on primary   {record.desired_digest or 'not there'}")
        click.echo(f"  on secondary {record.observed_digest or 'not put there by us'}")
        if record.drift_since is not None:
            what = record.drift_digest or "something"
            click.echo(f"  drift        {what} stands there and is not ours, since {_time(record.drift_since)}")
        if record.retry_at:
            click.echo(f"  next try     {_time(record.retry_at)}")
    if told.history:
        print_table(
            ("  WHEN", "TRIGGER", "ACTION", "OUTCOME", "FROM", "TO", "LAG", "REASON"),
            [
                (
                    f"  {_time(a.finished_at)}",
                    f"{a.trigger} {a.event_id or ''}",
                    a.action,
                    a.outcome,
                    short(a.old_digest),
                    short(a.new_digest),
                    duration(a.lag_seconds) if a.lag_seconds is not None else None,
                    a.reason,
                )
                for a in told.history
            ],
        )


def _time(instant: datetime) -> str:
    return f"{instant.astimezone():%Y-%m-%d %H:%M:%S}"


def _explanation(told: Explanation) -> dict[str, Any]:
    """What `--json` prints of one site."""
    record = told.record
    return {
        "site": told.site,
        "repository": told.repository,
        "reference": told.reference,
        "cause": told.cause.value,
        "there": told.there,
        "why": told.why,
        "next": told.next,
        "ahead": told.ahead,
        "state": None if record is None else record.state,
        "primary_digest": None if record is None else record.desired_digest,
        "secondary_digest": None if record is None else record.observed_digest,
        "drift_digest": None if record is None else record.drift_digest,
        "failure": None if record is None else record.failure,
        "failure_reason": None if record is None else record.failure_reason,
        "retry_at": None if record is None else record.retry_at,
        "attempts": [
            {
                "finished_at": attempt.finished_at,
                "trigger": attempt.trigger,
                "event_id": attempt.event_id,
                "action": attempt.action,
                "outcome": attempt.outcome,
                "reason": attempt.reason,
                "message": attempt.message,
                "old_digest": attempt.old_digest,
                "new_digest": attempt.new_digest,
                "bytes_copied": attempt.bytes_copied,
                "lag_seconds": attempt.lag_seconds,
            }
            for attempt in told.history
        ],
    }
