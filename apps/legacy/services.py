"""The one thing that is ever written here: the old system's tables, into a SQLite file that has none."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

SQL_FILES = sorted((Path(__file__).parent / "sql").glob("*.sql"))
SECONDS_TO_WAIT = 30


class NotEmpty(Exception):
    """The file has tables already."""


def fill_sqlite_file(*, path: Path) -> None:
    """Run SQL_FILES on an empty SQLite file, in one transaction: it is filled, or it is as empty as before.

    Goes past Django, whose connection is read only. Raises NotEmpty, and sqlite3.Error when the file cannot be
    written.
    """
    # mode=rw: a file that is missing is an error, not a new one with other permissions.
    address = f"{path.as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=SECONDS_TO_WAIT)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("BEGIN IMMEDIATE")
        # Asked only now: while this run waited for its turn, another one may have filled the file.
        if database.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            raise NotEmpty(path)
        for file in SQL_FILES:
            for statement in statements(file.read_text(encoding="utf-8")):
                database.execute(statement)
        database.execute("COMMIT")


def statements(sql: str) -> Iterator[str]:
    """A script's statements one by one: sqlite3's executescript() would commit before the first."""
    pending = ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if pending.strip():
        yield pending
