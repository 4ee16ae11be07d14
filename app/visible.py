"""Visible: text of strangers with what one cannot see in it written out."""

from __future__ import annotations

import unicodedata

#: Control characters, those that turn a text's direction, and what stands for no character.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def visible(text: str, *, kept: str = "") -> str:
    """The text, with an escape in place of each character that is not seen, unless it is one of `kept`.

    A terminal obeys some of them: it moves to lines that it has shown, and writes others there.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char in kept or unicodedata.category(char) not in _UNSEEN else _written(char) for char in text
    )


def _written(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
