"""Statements: queries that are run so often that Peewee writes their SQL once, and not each time.

Writing it takes Peewee five times as long as SQLite takes to answer; a quarter of a worker's processor time went there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import peewee

from app.database import database, is_sqlite


class slot(peewee.Value):  # noqa: N801 - it reads like a function where queries are written
    """A value that each run of a statement brings: `slot("id")`. Where a column stores its values in another form, such
    as an instant, it has to be named: `slot("instant", Reference.retry_at)`."""

    def __init__(self, name: str, field: peewee.Field | None = None) -> None:
        # Unconverted, so that this very object is found among the parameters.
        super().__init__(_Place(name, field), converter=False, unpack=False)


class _Place:
    def __init__(self, name: str, field: peewee.Field | None) -> None:
        self._name = name
        self._field = field

    def value(self, values: dict[str, Any]) -> Any:
        value = values[self._name]
        return value if self._field is None or value is None else self._field.db_value(value)  # type: ignore[no-untyped-call]


def several(name: str, count: int) -> list[slot]:
    """Slots of a list of so many values: a statement is another one for each length."""
    return [slot(f"{name}{number}") for number in range(count)]


def named(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """The values of those slots."""
    return {f"{name}{number}": value for number, value in enumerate(values)}


class Statement:
    """A query with slots. `build` makes it, once for each kind of database; everything else in it stays as it is."""

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build
        self._written: dict[bool, tuple[Any, str, list[Any]]] = {}

    def rows(self, **values: Any) -> list[Any]:
        """Run it, and return what the query itself would: models, or tuples. Inside a connection."""
        query, cursor = self._run(values)
        return list(query._get_cursor_wrapper(cursor))

    def first(self, **values: Any) -> Any:
        """Run it, and return the first row; None without one. Inside a connection."""
        return next(iter(self.rows(**values)), None)

    def execute(self, **values: Any) -> int:
        """Run it, and return how many rows it changed. Inside a connection."""
        return int(database.rows_affected(self._run(values)[1]))

    def each(self, rows: Sequence[dict[str, Any]]) -> None:
        """Run it with the values of each of these, in their order; PostgreSQL is told all of them at once. Inside a
        connection. One statement of as many rows would be another one for each number of them, and every connection
        keeps what it has prepared."""
        _, sql, parameters = self._query()
        with peewee.__exception_wrapper__:  # type: ignore[attr-defined]  # the stub does not know it
            database.cursor().executemany(sql, [_filled(parameters, values) for values in rows])

    def _run(self, values: dict[str, Any]) -> tuple[Any, Any]:
        query, sql, parameters = self._query()
        return query, database.execute_sql(sql, _filled(parameters, values))

    def _query(self) -> tuple[Any, str, list[Any]]:
        kind = is_sqlite()
        if kind not in self._written:
            query = self._build()
            self._written[kind] = (query, *query.sql())
        return self._written[kind]


def _filled(parameters: list[Any], values: dict[str, Any]) -> list[Any]:
    return [each.value(values) if isinstance(each, _Place) else each for each in parameters]
