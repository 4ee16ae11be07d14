from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from app import correlation
from app import logging as logs
from app.logging import (
    CUT,
    PIPE_ROOM,
    DescriptorHandler,
    FileHandler,
    JsonFormatter,
    PlainFormatter,
    as_json,
    clean,
    conceal,
    configure,
)
from tests.support.root import ROOT

#: The lines that were written since it was called last: to standard output, and to standard error.
Lines: TypeAlias = Callable[[], tuple[list[str], list[str]]]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """What is written, with the log as it was put back afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in ("urllib3", "peewee")}
    for name in ("LOG_FORMAT", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(logs, "_secrets", ())

    def read() -> tuple[list[str], list[str]]:
        captured = capfd.readouterr()
        return captured.out.splitlines(), captured.err.splitlines()

    yield read
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def documents(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_is_one_object_with_gitlabs_keys(lines: Lines) -> None:
    # Given
    configure()

    # When something goes wrong, over several lines
    log = logging.getLogger("geo.test")
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        log.exception("it failed for %s", "team/app", extra={"site": "eu", "what": {1, 2}.__class__, "tag": None})

    # Then it is one line on standard output, with what was given beside it
    (out, err) = lines()
    assert err == []
    (line,) = out
    document = json.loads(line)
    assert list(document)[:4] == ["severity", "time", "class", "message"]
    assert document["message"] == "it failed for team/app"
    assert document["severity"] == "ERROR"
    assert document["class"] == "geo.test"
    assert document["pid"] == os.getpid()
    assert document["site"] == "eu"
    assert "first\nsecond" in document["error"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document["time"])
    # What there is nothing of is not there.
    assert document.keys().isdisjoint({"tag", "correlation_id", "job_id"})


def test_a_line_tells_the_occasion_that_it_is_of(lines: Lines) -> None:
    configure()
    bound = correlation.bind("an-id", "a-job")
    logging.getLogger("geo.test").warning("so it is")
    correlation.release(bound)
    (line,), _ = lines()
    assert (json.loads(line)["correlation_id"], json.loads(line)["job_id"]) == ("an-id", "a-job")


@pytest.mark.parametrize(
    ("variable", "target", "plain"),
    [
        (None, "stdout", False),
        ("plain", "stdout", True),
        ("json", "stderr", False),
        (None, "stderr", True),
        ("", "stderr", True),
    ],
)
def test_the_format(
    lines: Lines, monkeypatch: pytest.MonkeyPatch, variable: str | None, target: logs.Target, plain: bool
) -> None:
    if variable is not None:
        monkeypatch.setenv("LOG_FORMAT", variable)
    configure(target)
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler.formatter, PlainFormatter if plain else JsonFormatter)


@pytest.mark.parametrize(
    ("variable", "usual", "level"),
    [
        (None, "INFO", logging.INFO),
        ("debug", "INFO", logging.DEBUG),
        ("WARNING", "INFO", logging.WARNING),
        ("nonsense", "INFO", logging.INFO),
        (None, "WARNING", logging.WARNING),
        ("info", "WARNING", logging.INFO),
    ],
)
def test_the_level(lines: Lines, monkeypatch: pytest.MonkeyPatch, variable: str | None, usual: str, level: int) -> None:
    if variable is not None:
        monkeypatch.setenv("LOG_LEVEL", variable)
    configure(level=usual)
    assert logging.getLogger().level == level
    # Every statement and connection would be told otherwise, with values and signed addresses.
    assert logging.getLogger("peewee").level >= logging.WARNING
    assert logging.getLogger("urllib3").level >= logging.WARNING


def test_a_plain_line_is_for_people(lines: Lines) -> None:
    configure("stderr")
    with correlation.bound("an-id"):
        logging.getLogger("geo.test").warning("slow", extra={"site": "eu"})
    out, (line,) = lines()
    assert out == []
    assert line.endswith("warning slow site=eu")


def test_the_last_configuration_counts(lines: Lines) -> None:
    configure()
    configure()
    logging.getLogger("geo.test").warning("once")
    assert len(lines()[0]) == 1


def test_who_prints_its_lines_itself_prints_only_warnings_more(lines: Lines, tmp_path: Path) -> None:
    configure("file")
    logging.getLogger("geo.test").info("printed already")
    logging.getLogger("geo.test").warning("not yet")
    out, err = lines()
    assert out == []
    assert [line.split()[-2:] for line in err] == [["not", "yet"]]


def test_json_is_for_whoever_is_no_terminal(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    class Out:
        def __init__(self, terminal: bool) -> None:
            self.isatty = lambda: terminal

    assert [as_json(Out(terminal)) for terminal in (True, False)] == [False, True]
    monkeypatch.setenv("LOG_FORMAT", "json")
    assert as_json(Out(terminal=True))
    monkeypatch.setenv("LOG_FORMAT", "plain")
    assert not as_json(Out(terminal=False))


# --- the file -------------------------------------------------------------------------------------------------------


def test_the_file_has_more_than_a_commands_standard_error(
    lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a command, which tells only what is wrong
    path = tmp_path / "made" / "geo.log"
    monkeypatch.setenv("GEO_LOG_PATH", str(path))
    configure("stderr", level="WARNING")

    # When
    logging.getLogger("geo.test").info("done", extra={"site": "eu"})
    logging.getLogger("geo.test").debug("nothing to tell")

    # Then the file has it
    assert lines() == ([], [])
    (document,) = documents(path)
    assert (document["message"], document["site"], document["severity"]) == ("done", "eu", "INFO")
    assert path.stat().st_mode & 0o007 == 0


def test_a_file_that_is_moved_away_is_begun_anew(lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given
    path = tmp_path / "geo.log"
    monkeypatch.setenv("GEO_LOG_PATH", str(path))
    configure()
    log = logging.getLogger("geo.test")
    log.info("first")

    # When it is rotated, once by moving it away and once by cutting it
    path.rename(tmp_path / "geo.log.1")
    log.info("second")
    assert [each["message"] for each in documents(path)] == ["second"]
    os.truncate(path, 0)
    log.info("third")

    # Then nothing is lost, and nothing goes where it should not any more
    assert [each["message"] for each in documents(path)] == ["third"]
    assert [each["message"] for each in documents(tmp_path / "geo.log.1")] == ["first"]


def test_a_file_that_cannot_be_written_is_said_and_stops_nothing(
    lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEO_LOG_PATH", "/dev/null/geo.log")
    configure()
    logging.getLogger("geo.test").info("on it goes")
    out, _ = lines()
    assert [json.loads(line)["message"].partition(":")[0] for line in out] == [
        "the log file cannot be written",
        "on it goes",
    ]


def test_lines_of_several_processes_do_not_mix(tmp_path: Path) -> None:
    # Given processes that write long lines into one file
    path = tmp_path / "geo.log"
    code = (
        "import logging, sys; from app.logging import configure; configure('stderr', level='ERROR');"
        "log = logging.getLogger('geo.test');"
        "[log.info('line', extra={'who': sys.argv[1], 'number': n, 'long': sys.argv[1] * 9000}) for n in range(200)]"
    )
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "GEO_LOG_PATH": str(path)}

    def write(who: str) -> int:
        return subprocess.run([sys.executable, "-c", code, who], env=env, cwd=tmp_path, check=False).returncode

    # When
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(write, "abc")) == [0, 0, 0]

    # Then each line is whole, and those of a process are in order
    found = documents(path)
    assert len(found) == 600
    for who in "abc":
        assert [each["number"] for each in found if each["who"] == who] == list(range(200))


def test_a_file_that_cannot_be_begun_anew_goes_on_where_it_was_moved(
    lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a log file
    path, moved = tmp_path / "log" / "geo.log", tmp_path / "geo.log.1"
    monkeypatch.setenv("GEO_LOG_PATH", str(path))
    configure()
    log = logging.getLogger("geo.test")
    log.info("one")

    # When it is moved away, and there can be none in its place
    path.rename(moved)
    path.parent.rmdir()
    path.parent.touch()
    log.info("two")
    log.info("three")

    # Then nothing is lost, and it is said once on standard output
    said = "the log file cannot be begun anew, its lines go on to where it was moved"
    assert [each["message"].partition(":")[0] for each in documents(moved)] == ["one", said, "two", "three"]
    out = [json.loads(line)["message"].partition(":")[0] for line in lines()[0]]
    assert out == ["one", "two", said, "three"]

    # And once there can be one it is begun, and a next time is said again
    path.parent.unlink()
    log.info("four")
    assert [each["message"] for each in documents(path)] == ["four"]
    path.unlink()
    path.mkdir()
    log.info("five")
    assert sum(said in line for line in lines()[0]) == 1


def test_what_is_told_after_the_end_goes_nowhere(tmp_path: Path) -> None:
    # Given a handler that was closed, as at the end of a process, while a thread goes on
    handler = FileHandler(tmp_path / "geo.log")
    handler.setFormatter(JsonFormatter())
    record = logging.makeLogRecord({"msg": "line"})
    handler.handle(record)
    handler.close()
    # When another file gets the number of its descriptor
    with (tmp_path / "geo.db").open("wb"):
        handler.handle(record)
        # Also where the log file was moved away meanwhile
        (tmp_path / "geo.log").rename(tmp_path / "geo.log.1")
        handler.handle(record)
    # Then nothing is written there, nor a file begun
    assert (tmp_path / "geo.db").read_bytes() == b""
    assert len(documents(tmp_path / "geo.log.1")) == 1
    assert not (tmp_path / "geo.log").exists()
    handler.close()


# --- a pipe ---------------------------------------------------------------------------------------------------------


def test_lines_of_several_processes_do_not_mix_on_a_pipe(tmp_path: Path) -> None:
    # Given processes that write long errors, of all kinds of characters, to one pipe as their standard output
    code = (
        "import logging, sys; from app.logging import configure; configure();"
        "log = logging.getLogger('geo.test'); who = sys.argv[1];"
        "error = (ValueError, ValueError(chr(0x434) * 600 + who * 9000 + chr(0x1f600) * 9 + 'the end'), None);"
        "[log.error('line', exc_info=error, extra={'who': who, 'number': n}) for n in range(200)]"
    )
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    read, write = os.pipe()
    writers = [subprocess.Popen([sys.executable, "-c", code, who], env=env, cwd=tmp_path, stdout=write) for who in "ab"]
    os.close(write)

    # When somebody reads it slowly
    data = b""
    while piece := os.read(read, 1000):
        data += piece
    os.close(read)
    assert [writer.wait(30) for writer in writers] == [0, 0]

    # Then each line is whole, in order, and has the end of its error
    found = [json.loads(line) for line in data.splitlines()]
    for who in "ab":
        assert [each["number"] for each in found if each["who"] == who] == list(range(200))
    for line, document in zip(data.splitlines(), found, strict=True):
        assert PIPE_ROOM - 12 <= len(line) <= PIPE_ROOM
        assert document["error"].startswith(CUT)
        assert document["error"].endswith(f"{document['who']}{chr(0x1F600) * 9}the end")


@pytest.mark.parametrize(
    "extra", [{}, {"names": ["team/app"] * 1000}, {"one": "\\" * 3000, "other": "\N{SNOWMAN}" * 3000, "few": [1]}]
)
def test_what_is_long_is_cut_and_the_rest_stays(extra: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a line that is too long, with a secret where it is cut
    secret = "a-secret-that-nobody-sees"
    monkeypatch.setattr(logs, "_secrets", ())
    conceal([secret])
    record = logging.makeLogRecord({"msg": f"{secret} " * 300, "levelname": "INFO", **extra})
    # Then it is as long as may be, without any part of the secret
    text = JsonFormatter(PIPE_ROOM).format(record)
    assert len(text) <= PIPE_ROOM
    document = json.loads(text)
    assert document["message"].startswith("[secret]")
    assert "nobody" not in text
    assert document["severity"] == "INFO"
    assert document.get("few") == extra.get("few")


def test_a_line_after_half_a_line_begins_anew() -> None:
    # Given a pipe that took half of a line
    read, write = os.pipe()
    os.set_blocking(write, False)
    handler = DescriptorHandler(write)
    handler.setFormatter(JsonFormatter())
    handler.handle(logging.makeLogRecord({"msg": "long" * 50_000}))
    half = os.read(read, 1 << 20)
    assert b"\n" not in half
    # When there is room again
    handler.handle(logging.makeLogRecord({"msg": "short"}))
    handler.handle(logging.makeLogRecord({"msg": "last"}))
    # Then what follows is whole
    beginning, *whole = os.read(read, 1 << 20).splitlines()
    assert beginning == b""
    assert [json.loads(line)["message"] for line in whole] == ["short", "last"]
    handler.close()
    os.close(read)
    os.close(write)


# --- strangers ------------------------------------------------------------------------------------------------------


def test_on_a_plain_line_nobody_writes_another(lines: Lines) -> None:
    # Given values with characters that a terminal obeys
    configure("stderr")
    log = logging.getLogger("geo.test")
    forged = "\n12:00:00 error   forged\r\x1b[2J\u202e"
    # When they are told
    try:
        raise ValueError(forged)
    except ValueError:
        log.exception("refused %s", forged, extra={"actor": forged})
    # Then they are seen, and are no lines
    _, (line, *error) = lines()
    assert line.count("\\u000a12:00:00 error   forged\\u000d\\u001b[2J\\u202e") == 2
    assert all(each.startswith("  ") for each in error)
    assert "\x1b" not in "".join(error)


# --- secrets --------------------------------------------------------------------------------------------------------


def test_a_secret_is_never_written_whatever_it_stands_in(lines: Lines) -> None:
    # Given a secret with characters that JSON writes otherwise
    secret = 'very"secret\\value'
    conceal([secret, "short", "another-secret-value", "another-secret"])
    configure()

    # When it gets into a message, beside one, and into an error
    log = logging.getLogger("geo.test")
    try:
        raise ValueError(secret)
    except ValueError:
        log.exception("refused %s", secret, extra={"header": f"Bearer {secret}"})
    log.info("short words stay: another-secret-value")

    # Then it is in none of them
    out, _ = lines()
    assert "very" not in "".join(out)
    assert json.loads(out[0])["message"] == "refused [secret]"
    assert json.loads(out[1])["message"] == "short words stay: [secret]"


@pytest.mark.parametrize(
    ("line", "cleaned"),
    [
        ("PUT https://a.example/x?X-Amz-Signature=abc&y=1 failed", "PUT https://a.example/x?[query] failed"),
        (
            "with url: /v2/a/blobs/uploads/1?_state=abc%3D (Caused by x)",
            "with url: /v2/a/blobs/uploads/1?[query] (Caused by x)",
        ),
        ('{"url": "http://a/b?token=c", "n": 1}', '{"url": "http://a/b?[query]", "n": 1}'),
        ("is it running? yes=no", "is it running? yes=no"),
        ("Bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJnZW8ifQ.c2lnbmF0dXJl!", "Bearer [token]!"),
        ('"\\neyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJnZW8ifQ.c2lnbmF0dXJl"', '"\\n[token]"'),
        ("x=%20eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJnZW8ifQ.c2ln.more", "x=%20[token].more"),
        ("a.b.c_eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJnZW8ifQ.", "a.b.c_[token]"),
        ("eyJhb.eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJnZW8ifQ.c2ln", "eyJhb.[token]"),
        ("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJnZW8ifQ", "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJnZW8ifQ"),
        ("team/app:v1", "team/app:v1"),
    ],
)
def test_tokens_and_queries_of_addresses_are_cut(line: str, cleaned: str) -> None:
    assert clean(line) == cleaned


@pytest.mark.parametrize("piece", ["eyJ", "eyJaaaaaaaa.", "eyJaaaaaaaa..", "a.eyJ", "?a", "?a=", "aeyJ-"])
def test_a_long_line_of_anything_is_looked_through_in_no_time(piece: str) -> None:
    def seconds(length: int) -> float:
        line = piece * (length // len(piece))
        started = time.process_time()
        clean(line)
        return time.process_time() - started

    # A hundred times as much of it as a millisecond's would take a minute if it grew with the square.
    assert seconds(400_000) < 2
