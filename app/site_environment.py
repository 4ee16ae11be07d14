"""The environment of one of several sites: its own variables carry its name behind theirs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from app.environment import Environment

#: What the variables of a secondary's registry begin with.
REGISTRY = "GEO_SECONDARY_REGISTRY_"

#: The other variables that a site may have for itself.
POLICIES = frozenset(
    {
        "GEO_REPOSITORIES",
        "GEO_TAGS",
        "GEO_CONTAINER_REPOSITORIES_MAX_CAPACITY",
        "GEO_DELETION",
        "GEO_PROTECTED_TAGS",
    }
)

#: What there is of one registry in the environment beside its address, after `REGISTRY`.
OF_A_REGISTRY = (
    *("AUTH", "USERNAME", "PASSWORD", "KEY_PATH", "CERTIFICATE_PATH", "ISSUER", "SERVICE", "CA_PATH"),
    *("AWS_REGION", "AWS_PROFILE", "AZURE_CLIENT_ID", "GOOGLE_CREDENTIALS", "DOCKER_CONFIG", "TOKEN_HOSTS"),
    *("PROVIDER", "CONTROL_URL"),
    *("MAX_CONNECTIONS", "MAX_BYTES_PER_SECOND", "RATELIMIT_FLOOR"),
)

#: What a site can be called, as it is told to who gave something else.
SITE_NAME = "1 to 63 letters, digits, `.`, `_` or `-`, and not `primary`"

_SITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")

_VARIABLES = (*(REGISTRY + each for each in ("URL", *OF_A_REGISTRY)), *sorted(POLICIES))

_VARIABLE = re.compile(rf"\b(?:{'|'.join(_VARIABLES)})\b")


def is_site_name(name: str) -> bool:
    """Tell whether a site can be called this."""
    return _SITE_NAME.fullmatch(name) is not None and name != "primary"


def suffix(site_name: str) -> str:
    """What a site's own variables end with: `eu-west` has `GEO_DELETION_EU_WEST`."""
    return re.sub(r"[^A-Z0-9]", "_", site_name.upper())


def with_suffix(text: str, site_name: str) -> str:
    """The text, with the site's own variables in place of a single site's. What is a policy may be every site's."""
    return _VARIABLE.sub(lambda match: match[0] if match[0] in POLICIES else f"{match[0]}_{suffix(site_name)}", text)


def strays(environ: Mapping[str, str], site_names: Sequence[str]) -> list[str]:
    """Variables that look like a site's own, of no site that there is: most likely misspelled."""
    known = {f"{variable}_{suffix(name)}" for variable in _VARIABLES for name in site_names}
    prefixes = tuple(f"{variable}_" for variable in _VARIABLES)
    return sorted(name for name in environ if name.startswith(prefixes) and name not in known)


class SiteEnvironment(Environment):
    """What holds for one site.

    Its own variable comes first. A policy without a site's name is every site's; the registry's variables without one
    are the first site's alone, for one site's password must not be shown to another's registry.
    """

    def __init__(self, environ: Mapping[str, str], site_name: str, *, first: bool) -> None:
        super().__init__(environ)
        self._suffix = suffix(site_name)
        self._first = first

    def text(self, name: str) -> str | None:
        return super().text(self.variable(name))

    def problem(self, text: str) -> None:
        """Say it of the variables that were meant."""
        super().problem(_VARIABLE.sub(lambda match: self.variable(match[0]), text))

    def variable(self, name: str) -> str:
        """The variable that counts for the site where `name` does for one that is alone."""
        if not _VARIABLE.fullmatch(name):
            return name
        own = f"{name}_{self._suffix}"
        if super().text(own) is not None or (name not in POLICIES and not self._first):
            return own
        return name
