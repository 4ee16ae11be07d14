"""PostgreSQL whose every wait has an end, also where a machine goes and not a process.

A process that dies has its connections closed for it. A machine that loses its power or its network says nothing more:
without these bounds the server keeps its transaction, and whatever that has locked, for two hours, and whoever talks to
such a server waits for a quarter of one.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import peewee
from playhouse.pool import PooledPostgresqlDatabase

#: Seconds for which the other end may be silent, not even acknowledging what it got, before it is taken for gone: what
#: it had locked is free, and what it was asked is asked elsewhere, well before a lease of 45 seconds has run out.
SILENCE = 15

#: Seconds between two statements of a transaction, for a process that stands still on a machine that does not, or
#: behind a pooler that answers for its machine. Nothing of ours talks to anybody else within a transaction, or computes
#: for more than some seconds; and who takes over its lease after 45 seconds must not find its locks.
IDLE_TIMEOUT = 20

#: Seconds that a statement waits for a lock. Longer than both above, by which whoever is gone or stands still has none:
#: who still has one is at work, for milliseconds as a rule, and for seconds where a repository of thousands of tags is
#: deleted, or where dozens of workers wait in turn for one log. Waiting for that is better than failing.
LOCK_TIMEOUT = 60

#: What is set here, unless the operator says something else for this connection (`options` in the URL), user or
#: database. Not by `options` of ours: poolers refuse those.
_LIMIT = """
SELECT set_config(known.name, wanted.setting, false)
FROM (VALUES {}) AS wanted (name, setting) JOIN pg_settings AS known ON known.name = wanted.name
WHERE known.source NOT IN ('client', 'user', 'database', 'database user', 'global')
"""


class _Bounded(peewee.PostgresqlDatabase):
    """Opens connections that give up what is silent for too long; both ends do."""

    #: Its sessions cannot write.
    reads_only = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._thread = threading.local()
        #: When a connection could last not be opened, and why.
        self._refused: tuple[float, str] | None = None
        super().__init__(*arguments, **options)

    def connect(self, reuse_if_open: bool = False) -> bool:
        self._thread.asked = time.monotonic()
        return bool(super().connect(reuse_if_open))

    def _connect(self) -> Any:
        # One thread at a time comes here. Those that waited for one that tried in vain would each try in vain after it,
        # for as long each.
        if self._refused is not None and self._refused[0] > self._thread.asked:
            raise peewee.OperationalError(self._refused[1])
        try:
            made = super()._connect()  # type: ignore[misc]  # untyped
        except Exception as error:
            self._refused = (time.monotonic(), str(error))
            raise
        try:
            self._limit(made.cursor())
        except BaseException:
            made.close()
            raise
        return made

    def _limit(self, cursor: Any) -> None:
        wanted = {
            "lock_timeout": f"{int(LOCK_TIMEOUT * 1000)}ms",
            "idle_in_transaction_session_timeout": f"{int(IDLE_TIMEOUT * 1000)}ms",
        }
        # The server's end of the same.
        wanted |= {name if name == "tcp_user_timeout" else f"tcp_{name}": str(n) for name, n in silence().items()}
        values = [text for setting in wanted.items() for text in setting]
        cursor.execute(_LIMIT.format(", ".join(["(%s, %s)"] * len(wanted))), values)
        if self.reads_only:
            cursor.execute("SET default_transaction_read_only = on")


class Postgresql(PooledPostgresqlDatabase, _Bounded):  # type: ignore[misc]  # untyped
    """A pool of such connections."""


def silence() -> dict[str, int]:
    """That bound, as libpq's parameters; seconds, the last one milliseconds. Systems without it count the three."""
    return {
        "keepalives_idle": max(1, SILENCE * 2 // 3),
        "keepalives_interval": max(1, SILENCE // 3),
        "keepalives_count": 3,
        "tcp_user_timeout": SILENCE * 1000,
    }
