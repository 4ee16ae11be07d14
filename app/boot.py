"""What every process does first: settings, database, registries."""

from __future__ import annotations

import os
from collections.abc import Iterator

from peewee import ImproperlyConfigured

from app import database, logging, metrics, tracing
from app.confidential import secret_values
from app.replication.assembly import assemble
from app.replication.context import Context, Wake, install
from app.replication.policy import InvalidTagPattern, TagPatterns
from app.replication.scope import InvalidScope, Scope
from app.replication.tag_scope import TagScope
from app.settings import Settings, SettingsError


def boot(settings: Settings | None = None, wake: Wake | None = None) -> Context:
    """Make this process ready to work and return its context. Opens no connection to anything.

    Raises:
        SettingsError: when the environment cannot be used.
        InvalidKey: when a registry's key cannot be used.
    """
    settings = settings or Settings.from_env(os.environ)
    bind_database(settings)
    logging.conceal(secret_values(settings))
    tracing.configure(os.environ)
    return install(assemble(settings, wake, observe=metrics.observe_registry, throttled=metrics.observe_throttling))


def bind_database(settings: Settings) -> None:
    """Bind the models to the settings' database. Opens no connection.

    Raises:
        SettingsError: when there can be no such database, or a pattern of GEO_REPOSITORIES, GEO_TAGS or
            GEO_PROTECTED_TAGS can match nothing: the workers would find out one event after the other.
    """
    problems = []
    try:
        database.configure(settings.database_url.value)
    except OSError as error:
        problems.append(f"DATABASE_URL: {error.filename} cannot be made or used: {error.strerror}.")
    except ImproperlyConfigured:
        problems.append(
            "DATABASE_URL is a PostgreSQL one, and its driver is not installed: pip install 'psycopg[binary]'."
        )
    except ValueError as error:
        problems.append(f"DATABASE_URL: {error}.")
    problems += [problem for each in settings.every for problem in _patterns(each)]
    if problems:
        raise SettingsError(list(dict.fromkeys(problems)))


def _patterns(settings: Settings) -> Iterator[str]:
    """What is wrong with a site's patterns."""
    try:
        Scope(settings.repositories)
    except InvalidScope as error:
        yield f"GEO_REPOSITORIES: {error}."
    try:
        TagScope(settings.tags)
    except ValueError as error:
        yield f"GEO_TAGS: {error}."
    try:
        TagPatterns(settings.protected_tags)
    except InvalidTagPattern as error:
        yield f"GEO_PROTECTED_TAGS: {error}."
