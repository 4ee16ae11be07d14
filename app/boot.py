"""What every process does first: settings, database, registries."""

from __future__ import annotations

import os

from app import database, metrics
from app.replication.context import Context, Wake, install
from app.settings import Settings


def boot(settings: Settings | None = None, wake: Wake | None = None) -> Context:
    """Make this process ready to work and return its context. Opens no connection to anything.

    Raises:
        SettingsError: when the environment cannot be used.
        InvalidKey: when a registry's key cannot be used.
    """
    settings = settings or Settings.from_env(os.environ)
    database.configure(settings.database_url.value)
    return install(Context.build(settings, wake, observe=metrics.observe_registry))
