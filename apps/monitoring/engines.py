"""What each engine tells of itself, over a connection that is open."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

# SQLite keeps no estimates, so its tables are counted, but not for longer than this.
COUNTING_SECONDS = 0.25


@dataclass(frozen=True)
class Table:
    """A table and its rows: exact, or the engine's estimate, or None where there is neither."""

    name: str
    rows: int | None
    exact: bool

    @property
    def rows_text(self) -> str:
        return "unknown" if self.rows is None else f"{'' if self.exact else 'about '}{self.rows:,}"


@dataclass(frozen=True)
class Facts:
    """An engine and what it holds."""

    engine: str
    version: str
    size_bytes: int
    tables: tuple[Table, ...]
    read_only: bool

    @property
    def rows_text(self) -> str:
        """All rows together: "1,234", "about 1,200" or "unknown"."""
        counts = [table.rows for table in self.tables]
        if counts and all(count is None for count in counts):
            return "unknown"
        exact = None not in counts and all(table.exact for table in self.tables)
        return f"{'' if exact else 'about '}{sum(count or 0 for count in counts):,}"


def facts(connection: BaseDatabaseWrapper) -> Facts:
    """Ask the engine. Raises DatabaseError."""
    return _READERS[connection.vendor](connection)


def _rows(connection: BaseDatabaseWrapper, sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        rows: list[Any] = cursor.fetchall()
        return rows


def _sqlite(connection: BaseDatabaseWrapper) -> Facts:
    version, size = _rows(
        connection, "SELECT sqlite_version(), page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    )[0]
    names = _rows(
        connection,
        r"SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name",
    )
    tables = _counted(connection, [name for (name,) in names])
    return Facts("SQLite", version, size, tables, "mode=ro" in str(connection.settings_dict["NAME"]))


def _counted(connection: BaseDatabaseWrapper, names: list[str]) -> tuple[Table, ...]:
    deadline = time.monotonic() + COUNTING_SECONDS
    # SQLite asks this every so many steps of a loop, and gives up when the answer is true.
    connection.connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    try:
        return tuple(_count(connection, name) for name in names)
    finally:
        connection.connection.set_progress_handler(None, 0)


def _count(connection: BaseDatabaseWrapper, name: str) -> Table:
    # COUNT(*) would be a single step, however long it takes.
    sql = f"SELECT COUNT(1) FROM {connection.ops.quote_name(name)}"  # noqa: S608 - quoted
    try:
        rows = _rows(connection, sql)[0][0]
    except DatabaseError:  # out of time, or locked
        rows = None
    return Table(name, rows, exact=True)


def _postgresql(connection: BaseDatabaseWrapper) -> Facts:
    version, size, read_only = _rows(
        connection,
        "SELECT current_setting('server_version'), pg_database_size(current_database()), "
        "current_setting('transaction_read_only') = 'on'",
    )[0]
    # Of a partitioned table the parent alone; -1 is a table that nobody has analysed yet.
    tables = _rows(
        connection,
        "SELECT c.relname, NULLIF(c.reltuples, -1)::bigint FROM pg_class c JOIN pg_namespace n "
        "ON n.oid = c.relnamespace WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') "
        "AND NOT c.relispartition ORDER BY c.relname",
    )
    return Facts("PostgreSQL", version.split()[0], size, _estimated(tables), read_only)


def _mysql(connection: BaseDatabaseWrapper) -> Facts:
    version, read_only = _rows(connection, "SELECT VERSION(), @@global.read_only")[0]
    tables = _rows(
        connection,
        "SELECT table_name, table_rows, COALESCE(data_length + index_length, 0) FROM information_schema.tables "
        "WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' ORDER BY table_name",
    )
    engine = "MariaDB" if "mariadb" in version.lower() else "MySQL"
    estimates = _estimated([row[:2] for row in tables])
    return Facts(engine, version.split("-")[0], sum(int(row[2]) for row in tables), estimates, bool(read_only))


def _estimated(rows: list[Any]) -> tuple[Table, ...]:
    return tuple(Table(name, count if count is None else int(count), exact=False) for name, count in rows)


_READERS: dict[str, Callable[[BaseDatabaseWrapper], Facts]] = {
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "mysql": _mysql,
}
