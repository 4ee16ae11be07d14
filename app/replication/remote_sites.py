"""Remote sites: those that follow our event log from a deployment of their own, as people and files declare them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import urlsplit

from app.database import in_batches, now, transaction
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Cursor, Site, SiteReport
from app.replication import cursor
from app.replication.policy import TagPatterns
from app.replication.scope import Scope
from app.replication.sites import SiteError
from app.replication.tag_scope import TagScope
from app.settings import MAX_CAPACITY, Deletion, VerificationLevel
from app.site_environment import SITE_NAME, is_site_name

Choice = TypeVar("Choice", bound=StrEnum)

#: How kinds of values are called in a file.
_WORDS: Mapping[type, str] = {str: "text", list: "list", int: "whole number", bool: "boolean"}

#: What a file says of a site: the fields of a `Declaration`.
_KINDS: Mapping[str, type] = {
    "url": str,
    "repositories": list,
    "tags": list,
    "capacity": int,
    "deletion": str,
    "protected_tags": list,
    "verification": str,
    "paused": bool,
}

#: What says the same of the environment's own site.
_VARIABLES = (
    *("GEO_SECONDARY_REGISTRY_URL", "GEO_REPOSITORIES", "GEO_TAGS", "GEO_CONTAINER_REPOSITORIES_MAX_CAPACITY"),
    *("GEO_DELETION", "GEO_PROTECTED_TAGS", "GEO_VERIFICATION"),
)


class InvalidSite(SiteError):
    """What is said of a site cannot be; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a person, or a reviewed file, says of one remote site.

    Raises:
        InvalidSite: at construction.
    """

    name: str
    #: Of its registry, for who looks; empty: not said.
    url: str = ""
    #: Allow and deny patterns (app.replication.scope); none: everything.
    repositories: tuple[str, ...] = ()
    #: The same of tags (app.replication.tag_scope).
    tags: tuple[str, ...] = ()
    #: Repositories synced at once at most; None: as the site's own deployment has it.
    capacity: int | None = None
    #: The most that may be deleted there, and tags that are never deleted (app.replication.policy); None, or none: as
    #: the site's own deployment has it. Of both the more careful holds.
    deletion: Deletion | None = None
    protected_tags: tuple[str, ...] = ()
    #: As far as what it copies is verified at least; None: as the site's own deployment has it.
    verification: VerificationLevel | None = None
    paused: bool = False

    def __post_init__(self) -> None:
        if not is_site_name(self.name):
            raise InvalidSite(f"{self.name!r} cannot be a site's name: {SITE_NAME}")
        if self.url and not _is_address(self.url):
            raise InvalidSite(f"site {self.name}: {self.url!r} is no http:// or https:// address of a registry")
        if self.capacity is not None and not 1 <= self.capacity <= MAX_CAPACITY:
            raise InvalidSite(f"site {self.name}: `capacity` is a whole number from 1 to {MAX_CAPACITY}")
        try:
            Scope(self.repositories)
            TagScope(self.tags)
            TagPatterns(self.protected_tags)
        except ValueError as error:
            raise InvalidSite(f"site {self.name}: {error}") from error

    @classmethod
    def of(cls, site: Site) -> Declaration:
        """As the row has it."""
        return cls(
            name=site.name,
            url=site.url,
            repositories=tuple(site.repositories.splitlines()),
            tags=tuple(site.tags.splitlines()),
            capacity=site.capacity,
            deletion=Deletion(site.deletion) if site.deletion else None,
            protected_tags=tuple(site.protected_tags.splitlines()),
            verification=VerificationLevel(site.verification) if site.verification else None,
            paused=not site.enabled,
        )


@dataclass(frozen=True, slots=True)
class Change:
    """What applying a declaration would do to one site: `before` None adds it, `after` None removes it."""

    before: Declaration | None
    after: Declaration | None

    @property
    def name(self) -> str:
        found = self.after or self.before
        assert found is not None
        return found.name

    def lines(self) -> list[str]:
        """The difference as people read one: `+` and `-` before what comes and goes."""
        sign = "+" if self.before is None else "-" if self.after is None else "~"
        told = [f"{sign} {self.name}"]
        for field in (each.name for each in fields(Declaration) if each.name != "name"):
            old = getattr(self.before, field) if self.before else None
            new = getattr(self.after, field) if self.after else None
            if old != new:
                # A file says nothing of what is not set.
                told += [f"    - {field} = {_text(old)}"] if old is not None else []
                told += [f"    + {field} = {_text(new)}"] if new is not None else []
        return told


def read(text: str) -> list[Declaration]:
    """The sites that a TOML file declares: a table `[sites.NAME]` each, with what a `Declaration` has, under its names.

    Raises:
        InvalidSite: for anything else in it; a misspelt key must not be passed over.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidSite(f"the file is not TOML: {error}") from error
    tables = document.pop("sites", None)
    if document or not isinstance(tables, dict):
        raise InvalidSite("the file holds a table [sites.NAME] for each site, and nothing else")
    return [_declaration(name, table) for name, table in tables.items()]


def remote() -> list[Site]:
    """The remote sites, those that were removed left out. Call it inside `connection()`."""
    return list(Site.select().where(Site.remote & ~Site.retired).order_by(Site.name))


def of_environment() -> Site | None:
    """The site that is replicated to from here, which no file governs. Call it inside `connection()`."""
    found: Site | None = Site.select().where(Site.here()).first()
    return found


def changes(declared: Sequence[Declaration]) -> list[Change]:
    """What would have to change for exactly these to be there. Call it inside `connection()`.

    Raises:
        InvalidSite: when one of them is the environment's.
    """
    ours = of_environment()
    for declaration in declared:
        if ours is not None and declaration.name == ours.name:
            raise _of_environment(declaration.name)
    there = {site.name: Declaration.of(site) for site in remote()}
    wanted = {declaration.name: declaration for declaration in declared}
    every = [Change(there.get(name), wanted.get(name)) for name in sorted(there.keys() | wanted.keys())]
    return [change for change in every if change.before != change.after]


def apply(changed: Sequence[Change]) -> None:
    """Make the changes, all or none.

    Raises:
        InvalidSite: when a site is not as it was when the changes were found, or its name is taken.
    """
    added: list[Site] = []
    with transaction():
        current = {site.name: Declaration.of(site) for site in remote()}
        for change in changed:
            if current.get(change.name) != change.before:
                raise InvalidSite(f"site {change.name} was changed meanwhile; look at the difference again")
            if change.after is None:
                Site.update(retired=True, token_hash=None, former_token_hash=None, updated_at=now()).where(
                    Site.name == change.name
                ).execute()
            else:
                _write(change.after)
                if change.before is None:
                    added.append(Site.get(Site.name == change.name))
    for site in added:
        # From here on the log is kept for it, though it has not come yet.
        cursor.begin(site)


def _write(declaration: Declaration) -> None:
    instant = now()
    values: dict[str, Any] = {
        "url": declaration.url,
        "repositories": "\n".join(declaration.repositories),
        "tags": "\n".join(declaration.tags),
        "capacity": declaration.capacity,
        "deletion": declaration.deletion.value if declaration.deletion else "",
        "protected_tags": "\n".join(declaration.protected_tags),
        "verification": declaration.verification.value if declaration.verification else None,
        "enabled": not declaration.paused,
        "updated_at": instant,
    }
    known: Site | None = Site.get_or_none(Site.name == declaration.name)
    if known is None:
        Site.insert(name=declaration.name, remote=True, created_at=instant, **values).execute()
        return
    if not known.remote and not known.retired:
        raise _of_environment(declaration.name)
    if known.given_up_at is not None:
        raise InvalidSite(
            f"{declaration.name} is the name under which {known.url}, which was the primary, is remembered until"
            " `geo demote` has compared it: take another name"
        )
    if known.retired:
        values |= {"retired": False, "remote": True}
        _forget(known)
    elif (known.repositories, known.tags) != (values["repositories"], values["tags"]):
        values |= {"reconcile_requested_at": instant, "reconcile_reason": "its scope changed at the primary"}
    Site.update(**values).where(Site.id == known.id).execute()


def _of_environment(name: str) -> InvalidSite:
    """A file that could only narrow what the environment says would have to be looked for whenever that is changed."""
    return InvalidSite(
        f"{name} is the site of this deployment's own environment (GEO_SITE_NAME), which governs it and is applied anew"
        f" at each start: it is changed by {', '.join(_VARIABLES)}, or paused by `geo sites pause {name}`, and not by a"
        " file"
    )


def _forget(site: Site) -> None:
    """What was known of a former site of this name is the new deployment's to find out."""
    ids = [row.id for row in Registry.select(Registry.id).where(Registry.site == site)]
    for batch in in_batches(ids):
        Registry.delete().where(Registry.id.in_(list(batch))).execute()
    Cursor.delete().where(Cursor.site == site).execute()
    SiteReport.delete().where(SiteReport.site == site).execute()


def _declaration(name: str, table: object) -> Declaration:
    if not isinstance(table, Mapping):
        raise InvalidSite(f"sites.{name} is not a table")
    for key, value in table.items():
        if key not in _KINDS:
            raise InvalidSite(f"site {name}: there is no `{key}`; there are {', '.join(_KINDS)}")
        if not isinstance(value, _KINDS[key]) or (_KINDS[key] is int and isinstance(value, bool)):
            raise InvalidSite(f"site {name}: `{key}` is not a {_WORDS[_KINDS[key]]}")
    said: dict[str, Any] = {**table, "url": table.get("url", "").rstrip("/")}
    for key in ("repositories", "tags", "protected_tags"):
        said[key] = tuple(said.get(key, []))
        # The rows keep a pattern a line.
        if not all(isinstance(pattern, str) and len(pattern.splitlines()) == 1 for pattern in said[key]):
            raise InvalidSite(f"site {name}: `{key}` is a list of patterns")
    said["deletion"] = _one_of(Deletion, name, "deletion", table)
    said["verification"] = _one_of(VerificationLevel, name, "verification", table)
    return Declaration(name, **said)


def _one_of(kind: type[Choice], name: str, key: str, table: Mapping[str, Any]) -> Choice | None:
    try:
        return kind(table[key]) if key in table else None
    except ValueError as error:
        raise InvalidSite(f"site {name}: `{key}` is one of {', '.join(kind)}, not {table[key]!r:.80}") from error


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        plain = parts.username is None and not (parts.query or parts.fragment)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0 and plain
    except ValueError:
        return False


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{each}"' for each in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
