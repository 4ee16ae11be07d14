"""`geo migrate` and `geo backup`: the schema, and a copy of all that is in it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from app import migrate as migrations
from app.backup import NoBackup
from app.backup import backup as write_backup
from app.boot import bind_database
from app.cli.common import fail, plainly, print_json, require_database
from app.replication import sites
from app.settings import STATE_DIRECTORY, Settings
from app.units import size


@click.command(short_help="Bring the database's schema up to date.")
@click.option("--status", "show", is_flag=True, help="Only say what is pending; exit 1 if anything is.")
@click.option("--to", "target", metavar="NAME", help="Bring it to the state after this migration, forwards or back.")
@click.option("--down", is_flag=True, help="Undo the last migration instead; the first only by `--to zero`.")
@click.option(
    "--json", "as_json", is_flag=True, help='For scripts: {"applied" | "undone" | "pending" | "unknown": [NAME...]}.'
)
@plainly
def migrate(show: bool, target: str | None, down: bool, as_json: bool) -> None:
    """Bring the database's schema up to date. Safe to run from several places at once.

    It also writes down the sites that the environment names. `geo up` does this by itself.

    NAME is a migration (0001_initial), its number, or `zero`: then every table of ours is gone, and all that is known.

    \b
    Examples:
      geo migrate
      geo migrate --status
      geo migrate --to 0001_initial                 # before an older version is installed again

    Exit status: 0 up to date; 1 the database cannot be used, or with --status it is not this version's; 2 wrong usage.
    """
    if show + down + (target is not None) > 1:
        raise click.UsageError("--status, --to and --down exclude each other.")
    settings = Settings.from_env(os.environ)
    bind_database(settings)
    if show:
        _show(as_json=as_json)
    elif target is not None:
        try:
            applied, undone = migrations.go_to(target)
        except ValueError as error:
            raise click.UsageError(f"{error}.") from error
        _tell({"undone": undone} if undone else {"applied": applied}, as_json=as_json)
    elif down:
        if len(migrations.applied()) == 1:
            fail("the first migration is left: to undo it deletes all that is known; `geo migrate --to zero` does it")
        _tell({"undone": migrations.revert()}, as_json=as_json)
    else:
        _tell({"applied": migrations.migrate()}, as_json=as_json)
        sites.apply_environment(settings)


def _show(*, as_json: bool) -> None:
    found = migrations.difference()
    told = {"pending": list(found.pending)} | ({"unknown": list(found.unknown)} if found.unknown else {})
    _tell(told, as_json=as_json)
    if found.unknown:
        click.echo(f"geo: {found}", err=True)
    raise SystemExit(1 if str(found) else 0)


def _tell(names: dict[str, list[str]], *, as_json: bool) -> None:
    if as_json:
        print_json(names)
        return
    lines = [f"{word}: {name}" for word, listed in names.items() for name in listed]
    click.echo("\n".join(lines) or "The schema is up to date.")


@click.command(short_help="Copy the embedded database, while everything runs.")
@click.argument("file", type=click.Path(path_type=Path))
@plainly
def backup(file: Path) -> None:
    """Copy the embedded database to FILE, which must not exist; everything may run meanwhile.

    It is whole, as of one moment, checked, and readable by its owner alone. How it is restored: docs/operate.md.
    With PostgreSQL use pg_dump.

    \b
    Examples:
      geo backup geo-backup.db
      geo backup "/backup/geo-$(date +%F).db"

    Exit status: 0 it is there; 1 it could not be made; 2 wrong settings.
    """
    settings = Settings.from_env(os.environ)
    require_database(settings.database_url.value)
    bind_database(settings)
    try:
        click.echo(f"{file}: {size(write_backup(file))}")
    except NoBackup as error:
        fail(str(error))
    if not settings.secret_keys:
        click.echo(f"{STATE_DIRECTORY}/secret_key belongs to it, since GEO_SECRET_KEY is not set.")
