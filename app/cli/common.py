"""What commands share: the settings, errors as sentences, tables and JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar
from urllib.parse import unquote

import click
from peewee import PeeweeException
from playhouse.pool import PooledDatabase

from app import metrics
from app.boot import boot
from app.database import DatabaseUnavailable, connection, database
from app.embedded import EmbeddedValkey
from app.logging import configure as configure_logging
from app.models import Site
from app.registry import InvalidKey, RegistryError
from app.replication.context import Context
from app.replication.sites import PRIMARY, SiteError
from app.settings import STATE_DIRECTORY, Settings, SettingsError

P = ParamSpec("P")
R = TypeVar("R")


class NoDatabase(Exception):
    """The database that the settings name has never been made; the message says by what."""


def fail(message: str, status: int = 1) -> NoReturn:
    """End with a sentence on standard error."""
    click.echo(f"geo: {message}", err=True)
    sys.exit(status)


def plainly(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors that a person can act on into a sentence and an exit status."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except SettingsError as error:
            fail(str(error), 2)
        except (InvalidKey, SiteError) as error:
            fail(str(error), 2)
        except (RegistryError, NoDatabase) as error:
            fail(str(error))
        except (DatabaseUnavailable, PeeweeException) as error:
            # PostgreSQL's errors go on with the statement.
            said = str(error).partition("\n")[0]
            fail(f"the database cannot be used ({said}); is it running, and migrated with `geo migrate`?")
        finally:
            metrics.buffer.close()
            if isinstance(database.obj, PooledDatabase):
                database.obj.close_all()

    return wrapped


def load() -> Context:
    """Boot this process from the environment.

    Raises:
        SettingsError, InvalidKey, NoDatabase: when it cannot be used.
    """
    # What goes wrong is told by the command itself; the log is for what it did not expect.
    configure_logging(default_format="plain", default_level="WARNING")
    use_embedded_broker()
    settings = Settings.from_env(os.environ)
    require_database(settings.database_url.value)
    return boot(settings)


def require_database(url: str) -> None:
    """Make sure that a SQLite database is there: to look for it would make an empty one, and hide a wrong directory.

    Raises:
        NoDatabase: when it is not.
    """
    if url.startswith("sqlite:///") and not (path := Path(unquote(url.removeprefix("sqlite:///")))).exists():
        raise NoDatabase(
            f"there is no database at {path.absolute()}: `geo up` or `geo migrate` makes it; if it is elsewhere, go to"
            " that directory or set DATABASE_URL"
        )


def use_embedded_broker() -> None:
    """Find the broker of a `geo up` in this directory, so that a message sent from here arrives there."""
    if os.environ.get("REDIS_URL") or os.environ.get("BROKER_URL"):
        return
    embedded = EmbeddedValkey(STATE_DIRECTORY / "valkey")
    if embedded.socket.exists() and embedded.ready():
        os.environ["REDIS_URL"], os.environ["BROKER_URL"] = embedded.url, embedded.broker_url


def site_named(name: str | None, *, remote: bool = False) -> Site:
    """The secondary with this name, or the only one there is; only those replicated to from here, unless `remote`."""
    with connection():
        rows = Site.select().where(~Site.primary & ~Site.retired).order_by(Site.id)
        secondaries = [site for site in rows if remote or not site.remote]
    found = [site for site in secondaries if name in {None, site.name}]
    if len(found) == 1:
        return found[0]
    known = ", ".join(site.name for site in secondaries) or "none"
    if name == PRIMARY:
        fail("the primary is replicated from, not to", 2)
    fail(
        f"say which site with --site; there are: {known}" if found else f"there is no such site; there are: {known}", 2
    )


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=_json))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Aligned columns; headings are dimmed on a terminal."""
    cells = [[_text(cell) for cell in row] for row in rows]
    widths = [max(len(line[column]) for line in [list(headings), *cells]) for column in range(len(headings))]
    head = "  ".join(text.ljust(width) for text, width in zip(headings, widths, strict=True)).rstrip()
    click.echo(click.style(head, dim=True))
    for line in cells:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def size(number: float) -> str:
    """Bytes for people: 1.5 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def duration(seconds: float) -> str:
    """A time for people: 120 ms, 3.2 s, 5 min, 2 h."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def scope_text(repositories: Sequence[str], tags: Sequence[str], capacity: int | None) -> str:
    """What a site replicates, for people."""
    told = [f"repositories {' '.join(repositories) or 'all'}", f"tags {' '.join(tags) or 'all'}"]
    return ", ".join([*told, f"at most {capacity} repositories at once"] if capacity else told)


def short(digest: str | None) -> str:
    """A digest cut to what tells two apart."""
    return digest[:19] if digest else "-"


def _text(cell: object) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, datetime):
        return cell.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return str(cell)


def _json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
