from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path

import pytest

from app.output import LINE_LIMIT, QUEUE_LINES, PrefixedOutput
from tests.support.wait import wait_until


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Paused(io.StringIO):
    """Takes nothing until `resumed`."""

    def __init__(self) -> None:
        super().__init__()
        self.resumed = threading.Event()
        self.reached = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        self.resumed.wait()
        return super().write(text)


#: What looks like an object, and is none.
ALMOST = ("{}{}", "{not: json}", '{"a": 1', "{" + '"a":{' * 10_000 + "}")


def followed(data: bytes) -> str:
    out = io.StringIO()
    output = PrefixedOutput(out, ["web"])
    output.follow("web", io.BytesIO(data))
    output.close(timeout=10)
    return out.getvalue()


def test_lines_are_prefixed_with_aligned_names() -> None:
    out = io.StringIO()
    output = PrefixedOutput(out, ["web", "scheduler"])
    output.line("web", "one")
    output.line("scheduler", "two")
    output.close()
    assert out.getvalue() == "web       | one\nscheduler | two\n"


def test_each_line_of_a_stream_is_written_the_last_one_too() -> None:
    assert followed(b"one\r\n\ntwo") == "web | one\nweb | \nweb | two\n"


def test_bytes_that_are_no_text_are_shown_as_replaced() -> None:
    assert followed(b"\xff\n") == "web | \N{REPLACEMENT CHARACTER}\n"


def test_a_line_without_end_is_broken_up() -> None:
    lines = followed(b"x" * (LINE_LIMIT + 1)).splitlines()
    assert [len(line) for line in lines] == [len("web | ") + LINE_LIMIT, len("web | ") + 1]


def test_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    output = PrefixedOutput(out, ["web"])
    output.line("web", "one")
    output.close()
    assert out.getvalue() == "\x1b[36mweb |\x1b[0m one\n"


def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    output = PrefixedOutput(out, ["web"])
    output.line("web", "one")
    output.close()
    assert out.getvalue() == "web | one\n"


def test_a_file_gets_what_a_stream_says(tmp_path: Path) -> None:
    # Given a real file, which is written past Python's buffer
    path = tmp_path / "log"
    with path.open("w") as out:
        out.write("before\n")
        output = PrefixedOutput(out, ["web"])
        output.line("web", "grün")
        output.close()
    assert path.read_text() == "before\nweb | grün\n"


def test_lines_for_a_closed_output_are_thrown_away() -> None:
    # Given an output whose reader has gone
    read_end, write_end = os.pipe()
    os.close(read_end)
    with open(write_end, "w") as out:  # noqa: PTH123 - a descriptor
        output = PrefixedOutput(out, ["web"])
        # When more is written than waits for a writer
        stream = io.BytesIO(b"line\n" * (QUEUE_LINES * 2))
        output.follow("web", stream)
        # Then the stream is read to its end
        wait_until(lambda: stream.closed)
        output.close()


def test_lines_that_a_paused_output_cannot_take_are_counted() -> None:
    # Given an output that is stuck in its first line
    out = Paused()
    output = PrefixedOutput(out, ["web"])
    output.line("web", "first")
    out.reached.wait()
    # When more lines come than are kept
    for _ in range(QUEUE_LINES + 7):
        output.line("web", "more")
    # And it goes on
    out.resumed.set()
    output.close(timeout=10)
    # Then it has all that were kept, and the number of those that were not
    assert out.getvalue().count("web | ") == 1 + QUEUE_LINES
    assert "(7 lines were dropped" in out.getvalue()


def test_an_output_that_stays_paused_does_not_keep_us() -> None:
    out = Paused()
    output = PrefixedOutput(out, ["web"])
    output.line("web", "first")
    output.close(timeout=0.1)
    assert out.getvalue() == ""
    out.resumed.set()


def test_as_json_each_line_is_an_object() -> None:
    # Given an output for a program that reads it
    out = io.StringIO()
    output = PrefixedOutput(out, ["web"], as_json=True)

    # When a program says something in JSON, and another does not, or only half
    output.line("web", '{"severity": "INFO", "message": "one"}')
    output.line("valkey", "1:M Ready, see redis://a/?token=x")
    output.line("web", '{"severity": "IN')
    for almost in ALMOST:
        output.line("web", almost)
    output.close()

    # Then what was an object stays as it is, and all are
    lines = out.getvalue().splitlines()
    assert lines[0] == '{"severity": "INFO", "message": "one"}'
    told = [json.loads(line) for line in lines[1:]]
    assert [(each["class"], each["message"], each["severity"]) for each in told] == [
        ("valkey", "1:M Ready, see redis://a/?[query]", "INFO"),
        ("web", '{"severity": "IN', "INFO"),
        *(("web", almost, "INFO") for almost in ALMOST),
    ]


def test_a_terminal_is_not_told_what_to_do() -> None:
    # Given a program that says a stranger's words: up a line, over what stands there, and a title
    said = "pushed \x1b[1A\x1b[2Ksynced\r\x1b]0;title\x07 \u202egpj.exe"
    assert followed(f"{said}\n".encode()) == (
        "web | pushed \\u001b[1A\\u001b[2Ksynced\\u000d\\u001b]0;title\\u0007 \\u202egpj.exe\n"
    )
    assert followed(b"a\tb\n") == "web | a\tb\n"
