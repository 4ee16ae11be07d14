"""Logs: one JSON object a line with GitLab's keys, or plain lines for a person (docs/logs.md)."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from app import correlation

#: Where lines go: of a process to its standard output, of a command (whose output is its result) to standard error;
#: `file`: to the log file, and only warnings to standard error, by a program that prints its lines itself.
Target = Literal["stdout", "stderr", "file"]

#: Characters from which a secret is looked for in lines: a shorter one is found in every other word.
SHORTEST_SECRET = 8

#: What every record carries; the rest was given by the caller as `extra`.
_STANDARD = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName"}

#: A signed token of ours or others, and the query of an address: uploads and storages carry their right there.
_TOKEN = re.compile(r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*")
_QUERY = re.compile(r"\?[\w.~%\[\]-]+=[^\s\"'\\)>]*")

_secrets: tuple[str, ...] = ()


def conceal(secrets: Iterable[str]) -> None:
    """Never write one of these from now on. Errors keep them out already; this is for what nobody thought of."""
    global _secrets
    found = {*_secrets}
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            found |= {secret, json.dumps(secret)[1:-1]}
    # The longest first: one may be a part of another.
    _secrets = tuple(sorted(found, key=len, reverse=True))


def clean(line: str) -> str:
    """The line without known secrets, tokens and queries of addresses."""
    for secret in _secrets:
        if secret in line:
            line = line.replace(secret, "[secret]")
    if "eyJ" in line:
        line = _TOKEN.sub("[token]", line)
    if "?" in line:
        line = _QUERY.sub("?[query]", line)
    return line


class JsonFormatter(logging.Formatter):
    """GitLab's `severity`, `time`, `class`, `message`, `correlation_id` and `job_id`; `pid`, whatever was given as
    `extra`, and the error if there is one."""

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
        return clean(json.dumps(line, default=str))


class PlainFormatter(logging.Formatter):
    """For a person: time, level, message, and `extra` as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        extra = "".join(f" {name}={value}" for name, value in _extra(record).items())
        line = f"{time} {record.levelname.lower():7} {record.getMessage()}{extra}"
        return clean(f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line)


class DescriptorHandler(logging.Handler):
    """Writes each line by one `write`: those of several processes do not mix."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        try:
            data = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001 - a line that cannot be made must not end what it tells of
            self.handleError(record)
            return
        # Nobody may read it any more, or the disk is full: no reason to stop working.
        with contextlib.suppress(OSError):
            self._write(data)

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._descriptor, data) :]


class FileHandler(DescriptorHandler):
    """Appends to a file that several processes write and that may be moved away at any time (logrotate): it is opened
    anew when its name stands for another file, or for none.

    Raises:
        OSError: when it cannot be opened at first. Later its lines are lost, until it can.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._file: tuple[int, int] | None = None
        super().__init__(self._open())

    def _write(self, data: bytes) -> None:
        try:
            found = self._path.stat()
            same = (found.st_dev, found.st_ino) == self._file
        except FileNotFoundError:
            same = False
        if not same:
            before, self._descriptor = self._descriptor, self._open()
            os.close(before)
        super()._write(data)

    def _open(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        opened = os.fstat(descriptor)
        self._file = (opened.st_dev, opened.st_ino)
        return descriptor

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        super().close()


def configure(target: Target = "stdout", *, level: str = "INFO") -> None:
    """Write everything from `LOG_LEVEL` (`level` where it is unset) on to `target`, as `LOG_FORMAT` says (json or
    plain); and, from INFO at least, to the file `GEO_LOG_PATH` as JSON.

    Without `LOG_FORMAT` a person gets plain lines (a terminal, or a command's standard error), all else JSON.
    """
    chosen = logging.getLevelNamesMapping().get((os.environ.get("LOG_LEVEL") or level).upper(), logging.INFO)
    handlers = [_stream(target, max(chosen, logging.WARNING) if target == "file" else chosen)]
    trouble = _add_file(handlers, min(chosen, logging.INFO))
    root = logging.getLogger()
    for old in root.handlers:
        if isinstance(old, FileHandler):
            old.close()
    root.handlers[:] = handlers
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
    if target != "stdout":
        handler = logging.StreamHandler(sys.stderr)
        plain = os.environ.get("LOG_FORMAT") in {None, "", "plain"}
    else:
        # The descriptor and not `sys.stdout`: Dramatiq gives its workers a pipe for that, which ends in the standard
        # error of their parent.
        handler = DescriptorHandler(1)
        plain = not (as_json(sys.__stdout__) if sys.__stdout__ is not None else True)
    handler.setFormatter(PlainFormatter() if plain else JsonFormatter())
    handler.setLevel(level)
    return handler


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
