"""Writes that are accidents, refused or logged where they are sent: to a database that is read only, beside a
transaction that would not undo them, or on a request that is to write nothing."""

import logging
import os
import sys
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path
from traceback import walk_stack
from typing import Any

import django
from django.apps import apps
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from routers import state, transactions
from routers.central import ReadOnlyDatabase
from routers.noting import note_writes
from routers.statements import Execute, is_read, is_write, what_is_written
from routers.topology import topology

_NOT_THE_CALLER = tuple(str(Path(file).parent) + os.sep for file in (django.__file__, __file__))
_SENDS: Any = getattr(CursorWrapper, "_execute_with_wrappers")  # noqa: B009 - the stubs do not know it
logger = logging.getLogger(__name__)


class SecondDatabaseWritten(Exception):
    """A database was to be written while a transaction was open on another one, which cannot undo it."""


class WrittenOnSafeRequest(Exception):
    """A database was to be written by a GET, HEAD or OPTIONS request, which anybody may repeat at any time."""


def refuse_writes(execute: Execute, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:  # noqa: FBT001
    """An execute_wrapper that lets only reads through. Raises ReadOnlyDatabase."""
    if not is_read(sql):
        sent = _sent(context["connection"].alias, sql)
        raise ReadOnlyDatabase(
            f"{sent}, but the database is declared read only in CLUSTERS, because its schema and its rows belong to "
            "another system. Change them there. A SELECT passes if it locks no rows, brings no second statement, and "
            "has no backslash and no comment that engines read differently: send texts as parameters."
        )
    return execute(sql, params, many, context)


def guard_writes(execute: Execute, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:  # noqa: FBT001
    """An execute_wrapper for primaries: a write that a transaction elsewhere would not undo, or that a safe request
    makes, is no accident.

    By settings.DATABASE_GUARDS: "raise" SecondDatabaseWritten or WrittenOnSafeRequest, "log" them (the default), "off".
    """
    mode = getattr(settings, "DATABASE_GUARDS", "log")
    if mode != "off" and is_write(sql):
        alias = context["connection"].alias
        for broken in _broken_by(alias, sql):
            if mode == "raise":
                raise broken
            logger.warning("%s", broken, extra={"alias": alias})
    return execute(sql, params, many, context)


def _broken_by(alias: str, sql: str) -> Iterator[Exception]:
    known = state.current()
    if not transactions.crossing.get() and (other := _open_elsewhere(alias)):
        yield SecondDatabaseWritten(_crossing_message(alias, other, sql))
    if known and known.is_safe and not transactions.writing.get() and not _may_always_write(sql):
        yield WrittenOnSafeRequest(
            f"{_sent(alias, sql)} by a GET, HEAD or OPTIONS request, which programs send ahead, and again, without "
            "anybody having decided anything. Write on POST, or in a task or a command. Where the write does no harm, "
            'wrap it in writing_on_safe_request(reason="…").'
        )


def _open_elsewhere(alias: str) -> str | None:
    """The primary of another cluster on which this thread has a transaction open; those of Django's TestCase, which
    are never committed, do not count."""
    here = topology().cluster_of_alias(alias)
    for connection in connections.all(initialized_only=True):
        if _is_open(connection):
            cluster = topology().cluster_of_alias(connection.alias)
            if cluster and cluster != here and connection.alias == cluster.primary and not cluster.read_only:
                return cluster.primary
    return None


def _is_open(connection: BaseDatabaseWrapper) -> bool:
    if connection.in_atomic_block:
        return any(not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)
    # After set_autocommit(False). To ask get_autocommit() would open a connection that is closed.
    return connection.connection is not None and not connection.autocommit


def _crossing_message(alias: str, other: str, sql: str) -> str:
    bare = f" transaction.atomic() without using= is on {other}, and protects nothing of {alias}."
    return (
        f"{_sent(alias, sql)} while a transaction is open on {other}: when either fails, nobody undoes the other."
        f"{bare if other == DEFAULT_DB_ALIAS else ''} Open the transaction where the rows are, by atomic_for(Model). "
        f"Where both are written, write to {alias} in transaction.on_commit(…, using={other!r}), or better from a "
        f"message that is put into an outbox on {other}. Where neither can be, wrap it in "
        'crossing_databases(reason="…").'
    )


def _sent(alias: str, sql: str) -> str:
    what, _ = what_is_written(sql)
    return f"{what or 'A statement'} was sent to {alias} at {_caller()}"


def _caller() -> str:
    """The line of code, outside of Django and of this package, that had the statement at hand sent: "file:line"."""
    frames = list(walk_stack(sys._getframe()))
    # Before the cursor come the execute_wrappers, which may be anybody's; ask_guards() is called without them.
    sent = list(dropwhile(lambda frame: frame[0].f_code is not _SENDS.__code__, frames))
    places = ((frame.f_code.co_filename, line) for frame, line in sent or frames)
    return next((f"{file}:{line}" for file, line in places if not file.startswith(_NOT_THE_CALLER)), "an unknown place")


def _may_always_write(sql: str) -> bool:
    """Whether the table belongs to one of settings.SAFE_REQUEST_WRITERS, app labels."""
    _, table = what_is_written(sql)
    labels = getattr(settings, "SAFE_REQUEST_WRITERS", ())
    return any(model._meta.app_label in labels for model in apps.get_models() if model._meta.db_table == table)


def ask_guards(alias: str, sql: Any) -> None:
    """For what Django shows to no execute_wrapper: ask the guard of the alias. Raises what that one raises."""
    cluster = topology().cluster_of_alias(alias)
    if cluster and alias == cluster.primary and is_write(sql):
        guard = refuse_writes if cluster.read_only else guard_writes
        guard(lambda *sent: None, sql, None, many=False, context={"connection": connections[alias]})


def guard_connection(*, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Receiver of connection_created: put the fitting guard on each connection, once."""
    cluster = topology().cluster_of_alias(connection.alias)
    if cluster is None or connection.alias != cluster.primary:
        return
    noting = [note_writes] if cluster.replicas else []
    for guard in [refuse_writes] if cluster.read_only else [*noting, guard_writes]:
        if guard not in connection.execute_wrappers:
            # In front: connection.execute_wrapper() takes the last one off when its block ends, whichever that is then.
            connection.execute_wrappers.insert(0, guard)
