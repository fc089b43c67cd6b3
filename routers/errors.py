"""What an exception says about the databases: which one it came from, and whether that one is out of order."""

import sqlite3
import traceback
from collections.abc import Iterator
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

# SQLite and MySQL report a mistake in our SQL as OperationalError too, as if the server were gone.
# … and a file that is broken as a plain DatabaseError, as if that were a mistake of ours.
_SQLITE_OUTAGES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_SQLITE_FAULTS = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_RANGE}
_MYSQL_CLIENT = range(2000, 3000)  # the client's own: refused, gone away, lost, timed out
# Unknown column, mixed collations, no such function, wrong string; a statement that took too long (MariaDB, MySQL).
_MYSQL_FAULTS = {1054, 1267, 1305, 1366, 1969, 3024}
# PostgreSQL says more often what it is: a lost connection, too few resources, a server that ends or is starting; and a
# lock that took longer than a visitor waits. (A statement that did, 57014, is a mistake of ours.)
_POSTGRESQL_OUTAGES = ("08", "53", "57P0", "55P03")
# … and on a standby, a conflict of locks or rows, and one of buffers.
_RECOVERY_CONFLICTS = ("40001", "40P01")
_POSTGRESQL_FULL = "53100"
_MYSQL_FULL = {1021, 1114}  # the disk, and what a table or its tablespace may take of it


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The exception and those behind it, as a traceback would print them, the latest first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def is_outage(error: BaseException | None) -> bool:
    """Whether a database that did not answer or would not serve is behind the exception, rather than our code."""
    return any(_is_broken_file(each) or _did_not_serve(each) for each in chain(error))


def is_full(error: BaseException | None) -> bool:
    """Whether a server has no room left for what is written, although it may answer whoever reads."""
    return sqlstate_of(error) == _POSTGRESQL_FULL or any(_has_no_room(each) for each in chain(error))


def sqlstate_of(error: BaseException | None) -> str | None:
    """PostgreSQL's code for the error that is behind the exception; None where there is none."""
    return next(filter(None, (getattr(each, "sqlstate", None) for each in chain(error))), None)


def has_failed_as_replica(error: BaseException | None) -> bool:
    """Whether a read that a replica refused may be made elsewhere: the replica is lost, or replaying the log had a
    better claim to the rows."""
    return is_outage(error) or sqlstate_of(error) in _RECOVERY_CONFLICTS


def is_pool_exhausted(error: BaseException | None) -> bool:
    """Whether a pool had no connection to give in time: all are in use, or no new one can be made."""
    return any(type(each).__name__ == "PoolTimeout" for each in chain(error))  # whose package may not be there


def is_lost_connection(error: BaseException | None) -> bool:
    """Whether there is no connection any more, or none could be made; not where the server merely refused something."""
    if not is_outage(error) or is_pool_exhausted(error):
        return False
    if (state := sqlstate_of(error)) is not None:
        return state.startswith(("08", "57P0"))
    codes = [each.args[0] for each in chain(error) if each.args and isinstance(each.args[0], int)]
    return not codes or codes[0] in _MYSQL_CLIENT


def alias_of(error: BaseException | None) -> str | None:
    """The alias of the connection that the exception came through; None when it came through none."""
    for each in chain(error):
        frames = [frame for frame, _ in traceback.walk_tb(each.__traceback__)]
        for frame in reversed(frames):
            if alias := _alias_in(frame.f_locals.get("self")):
                return alias
    return None


def _is_broken_file(error: BaseException) -> bool:
    return getattr(error, "sqlite_errorcode", None) in _SQLITE_OUTAGES


def _has_no_room(error: BaseException) -> bool:
    if (code := getattr(error, "sqlite_errorcode", None)) is not None:
        return bool(code & 0xFF == sqlite3.SQLITE_FULL)
    return isinstance(error, DatabaseError) and bool(error.args) and error.args[0] in _MYSQL_FULL


def _did_not_serve(error: BaseException) -> bool:
    return isinstance(error, (OperationalError, InterfaceError)) and not _is_our_fault(error)


def _is_our_fault(error: BaseException) -> bool:
    # The lowest byte is the primary code, the rest details it.
    if (code := getattr(error.__cause__, "sqlite_errorcode", None)) is not None:
        return code & 0xFF in _SQLITE_FAULTS
    # A connection that was refused, timed out or was cut has no SQLSTATE.
    if (state := getattr(error.__cause__, "sqlstate", None)) is not None:
        return not state.startswith(_POSTGRESQL_OUTAGES)
    return bool(error.args) and error.args[0] in _MYSQL_FAULTS


def _alias_in(obj: Any) -> str | None:
    # Not isinstance(): it asks a lazy object for its __class__, which would make it query.
    if issubclass(type(obj), CursorWrapper):
        obj = obj.db
    return obj.alias if issubclass(type(obj), BaseDatabaseWrapper) else None
