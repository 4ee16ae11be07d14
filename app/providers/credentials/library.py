"""A vendor's own library: loaded when it is needed, and what it says when it fails."""

from __future__ import annotations

import importlib
from typing import Any

from app.logging import clean
from app.registry import NoCredentials

#: Characters of what a library said that are handed on; some tell of everything that they tried.
WORDS_LIMIT = 400


def load(module: str, extra: str) -> Any:
    """Return the module, which `pip install 'geo-registry[EXTRA]'` brings; raises `NoCredentials` without it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise NoCredentials(
            f"the library {module.partition('.')[0]} cannot be loaded: {error}",
            fix=f"install it where geo-registry is: pip install 'geo-registry[{extra}]'",
        ) from None


def words(error: BaseException) -> str:
    """What an error says, in one line without secrets."""
    text = clean(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= WORDS_LIMIT else f"{text[:WORDS_LIMIT]}…"
