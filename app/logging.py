"""Logs: one JSON object a line, or plain lines on a terminal."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

#: What every record carries; the rest was given by the caller as `extra`.
_STANDARD = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """`time`, `severity`, `logger`, `message`, whatever was given as `extra`, and the error if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "severity": record.levelname,
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
        }
        line |= _extra(record)
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class PlainFormatter(logging.Formatter):
    """For a person: time, level, message, and `extra` as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        extra = "".join(f" {name}={value}" for name, value in _extra(record).items())
        line = f"{time} {record.levelname.lower():7} {record.getMessage()}{extra}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(*, default_format: str | None = None, default_level: str = "INFO") -> None:
    """Send everything from `LOG_LEVEL` (info) on to standard error, as `LOG_FORMAT` (json or plain) says.

    Without `LOG_FORMAT` a terminal gets plain lines and everything else JSON, unless `default_format` says which.
    """
    usual = default_format or ("plain" if sys.stderr.isatty() else "json")
    chosen = os.environ.get("LOG_FORMAT") or usual
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter() if chosen == "plain" else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    named = (os.environ.get("LOG_LEVEL") or default_level).upper()
    level = logging.getLevelNamesMapping().get(named, logging.INFO)
    root.setLevel(level)
    # Peewee and urllib3 tell every statement and connection; that is for debugging alone.
    for name in ("urllib3", "peewee"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
