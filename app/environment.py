"""The environment, as it is read: one variable after the other, and every mistake told at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from app import redis_address
from app.rates import InvalidRates, Rates

T = TypeVar("T")

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}

_SPANS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

#: Said in place of what the parser says, which quotes the part it stumbled over: often half a password.
UNREADABLE = "cannot be read: reserved characters in a user name or password must be percent-encoded"


class SettingsError(Exception):
    """The environment cannot be used; `problems` lists every mistake, a line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("The settings cannot be used:\n" + "\n".join(f"  - {p}" for p in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A string that must not reach a log, a page or a `repr`."""

    value: str

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__


def readable(url: str) -> bool:
    """Whether the parts of an address can be told apart."""
    try:
        parts = urlsplit(url)
        return (parts.port or 1) > 0 and "#" not in url
    except ValueError:
        return False


class Environment:
    """Reads variables and gathers problems instead of stopping at the first."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[str] = []

    def problem(self, text: str) -> None:
        """Say what is wrong, once."""
        if text not in self.problems:
            self.problems.append(text)

    # --- texts --------------------------------------------------------------------------------------------------

    def text(self, name: str) -> str | None:
        """The variable without surrounding space; empty counts as unset."""
        return self.environ.get(name, "").strip() or None

    def text_or(self, name: str, default: str) -> str:
        return self.text(name) or default

    def words(self, name: str) -> tuple[str, ...]:
        """What blanks or commas separate."""
        return tuple(re.findall(r"[^\s,]+", self.text_or(name, "")))

    def secret(self, name: str) -> Secret | None:
        value = self.text(name)
        return Secret(value) if value else None

    def secrets(self, name: str) -> tuple[Secret, ...]:
        """Several, separated by commas."""
        return tuple(Secret(each.strip()) for each in self.text_or(name, "").split(",") if each.strip())

    def secret_url(self, name: str, schemes: Set[str]) -> Secret | None:
        value = self.text(name)
        if value and (wrong := redis_address.problem(value)):
            self.problem(f"{name}: {wrong}.")
        elif value and not (redis_address.is_sentinel(value) or readable(value)):
            self.problem(f"{name} {UNREADABLE}.")
        elif value and value.partition("://")[0] not in schemes:
            self.problem(f"{name} must begin with one of: " + ", ".join(f"{s}://" for s in sorted(schemes)) + ".")
        return Secret(value) if value else None

    def http_url(self, name: str) -> str:
        value = self.text(name) or ""
        if not value:
            self.problem(f"{name} is required: the registry's address, such as https://registry.example.com:5050")
            return ""
        try:
            parts = urlsplit(value)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
            parts = urlsplit("")
        if not usable:
            self.problem(f"{name} must be an http:// or https:// address.")
        elif parts.username or parts.password:
            self.problem(f"{name} must not hold a user name or password; there are variables for them.")
        elif parts.query or parts.fragment or parts.path.strip("/"):
            self.problem(f"{name} must be the registry's root, without a path or query.")
        return value.rstrip("/")

    def address(self, name: str) -> str | None:
        """An address, which may have a path."""
        value = self.text(name)
        if value is not None and not (value.startswith(("https://", "http://")) and readable(value)):
            self.problem(f"{name} must be an http:// or https:// address.")
        return value

    def existing_file(self, value: str | None, name: str) -> Path | None:
        if not value:
            return None
        path = Path(value)
        if not path.is_file():
            self.problem(f"{name}: there is no file {value}.")
        return path

    # --- numbers and choices --------------------------------------------------------------------------------------

    def boolean(self, name: str, *, default: bool) -> bool:
        value = self.text_or(name, "true" if default else "false").lower()
        if value not in {"true", "false", "1", "0", "yes", "no", "on", "off"}:
            self.problem(f"{name} must be true or false.")
        return value in {"true", "1", "yes", "on"}

    def number(self, name: str, default: int, low: int, high: int) -> int:
        value = self.text_or(name, str(default))
        if not re.fullmatch(r"[0-9]{1,12}", value) or not low <= int(value) <= high:
            self.problem(f"{name} must be a whole number from {low} to {high}.")
            return default
        return int(value)

    def number_or_none(self, name: str, low: int, high: int) -> int | None:
        """None where nothing is said."""
        return None if self.text(name) is None else self.number(name, low, low, high)

    def size(self, name: str, default: int) -> int:
        """A number of bytes, with or without a unit."""
        value = self.text(name)
        if value is None:
            return default
        match = re.fullmatch(r"([0-9]{1,15})\s*([KMGT]i?)?B?", value)
        if match is None:
            self.problem(f"{name} must be a number of bytes, with K, M, G, T, Ki, Mi, Gi or Ti if you like.")
            return default
        return int(match[1]) * _UNITS[match[2] or ""]

    def duration(self, name: str, default: timedelta) -> timedelta | None:
        """A time span, or `off`."""
        value = self.text(name)
        if value is None:
            return default
        if value == "off":
            return None
        match = re.fullmatch(r"([1-9][0-9]{0,5})\s*([smhdw])", value)
        if match is None:
            self.problem(f"{name} must be a number with s, m, h, d or w, such as 7d, or off.")
            return default
        return timedelta(**{_SPANS[match[2]]: int(match[1])})

    def rates(self, name: str) -> Rates:
        """Bytes a second, by time."""
        try:
            return Rates.parse(self.text_or(name, ""))
        except InvalidRates as error:
            self.problem(f"{name}: {error}.")
            return Rates()

    def choice(self, name: str, kind: Callable[[str], T], default: T, also: tuple[str, ...] = ()) -> T:
        """A member of an enumeration; `also` is named beside its members when the value is none of them."""
        value = self.text(name)
        if value is None:
            return default
        try:
            return kind(value)
        except ValueError:
            members = ", ".join((*also, *kind))  # type: ignore[misc]  # every kind here is a StrEnum
            self.problem(f"{name} must be one of: {members}.")
            return default
