"""What commands share: the settings, errors as sentences, tables and JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar
from urllib.parse import unquote

import click
from peewee import PeeweeException

from app import correlation, database, metrics, tracing
from app.boot import boot
from app.cli import names
from app.cli.text import print_table as print_table
from app.cli.text import scope_text as scope_text
from app.cli.text import short as short
from app.database import DatabaseUnavailable, connection, is_locked
from app.embedded import EmbeddedValkey
from app.logging import configure as configure_logging
from app.migrate import Unmigrated, difference
from app.models import Site
from app.registry import InvalidKey, RegistryError
from app.replication.context import Context
from app.replication.sites import PRIMARY, SiteError
from app.settings import STATE_DIRECTORY, Settings, SettingsError
from app.visible import visible

P = ParamSpec("P")
R = TypeVar("R")


#: Of what a terminal obeys, what sentences of ours hold.
_BREAKS = "\n\t"

#: Seconds that waking the workers may take.
WAKING = 3.0


class NoDatabase(Exception):
    """The database that the settings name has never been made; the message says by what."""


def fail(message: str, status: int = 1) -> NoReturn:
    """End with a sentence on standard error."""
    # What registries answer is quoted in it.
    click.echo(f"geo: {visible(message, kept=_BREAKS)}", err=True)
    sys.exit(status)


def plainly(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors that a person can act on into a sentence and an exit status."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with correlation.bound(correlation.new()):
                return command(*args, **kwargs)
        except SettingsError as error:
            fail(str(error), 2)
        except (InvalidKey, SiteError) as error:
            fail(str(error), 2)
        except (RegistryError, NoDatabase, Unmigrated) as error:
            fail(str(error))
        except (DatabaseUnavailable, PeeweeException) as error:
            # PostgreSQL's errors go on with the statement.
            said = str(error).partition("\n")[0]
            if is_locked(error):
                fail(f"another process kept the database locked ({said}); give the command again")
            fail(f"the database cannot be used ({said}); is it running, and migrated with `geo migrate`?")
        finally:
            metrics.buffer.close()
            tracing.close()
            database.close()

    return wrapped


def load() -> Context:
    """Boot this process from the environment.

    Raises:
        SettingsError, InvalidKey, NoDatabase: when it cannot be used.
        Unmigrated: when the schema is another version's.
    """
    # What goes wrong is told by the command itself; the log is for what it did not expect.
    configure_logging("stderr", level="WARNING")
    use_embedded_broker()
    settings = Settings.from_env(os.environ)
    require_database(settings.database_url.value)
    context = boot(settings)
    with contextlib.ExitStack() as undo:
        undo.callback(context.close)
        if differs := str(difference()):
            raise Unmigrated(differs)
        undo.pop_all()
    return context


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


@contextlib.contextmanager
def waking(context: Context) -> Iterator[None]:
    """Inside, the context wakes the workers, if their queue is known here; else the scheduler does, a second later."""
    if context.settings.redis_url is None and context.settings.broker_url is None:
        yield
        return
    # Here, because it brings Dramatiq, which takes as long to import as all the rest.
    from workers.wake import QueueWake

    context.wake = wake = QueueWake(context.settings)
    yield
    wake.join(WAKING)


def site_named(name: str | None, *, remote: bool = False) -> Site:
    """The secondary with this name, or the only one there is; only those replicated to from here, unless `remote`."""
    with connection():
        meant_here = Site.secondaries() if remote else Site.here()
        secondaries = list(Site.select().where(meant_here).order_by(Site.id))
    found = [site for site in secondaries if name in {None, site.name}]
    if len(found) == 1:
        return found[0]
    known = ", ".join(site.name for site in secondaries) or "none"
    if name == PRIMARY:
        fail("the primary is replicated from, not to", 2)
    if found:
        fail(f"say which site with --site; there are: {known}", 2)
    meant = names.meant(name, [site.name for site in secondaries]) if name else ""
    fail(f"there is no such site{meant or ';'} there are: {known}", 2)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=json_value))


def json_value(value: object) -> str:
    """What JSON has no form for, as text."""
    return value.isoformat() if isinstance(value, datetime) else str(value)
