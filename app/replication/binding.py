"""The binding of a process to its environment: it takes no row that is about other registries than it reaches."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from app.models import Site
from app.settings import Settings
from app.statements import Statement, slot

#: The primary's name among the sites.
PRIMARY = "primary"


_NAMED = Statement(lambda: Site.select().where((Site.name == slot("one")) | (Site.name == slot("other"))))


class SiteError(Exception):
    """The environment's registries are not what this deployment can replicate between; nothing was changed."""


class NotApplied(SiteError):
    """The sites in the database are not those of this process's environment."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What a process's environment says of the two registries."""

    site_name: str
    primary: str
    #: None where the deployment replicates nothing.
    secondary: str | None

    @classmethod
    def of(cls, settings: Settings) -> Binding:
        return cls(settings.site_name, settings.primary.url, settings.secondary.url if settings.secondary else None)

    def site(self) -> Site | None:
        """The secondary as the database has it, None without one. Inside a connection.

        Asked before a row is claimed and once more after it: an environment that is applied between the two moves the
        row's fencing token, or is seen by the second look. That the rows were right when the process, or one run of
        it, began says nothing of now.

        Raises:
            NotApplied: when the database is set up between other registries.
        """
        wanted = {PRIMARY: self.primary}
        if self.secondary is not None:
            wanted[self.site_name] = self.secondary
        found: dict[str, Site] = {site.name: site for site in _NAMED.rows(one=PRIMARY, other=self.site_name)}
        for name, url in wanted.items():
            self._require(name, url, found.get(name))
        return found.get(self.site_name) if self.secondary is not None else None

    def _require(self, name: str, url: str, site: Site | None) -> None:
        there = "no such site"
        if site is not None:
            there = "a retired one" if site.retired else "one that is remote" if site.remote else site.url
            if not site.retired and not site.remote and same_address(site.url, url):
                return
        raise NotApplied(
            f"the environment has {url} for site {name}, the deployment was set up with {there}: put it right,"
            " or apply it by `geo migrate` and restart everything"
        )


def same_address(one: str, other: str) -> bool:
    """Whether both are one place, however they are spelled: `http://A:80/` is `http://a`."""
    return address(one) == address(other)


def address(url: str) -> tuple[str | None, int | None, str]:
    """Host, port and path, as they are compared. The scheme is how it is reached, not where it is."""
    parts = urlsplit(url)
    return parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme), parts.path.rstrip("/")
