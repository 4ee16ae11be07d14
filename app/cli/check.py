"""`geo check`."""

from __future__ import annotations

import os
import shutil
import textwrap
from dataclasses import asdict

import click

from app.boot import bind_database
from app.cli.common import plainly, print_json, use_embedded_broker
from app.logging import configure as configure_logging
from app.replication.check import Examination, Finding, Report, Severity, examine
from app.settings import Settings
from app.visible import visible

_COLOURS = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.ERROR: "red"}

#: Columns of severity and subject, and the widest line.
_SEVERITY, _SUBJECT, _WIDTH = 9, 15, 120


@click.command(short_help="Try everything; say what is wrong and what to change.")
@click.option("--webhook", metavar="URL", help="Try this address too: what the registry's notifications are sent to.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@plainly
def check(webhook: str | None, as_json: bool) -> None:
    """Talk to database, queue, both registries and what has arrived of notifications, and say what is wrong.

    Each finding says why it matters and which line to change. Nothing is changed: on the secondary, uploads are begun
    and thrown away in a repository of their own.

    \b
    Examples:
      geo check
      geo check --webhook https://geo.example.com/api/v4/container_registry_event/events
      geo check --json | jq '.findings[] | select(.severity == "error")'

    Exit status: 0 in order, warnings are allowed; 1 something is wrong; 2 wrong usage.
    """
    if webhook is not None and not webhook.startswith(("http://", "https://")):
        raise click.UsageError("--webhook takes a whole address, such as https://geo.example.com")
    # What goes wrong is told by the findings; the log is for what nobody expected.
    configure_logging("stderr", level="ERROR")
    use_embedded_broker()
    settings = Settings.from_env(os.environ)
    bind_database(settings)
    report = examine(Examination(settings, webhook=webhook))
    if as_json:
        print_json({"good": report.good, "findings": [asdict(finding) for finding in report.findings]})
    else:
        _tell(report)
    raise SystemExit(0 if report.good else 1)


def _tell(report: Report) -> None:
    width = min(_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns)
    for finding in report.findings:
        _tell_finding(finding, width)
    errors, warnings = report.count(Severity.ERROR), report.count(Severity.WARNING)
    if errors or warnings:
        click.echo(f"\n{_number(errors, 'error')}, {_number(warnings, 'warning')}; see docs/troubleshooting.md")
    else:
        click.echo("\nEverything is in order.")


def _tell_finding(finding: Finding, width: int) -> None:
    word = click.style(finding.severity.value.ljust(_SEVERITY), fg=_COLOURS[finding.severity])
    margin = " " * (_SEVERITY + _SUBJECT)
    click.echo(f"{word}{_wrapped(finding.subject.ljust(_SUBJECT - 1) + ' ', finding.title, margin, width)}")
    if finding.severity is Severity.OK:
        return
    click.echo(_wrapped(f"{margin}why  ", finding.why, f"{margin}     ", width))
    click.echo(_wrapped(f"{margin}fix  ", finding.fix, f"{margin}     ", width))
    click.echo(click.style(f"{margin}[{finding.id}]", dim=True))


def _wrapped(head: str, text: str, margin: str, width: int) -> str:
    """`text` after `head`, its further lines after `margin`; words are never broken, so that lines can be copied."""
    room = max(30, width - len(margin))
    lines = textwrap.wrap(visible(text, kept="\n\t"), room, break_long_words=False, break_on_hyphens=False) or [""]
    return head + f"\n{margin}".join(lines)


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
