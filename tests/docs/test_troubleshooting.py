"""docs/troubleshooting.md explains every word that the program has for what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import get_args

import pytest

from app.notifications.errors import Reason
from app.replication.check.finding import Id
from app.replication.explanation import Cause
from app.replication.verification.finding import Kind
from tests.docs.markdown import Page
from tests.docs.reasons import headlines, raised, reasons, texts

#: Letters of a piece of a message that may stand in many.
SHORT = 8

#: Errors whose message a person meets on a terminal, in a row or in the log.
ERRORS = (
    *("SiteError", "SameRegistry", "ExchangedRegistries", "NotOurs", "NotApplied"),
    *("NotDemoted", "NotPromotable", "NotDemotable", "StillPushedTo"),
    *("NoDatabase", "UnknownRepository", "RepositoryMissing", "NotTracked"),
    *("ValkeyMissingError", "DirectoryInUseError", "UnsafeDirectoryError"),
    *("KeysExist", "KeysNotWritten", "InvalidKey", "NoCatalog", "WalkUnderWay", "WalkLost"),
    *("DeletionHeld", "DeletionUnsupported", "NotThereYet", "LogUnavailable"),
)

PAGE = Page.read("docs/troubleshooting.md")


def explained(section: str) -> list[str]:
    """The words in the first column of a section's table."""
    rows = re.findall(r"^\| (`[^|]+) \|", PAGE.section(section), re.MULTILINE)
    return [word for row in rows for word in re.findall(r"`([^`]+)`", row)]


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("What `geo check` finds", lambda: {each.value for each in Id if each is not Id.FINE}),
        ("What `geo why` says", lambda: {each.value.replace("_", " ") for each in Cause}),
        ("Reasons of failures", reasons),
        ("What verification finds", lambda: {each.value for each in Kind}),
        ("Quarantine", lambda: set(get_args(Reason))),
    ],
    ids=["check", "why", "reasons", "verification", "quarantine"],
)
def test_every_word_is_explained_once(section: str, words: Callable[[], set[str]]) -> None:
    # When the table is read
    told = explained(section)

    # Then it has each word once, and no other
    assert sorted(told) == sorted(words())


def test_every_headline_is_explained() -> None:
    rows = re.findall(r"^\| ([^|`]+) \|", PAGE.section("What `geo status` and the pages say of a site"), re.MULTILINE)
    told = {row for row in rows if row not in {"headline"} and not row.startswith("-")}
    assert headlines() <= told


def test_messages_are_those_of_the_program() -> None:
    # Given the messages that the page quotes, in pieces: `…` and `N` stand for what differs
    quoted = [(words, piece) for words in explained("Messages") for piece in pieces(words) if len(piece) > SHORT]

    # When they are looked for in the program's own words, Then each is there
    said = texts()
    assert [words for words, piece in quoted if not any(piece in each for each in said)] == []


def test_every_message_of_an_error_is_quoted() -> None:
    # Given the messages that the page quotes
    quoted = {piece for words in explained("Messages") for piece in pieces(words) if len(piece) > SHORT}

    # When those are taken with which errors for people are raised, as far as they say anything of their own
    said = [text for text in raised(ERRORS) if any(len(piece) > SHORT for piece in pieces(text))]

    # Then each is quoted, in part at least
    assert [text for text in said if not any(piece in text for piece in quoted)] == []


def pieces(message: str) -> list[str]:
    """What stands in a message whatever it is about."""
    return [piece.strip(" :,;()") for piece in message.replace("N ", "… ").split("…")]
