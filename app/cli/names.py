"""Names that a person may have meant, and those that a shell may complete: of sites and of repositories."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import click

#: Names that a shell is given at most: more than anybody reads.
COMPLETED = 200

#: Paths that are compared with one that nobody knows: among the first letters' own a typing error is found.
COMPARED = 2000


def meant(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?` if a known name is near to this one; else nothing."""
    # Only for who needs it: every command passes by here.
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), n=3, cutoff=0.7)
    *first, last = near or [""]
    return f"; did you mean {' or '.join(filter(None, (', '.join(first), last)))}?" if near else ""


def meant_repository(path: str) -> str:
    """The same of a repository, by those that the database knows."""
    from app.database import connection
    from app.models import ContainerRepository

    with connection():
        # What begins alike, and what begins otherwise: an error in the first letters is one, too.
        near = ContainerRepository.select().where(ContainerRepository.path.startswith(path[:2])).limit(COMPARED)
        others = ContainerRepository.select().order_by(ContainerRepository.id.desc()).limit(COMPARED // 4)
        paths = {row.path for row in [*near, *others]}
    return meant(path, sorted(paths))


def complete_site(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of secondaries, for a shell."""
    return _read(_sites, incomplete)


def complete_repository(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Paths of repositories, for a shell."""
    return _read(_repositories, incomplete)


def _read(query: Callable[[str], list[str]], incomplete: str) -> list[str]:
    """What the database says; nothing where it cannot be asked: a shell that completes has no use for an error."""

    from app import database
    from app.boot import bind_database
    from app.cli.common import require_database
    from app.database import connection
    from app.settings import Settings

    try:
        settings = Settings.from_env(os.environ)
        require_database(settings.database_url.value)
        bind_database(settings)
        with connection():
            return [name for name in query(incomplete) if name.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - whatever it is, the next command says it
        return []
    finally:
        database.close()


def _sites(_incomplete: str) -> list[str]:
    from app.models import Site

    rows = Site.select(Site.name).where(Site.secondaries()).order_by(Site.name)
    return [row.name for row in rows]


def _repositories(incomplete: str) -> list[str]:
    from app.models import ContainerRepository

    # A path is compared as it stands; `startswith` would be blind to case and to `_`.
    beginning = ContainerRepository.path.between(incomplete, f"{incomplete}\N{REPLACEMENT CHARACTER}")
    rows = ContainerRepository.select(ContainerRepository.path).where(beginning)
    return [row.path for row in rows.order_by(ContainerRepository.path).limit(COMPLETED)]
