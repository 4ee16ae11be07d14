"""An examination: what is looked at, and with how much patience."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from app.database import connection
from app.settings import RegistrySettings, Settings


class Skipped(Exception):
    """Something else has to be mended before this can be looked at; the message says what."""


@dataclass(frozen=True, slots=True)
class Examination:
    """The settings that are examined; the models are bound to their database. Times are in seconds."""

    settings: Settings
    #: Our clock, since the epoch: what tokens are made by.
    clock: Callable[[], float] = time.time
    #: The address that the primary registry sends its notifications to, as it has it; None: not looked at.
    webhook: str | None = None
    #: In which a single request has to be answered.
    answer: float = 5.0
    #: In which a whole check has to be done.
    limit: float = 60.0
    #: For which arriving notifications are watched.
    watch: float = 5.0

    def registry(self, side: str) -> RegistrySettings:
        """The settings of `primary` or `secondary`.

        Raises:
            Skipped: for a secondary that this deployment does not have.
        """
        found = self.settings.primary if side == "primary" else self.settings.secondary
        if found is None:
            raise Skipped("this deployment has no secondary registry")
        return found

    @contextmanager
    def stored(self) -> Iterator[None]:
        """A connection to the database.

        Raises:
            Skipped: where its file is missing; to connect would make an empty one.
            DatabaseUnavailable: when it cannot be reached.
        """
        if self.missing_file is not None:
            raise Skipped(f"there is no database at {self.missing_file}")
        with connection():
            yield

    @property
    def missing_file(self) -> Path | None:
        """The file of a SQLite database that has never been made."""
        url = self.settings.database_url.value
        if not url.startswith("sqlite:///"):
            return None
        path = Path(unquote(url.removeprefix("sqlite:///"))).absolute()
        return None if path.exists() else path
