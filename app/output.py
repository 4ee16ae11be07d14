"""The output of several programs on one terminal or log: whole lines, each with its program's name, or each JSON."""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import select
import threading
import time
from collections.abc import Sequence
from typing import IO, TextIO

from app.logging import clean, timestamp
from app.visible import visible

#: Lines waiting to be written before further ones are dropped and counted.
QUEUE_LINES = 10_000

#: Bytes after which a line without an end is broken up, so that no program can make us keep it whole.
LINE_LIMIT = 64 * 1024

#: Our own name in the output.
OWN_NAME = "geo"

#: Seconds that `PrefixedOutput.close` gives the last lines.
CLOSE_TIMEOUT = 0.5

# Cyan, yellow, green, magenta, blue: what both light and dark terminals show legibly. Red is left to errors.
_COLOURS = ("36", "33", "32", "35", "34")


class PrefixedOutput:
    """Writes lines of many sources to ``out`` as ``name | line``; in colour on a terminal (unless NO_COLOR is set).
    With ``as_json`` a line that is a JSON object stays as it is, and any other becomes one.

    Nobody who has a line to write ever waits: not the programs, not the supervisor that must answer SIGTERM. A
    terminal that is paused or a log reader that is slow costs lines (their number is written later), and when
    ``out`` is closed, lines are thrown away.
    """

    def __init__(self, out: TextIO, names: Sequence[str], *, as_json: bool = False) -> None:
        self._out = out
        self._as_json = as_json
        self._width = max(len(name) for name in names)
        self._colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
        self._coloured = out.isatty() and not os.environ.get("NO_COLOR")
        self._lines: queue.Queue[str | None] = queue.Queue(QUEUE_LINES)
        self._dropped = 0
        self._readers: list[threading.Thread] = []
        with contextlib.suppress(OSError, ValueError):
            out.flush()
        self._writer = threading.Thread(target=self._write_lines, name="output", daemon=True)
        self._writer.start()

    def line(self, name: str, text: str) -> None:
        """Have one line written, soon."""
        whole = self._object(name, text) if self._as_json else self._prefixed(name, text)
        try:
            self._lines.put_nowait(f"{whole}\n")
        except queue.Full:
            self._dropped += 1

    def follow(self, name: str, stream: IO[bytes]) -> None:
        """Copy ``stream`` line by line until it ends, then close it."""
        self._readers = [reader for reader in self._readers if reader.is_alive()]
        reader = threading.Thread(target=self._read, args=(name, stream), name=f"output-{name}", daemon=True)
        self._readers.append(reader)
        reader.start()

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Write what is there, for ``timeout`` seconds at most."""
        deadline = time.monotonic() + timeout

        def remaining() -> float:
            return max(0.0, deadline - time.monotonic())

        for reader in self._readers:
            reader.join(remaining())
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=remaining())
        self._writer.join(remaining())

    def _prefixed(self, name: str, text: str) -> str:
        # What a program says may be a stranger's words, and a terminal obeys some characters.
        text = clean(visible(text, kept="\t"))
        prefix = f"{name:<{self._width}} |"
        if self._coloured:
            prefix = f"\x1b[{self._colours.get(name, '0')}m{prefix}\x1b[0m"
        return f"{prefix} {text}"

    def _object(self, name: str, text: str) -> str:
        if _is_object(text):
            return text
        line = {"severity": "INFO", "time": timestamp(time.time()), "class": name, "message": text}
        return clean(json.dumps(line))

    def _read(self, name: str, stream: IO[bytes]) -> None:
        with stream:
            while raw := stream.readline(LINE_LIMIT):
                self.line(name, raw.decode("utf-8", errors="replace").rstrip("\r\n"))

    def _write_lines(self) -> None:
        open_ = True
        while (text := self._lines.get()) is not None:
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                told = f"({dropped} lines were dropped: this output is read too slowly)"
                text = f"{self._object(OWN_NAME, told) if self._as_json else told}\n{text}"
            if open_:
                try:
                    self._write(text)
                except (OSError, ValueError):
                    open_ = False

    def _write(self, text: str) -> None:
        # Past Python's own buffer: a thread that is stuck in a paused terminal would hold that buffer's lock,
        # and the interpreter aborts at exit when it cannot get it.
        try:
            descriptor = self._out.fileno()
        except io.UnsupportedOperation:
            self._out.write(text)
            return
        data = text.encode("utf-8", errors="replace")
        while data:
            try:
                data = data[os.write(descriptor, data) :]
            except BlockingIOError:
                select.select([], [descriptor], [])


def _is_object(text: str) -> bool:
    if not text.startswith("{"):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
