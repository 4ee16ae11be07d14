"""Logs: one JSON object a line with GitLab's keys, or plain lines for a person (docs/logs.md)."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import select
import stat
import sys
from bisect import bisect_right
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from app import correlation
from app.visible import visible

#: Where lines go: of a process to its standard output, of a command (whose output is its result) to standard error;
#: `file`: to the log file, and only warnings to standard error, by a program that prints its lines itself.
Target = Literal["stdout", "stderr", "file"]

#: Characters from which a secret is looked for in lines: a shorter one is found in every other word.
SHORTEST_SECRET = 8

#: What every record carries; the rest was given by the caller as `extra`.
_STANDARD = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName"}

#: A signed token of ours or others, and the query of an address: uploads and storages carry their right there.
#: Begun only where a word begins that two others follow: from each place of a long word it would be read to its end.
_TOKEN = re.compile(r"(?<![\w-])(?=[\w-]++\.[\w-]++\.)([\w-]*?)eyJ[\w-]{8,}\.[\w-]+\.[\w-]*")
_QUERY = re.compile(r"\?[\w.~%\[\]-]+=[^\s\"'\\)>]*")

#: Secrets of a time that are remembered: of two registries, for the last renewals of each.
RECENT_SECRETS = 32

#: Stands where a line was cut.
CUT = "[...]"

#: Bytes of a line that a pipe takes as one, before the newlines around it.
PIPE_ROOM = select.PIPE_BUF - 2

_secrets: tuple[str, ...] = ()
_recent: tuple[str, ...] = ()


def conceal(secrets: Iterable[str]) -> None:
    """Never write one of these from now on. Errors keep them out already; this is for what nobody thought of."""
    global _secrets
    found = {*_secrets}
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            found |= {secret, json.dumps(secret)[1:-1]}
    # The longest first: one may be a part of another.
    _secrets = tuple(sorted(found, key=len, reverse=True))


def conceal_recent(secrets: Iterable[str]) -> None:
    """The same for secrets that are given for a time: the newest of them are remembered."""
    global _recent
    fresh = [secret for secret in secrets if len(secret) >= SHORTEST_SECRET and secret not in _recent]
    _recent = (*_recent, *fresh)[-RECENT_SECRETS:]


def clean(line: str) -> str:
    """The line without known secrets, tokens and queries of addresses."""
    for secret in (*_secrets, *_recent):
        if secret in line:
            line = line.replace(secret, "[secret]")
    if "eyJ" in line:
        line = _TOKEN.sub(r"\1[token]", line)
    if "?" in line:
        line = _QUERY.sub("?[query]", line)
    return line


#: The descriptor of a handler that was closed.
_CLOSED = -1


class JsonFormatter(logging.Formatter):
    """GitLab's `severity`, `time`, `class`, `message`, `correlation_id` and `job_id`; `pid`, whatever was given as
    `extra`, and the error if there is one. Of a line over `room` bytes the error is cut, of which the end tells most;
    then what else is long."""

    def __init__(self, room: int | None = None) -> None:
        super().__init__()
        self._room = room

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "severity": record.levelname,
            "time": timestamp(record.created),
            "class": record.name,
            "message": record.getMessage(),
        }
        if (id_ := correlation.current()) is not None:
            line["correlation_id"] = id_
        if (job := correlation.job()) is not None:
            line["job_id"] = job
        line["pid"] = record.process
        line |= _extra(record)
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        text = clean(json.dumps(line, default=str))
        if self._room is None or len(text) <= self._room:
            return text
        return _cut(line, self._room)


class PlainFormatter(logging.Formatter):
    """For a person: time, level, message, and `extra` as key=value, on one line; below it an error, if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        extra = "".join(f" {name}={value}" for name, value in _extra(record).items())
        line = visible(f"{time} {record.levelname.lower():7} {record.getMessage()}{extra}", kept="\t")
        if record.exc_info:
            # Set in: what an error quotes must not look like a line of ours.
            error = visible(self.formatException(record.exc_info), kept="\n\t").replace("\n", "\n  ")
            line += f"\n  {error}"
        return clean(line)


class DescriptorHandler(logging.Handler):
    """Writes each line by one `write`: those of several processes do not mix, on a pipe as far as they are no longer
    than it takes at once (`PIPE_ROOM`). Once closed it writes nothing: its number may be another file's."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._torn = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            data = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001 - a line that cannot be made must not end what it tells of
            self.handleError(record)
            return
        # Nobody may read it any more, or the disk is full: no reason to stop working.
        with contextlib.suppress(OSError):
            self._write(data)

    def close(self) -> None:
        """Write nothing any more."""
        self.acquire()
        try:
            self._descriptor = _CLOSED
        finally:
            self.release()
        super().close()

    def _write(self, data: bytes) -> None:
        if self._descriptor == _CLOSED:
            return
        # What an earlier failure left of a line must not be the beginning of this one.
        data = b"\n" + data if self._torn else data
        whole = len(data)
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        finally:
            self._torn = 0 < len(data) < whole or (self._torn and len(data) == whole)


class FileHandler(DescriptorHandler):
    """Appends to a file that several processes write and that may be moved away at any time (logrotate): it is opened
    anew when its name stands for another file, or for none.

    Raises:
        OSError: when it cannot be opened at first. Later its lines go on to where it was moved, until it can.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._file: tuple[int, int] | None = None
        self._told = False
        super().__init__(self._open())

    def _write(self, data: bytes) -> None:
        try:
            found = self._path.stat()
            same = (found.st_dev, found.st_ino) == self._file
        except OSError:
            same = False
        if not same and self._descriptor != _CLOSED:
            self._begin_anew()
        super()._write(data)

    def _begin_anew(self) -> None:
        try:
            opened = self._open()
        except OSError as error:
            if not self._told:
                # Before it is told: that comes by here as well.
                self._told = True
                logging.getLogger(__name__).warning(
                    "the log file cannot be begun anew, its lines go on to where it was moved: %s",
                    f"{self._path}: {error.strerror or error}",
                )
            return
        before, self._descriptor = self._descriptor, opened
        os.close(before)
        self._told = self._torn = False

    def _open(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        opened = os.fstat(descriptor)
        self._file = (opened.st_dev, opened.st_ino)
        return descriptor

    def close(self) -> None:
        """Close the file."""
        self.acquire()
        try:
            descriptor = self._descriptor
            super().close()
        finally:
            self.release()
        if descriptor != _CLOSED:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def configure(target: Target = "stdout", *, level: str = "INFO") -> None:
    """Write everything from `LOG_LEVEL` (`level` where it is unset) on to `target`, as `LOG_FORMAT` says (json or
    plain); and, from INFO at least, to the file `GEO_LOG_PATH` as JSON.

    Without `LOG_FORMAT` a person gets plain lines (a terminal, or a command's standard error), all else JSON.
    """
    chosen = logging.getLevelNamesMapping().get((os.environ.get("LOG_LEVEL") or level).upper(), logging.INFO)
    handlers = [_stream(target, max(chosen, logging.WARNING) if target == "file" else chosen)]
    trouble = _add_file(handlers, min(chosen, logging.INFO))
    root = logging.getLogger()
    before, root.handlers[:] = list(root.handlers), handlers
    for old in before:
        if isinstance(old, FileHandler):
            old.close()
    root.setLevel(min(handler.level for handler in handlers))
    # Peewee and urllib3 tell every statement and connection, with values and addresses whole.
    for name in ("urllib3", "peewee"):
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))
    if trouble:
        logging.getLogger(__name__).warning("the log file cannot be written: %s", trouble)


def as_json(out: Any) -> bool:
    """Whether lines on this stream are JSON: as `LOG_FORMAT` says, else unless it is a terminal."""
    chosen = os.environ.get("LOG_FORMAT")
    return chosen != "plain" if chosen else not out.isatty()


def timestamp(seconds: float) -> str:
    """An instant as GitLab writes it: UTC, milliseconds, `Z`."""
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat(timespec='milliseconds')[:-6]}Z"


def _stream(target: Target, level: int) -> logging.Handler:
    handler: logging.Handler
    room = None
    if target != "stdout":
        handler = logging.StreamHandler(sys.stderr)
        plain = os.environ.get("LOG_FORMAT") in {None, "", "plain"}
    else:
        # The descriptor and not `sys.stdout`: Dramatiq gives its workers a pipe for that, which ends in the standard
        # error of their parent.
        handler = DescriptorHandler(1)
        room = PIPE_ROOM if _is_pipe(1) else None
        plain = not (as_json(sys.__stdout__) if sys.__stdout__ is not None else True)
    handler.setFormatter(PlainFormatter() if plain else JsonFormatter(room))
    handler.setLevel(level)
    return handler


def _is_pipe(descriptor: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _cut(line: dict[str, Any], room: int) -> str:
    """The line in so many bytes: the error first loses its beginning, then the longest others lose their ends."""
    text = clean(json.dumps(line, default=str))
    for name in sorted(line, key=lambda name: (name != "error", name == "message", -len(str(line[name])))):
        over = len(text) - room
        if over <= 0:
            break
        written = clean(json.dumps(line[name], default=str))
        # Cleaned before it is cut: half a secret is not found any more.
        value = clean(line[name]) if isinstance(line[name], str) else written
        left = len(written) - over - len(json.dumps(CUT)) + len('""')
        line[name] = f"{CUT}{_end(value, left)}" if name == "error" else f"{_beginning(value, left)}{CUT}"
        text = clean(json.dumps(line, default=str))
    return text


def _end(text: str, room: int) -> str:
    """As much of its end as is so long in JSON."""
    return _beginning(text[::-1], room)[::-1]


def _beginning(text: str, room: int) -> str:
    # A character is of one byte to twelve there.
    fitting = bisect_right(range(min(len(text), max(room, 0)) + 1), room, key=lambda end: len(json.dumps(text[:end])))
    return text[: max(0, fitting - 1)]


def _add_file(handlers: list[logging.Handler], level: int) -> str | None:
    """Add the log file, if one is wanted; what stands in its way."""
    path = os.environ.get("GEO_LOG_PATH")
    if not path:
        return None
    try:
        handler = FileHandler(Path(path))
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    handler.setFormatter(JsonFormatter())
    handler.setLevel(level)
    handlers.append(handler)
    return None


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if value is not None and name not in _STANDARD}
