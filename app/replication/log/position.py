"""Positions: how far a reader of the event log is, as a value and as the text that is handed out."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from app.registry.documents import read_json

#: A gap whose fence is not known yet: it stays open until one is set.
UNFENCED = 2**63 - 1

#: Ids watched in one stretch. More are missing only when a sequence was set forward, or when envelope after envelope
#: was rolled back; of those the last are the ones that somebody may still be about to commit.
MAX_GAP = 10_000

#: Gaps that a text may name, and its length when unpacked: more than any reader comes to.
_MAX_GAPS = 50 * MAX_GAP
_MAX_TEXT = 4 * 1024 * 1024

_VERSION = 1


class InvalidPosition(ValueError):
    """A text that no log has handed out."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a reader is: the last id seen, and the ids below it that had not appeared.

    Under PostgreSQL ids are drawn before they commit, so a lower id can appear after a higher one. A missing id is a
    gap, kept with a fence: a transaction id that is higher than that of any transaction which may have drawn it. It
    closes when the id appears, or when every transaction below the fence has ended without it. Nobody waits for a gap.
    (A snapshot's xmax is no such fence: it only says what has *completed*, and a running transaction can be above it.)
    """

    last: int = 0
    gaps: Mapping[int, int] = field(default_factory=dict)
    #: The identity of the log; empty where there is only one.
    log: str = ""
    #: Of the event `last`: a log that was restored from a backup has another under that id.
    mark: str = ""

    def encode(self) -> str:
        """The text to hand out; fit for a URL."""
        stretches: list[list[int]] = []
        for id_, fence in sorted(self.gaps.items()):
            if stretches and stretches[-1][0] + stretches[-1][1] == id_ and stretches[-1][2] == fence:
                stretches[-1][1] += 1
            else:
                stretches.append([id_, 1, fence])
        document = json.dumps([_VERSION, self.log, self.last, self.mark, stretches], separators=(",", ":"))
        return base64.urlsafe_b64encode(zlib.compress(document.encode(), 9)).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str) -> Position:
        """Read a text that `encode` made.

        Raises:
            InvalidPosition: for any other.
        """
        try:
            packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            unpacker = zlib.decompressobj()
            document = unpacker.decompress(packed, _MAX_TEXT)
            if unpacker.unconsumed_tail:
                raise InvalidPosition("a position of that size is none of ours")
            version, log, last, mark, stretches = read_json(document)
        except (binascii.Error, zlib.error, ValueError, TypeError) as error:
            raise InvalidPosition("this is not a position that the feed has handed out") from error
        if version != _VERSION or not _is_id(last) or not re.fullmatch(r"[0-9a-f]{0,64}", f"{log}{mark}"):
            raise InvalidPosition("this is not a position that this version of the feed can read")
        return cls(last, _gaps(stretches, last), log, mark)


def mark_of(event_key: str) -> str:
    """What a position remembers of the event it ends with."""
    return hashlib.sha256(event_key.encode()).hexdigest()[:12]


def stretches_of(ids: Iterable[int]) -> list[tuple[int, int]]:
    """The ids as first and last of each unbroken stretch."""
    stretches: list[tuple[int, int]] = []
    for id_ in sorted(ids):
        first = stretches.pop()[0] if stretches and stretches[-1][1] == id_ - 1 else id_
        stretches.append((first, id_))
    return stretches


def missing_between(last: int, ids: Sequence[int]) -> list[int]:
    """The ids that are not there between `last` and the highest, in stretches of `MAX_GAP` at most."""
    missing: list[int] = []
    for id_ in ids:
        missing.extend(range(max(last + 1, id_ - MAX_GAP), id_))
        last = id_
    return missing


def _gaps(stretches: object, last: int) -> dict[int, int]:
    gaps: dict[int, int] = {}
    if not isinstance(stretches, list):
        raise InvalidPosition("the gaps of this position are not a list")
    for stretch in stretches:
        if not (isinstance(stretch, list) and len(stretch) == 3 and all(_is_id(number) for number in stretch)):
            raise InvalidPosition("a gap of this position is not made of three numbers")
        first, length, fence = (int(number) for number in stretch)
        if not 0 < first + length - 1 < last or len(gaps) + length > _MAX_GAPS:
            raise InvalidPosition("a gap of this position is not below its end")
        gaps.update(dict.fromkeys(range(first, first + length), fence))
    return gaps


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
