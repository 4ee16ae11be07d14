"""Released states: databases as a version left them, recorded whole, and what is compared of them."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg

from app.database import connection, database, is_sqlite
from tests.support import parts
from tests.support.processes import clean_environment

Kind = Literal["sqlite", "postgresql"]

DATA = Path(__file__).parent / "data"

#: In place of the registries' addresses, whose ports are different each time.
PRIMARY, SECONDARY = "http://primary.invalid:5000", "http://secondary.invalid:5000"

#: Columns whose values a migration changes on purpose, by its name: `table.column`.
CHANGED: Mapping[str, frozenset[str]] = {}

#: Whoever wrote a statement's, a migration's or a library's.
_QUOTES = re.compile(r"[\s\"`]+")

_BRACKETS = re.compile(r"[\s()]+")

#: The runner's own.
_HISTORY = "schema_migration"


def recorded() -> list[str]:
    """The names of the migrations that were released, in their order: of each the state after it is recorded."""
    return sorted({path.name.partition(".")[0] for path in DATA.glob("*.sql")})


def recording(state: str, kind: Kind) -> Path:
    """The dump of a state."""
    return DATA / f"{state}.{kind}.sql"


def load(state: str, url: str, *, primary: str = PRIMARY, secondary: str = SECONDARY) -> None:
    """Fill the empty database at `url` with a recorded state, between these registries."""
    kind: Kind = "sqlite" if url.startswith("sqlite") else "postgresql"
    text = recording(state, kind).read_text().replace(PRIMARY, primary).replace(SECONDARY, secondary)
    if kind == "sqlite":
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            file.executescript(text)
        return
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(text.encode())


def dump(url: str) -> str:
    """Everything in the database at `url`, as statements that make it anew."""
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            return "\n".join(file.iterdump()) + "\n"
    program = parts.require("pg_dump", "/usr/lib/postgresql/*/bin/pg_dump")
    options = ["--no-owner", "--no-privileges", "--inserts", "--rows-per-insert=100", "--dbname", url]
    done = subprocess.run([program, *options], env=clean_environment(), check=True, capture_output=True, text=True)
    # What psql alone understands, and comments. A line of a function's body begins with neither.
    kept = [line for line in done.stdout.splitlines() if line and not line.startswith(("\\", "--"))]
    return "\n".join(kept) + "\n"


def described() -> list[str]:
    """The schema of the bound database, a line for each thing in it, whatever way led to it."""
    with connection():
        lines = _described_by_sqlite() if is_sqlite() else _described_by_postgresql()
        return sorted(line for line in lines if _HISTORY not in line)


def tables() -> list[str]:
    """Our tables in the bound database."""
    with connection():
        return sorted(name for name in database.get_tables() if name not in {_HISTORY, "sqlite_sequence"})


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows of the bound database at one moment: by table, a mapping of columns each."""

    tables: Mapping[str, list[Mapping[str, Any]]]

    @classmethod
    def taken(cls) -> Rows:
        found: dict[str, list[Mapping[str, Any]]] = {}
        for name in tables():
            with connection():
                cursor = database.execute_sql(f'SELECT * FROM "{name}"')
                columns = [each[0] for each in cursor.description]
                found[name] = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
        return cls(found)

    def lost(self, later: Rows, changed: frozenset[str] = frozenset()) -> list[str]:
        """What of these is not among the later ones, as far as both have the same tables and columns."""
        missing = []
        for table, rows in self.tables.items():
            if not rows or table not in later.tables:
                continue
            there = later.tables[table]
            columns = [name for name in rows[0] if (not there or name in there[0]) and f"{table}.{name}" not in changed]
            gone = _counted(rows, columns) - _counted(there, columns)
            missing += [f"{table}: {dict(zip(columns, row, strict=True))}" for row in gone.elements()]
        return missing


def _counted(rows: list[Mapping[str, Any]], columns: list[str]) -> Counter[tuple[str, ...]]:
    return Counter(tuple(repr(row.get(name)) for name in columns) for row in rows)


def _described_by_sqlite() -> Iterator[str]:
    for kind, name, table, text in _asked("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL"):
        if name.startswith("sqlite_"):
            continue
        if kind != "table":
            yield f"{table}: {kind} {_QUOTES.sub(' ', text).strip()}"
            continue
        yield f"{table}: {'ids never repeat' if 'AUTOINCREMENT' in text.upper() else 'table'}"
        for _, column, type_, mandatory, default, key, _ in _asked(f'PRAGMA table_xinfo("{name}")'):
            yield f"{table}.{column}: {type_.upper()} {bool(mandatory)} {default} key {key}"
        for reference in _asked(f'PRAGMA foreign_key_list("{name}")'):
            yield f"{table}.{reference[3]}: refers to {reference[2]}.{reference[4]} {reference[5:]}"
        for _, index, unique, origin, partial in _asked(f'PRAGMA index_list("{name}")'):
            columns = [found[2] for found in _asked(f'PRAGMA index_info("{index}")')]
            yield f"{table}: index {columns} unique {unique} {origin if origin != 'c' else ''} partial {partial}"


def _described_by_postgresql() -> Iterator[str]:
    yield from _lines(
        """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
            pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
        """
    )
    # Not whether a column may be null, which is a constraint of its own from version 18 on, and told above.
    yield from _lines(
        """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
        """
    )
    yield from _lines("SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'")
    yield from _lines(
        "SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"
    )
    yield from _lines(
        "SELECT proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    )


def _lines(query: str) -> Iterator[str]:
    for row in _asked(query):
        # A condition gets further brackets each time that it is dumped and loaded.
        yield _BRACKETS.sub(" ", " | ".join(str(value) for value in row)).strip()


def _asked(query: str) -> list[Any]:
    return list(database.execute_sql(query).fetchall())
