from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

from app.logging import JsonFormatter, PlainFormatter, configure

#: What was written since it was called last.
Errors: TypeAlias = Callable[[], str]


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Errors]:
    """What is written to standard error, with the log as it was put back afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in ("urllib3", "peewee")}
    for name in ("LOG_FORMAT", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    yield lambda: capsys.readouterr().err
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def test_a_line_is_one_object(errors: Errors) -> None:
    # Given
    configure()

    # When something goes wrong, over several lines
    log = logging.getLogger("geo.test")
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        log.exception("it failed for %s", "team/app", extra={"site": "eu", "what": {1, 2}.__class__})

    # Then it is one line, with what was given beside it
    (line,) = errors().splitlines()
    document = json.loads(line)
    assert document["message"] == "it failed for team/app"
    assert document["severity"] == "ERROR"
    assert document["logger"] == "geo.test"
    assert document["site"] == "eu"
    assert "first\nsecond" in document["error"]
    assert document["time"].endswith("+00:00")


@pytest.mark.parametrize(
    ("variable", "default", "plain"),
    [(None, None, False), ("plain", None, True), ("json", "plain", False), (None, "plain", True), ("", "plain", True)],
)
def test_the_format(
    errors: Errors, monkeypatch: pytest.MonkeyPatch, variable: str | None, default: str | None, plain: bool
) -> None:
    if variable is not None:
        monkeypatch.setenv("LOG_FORMAT", variable)
    configure(default_format=default)
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler.formatter, PlainFormatter if plain else JsonFormatter)


@pytest.mark.parametrize(
    ("variable", "default", "level"),
    [
        (None, "INFO", logging.INFO),
        ("debug", "INFO", logging.DEBUG),
        ("WARNING", "INFO", logging.WARNING),
        ("nonsense", "INFO", logging.INFO),
        (None, "WARNING", logging.WARNING),
        ("info", "WARNING", logging.INFO),
    ],
)
def test_the_level(
    errors: Errors, monkeypatch: pytest.MonkeyPatch, variable: str | None, default: str, level: int
) -> None:
    if variable is not None:
        monkeypatch.setenv("LOG_LEVEL", variable)
    configure(default_level=default)
    assert logging.getLogger().level == level
    # Every statement and connection would be told otherwise.
    assert logging.getLogger("peewee").level >= logging.WARNING or level == logging.DEBUG


def test_a_plain_line_is_for_people(errors: Errors) -> None:
    configure(default_format="plain")
    logging.getLogger("geo.test").warning("slow", extra={"site": "eu"})
    assert errors().rstrip().endswith("warning slow site=eu")


def test_the_last_configuration_counts(errors: Errors) -> None:
    configure()
    configure()
    logging.getLogger("geo.test").warning("once")
    assert len(errors().splitlines()) == 1
