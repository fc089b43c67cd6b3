"""What a request does to the databases, noted at the connections, because much of it no router is asked about:
`.using().update()`, cursors, raw SQL, and whatever fails."""

from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from routers import state
from routers.errors import has_failed_as_replica, is_lost_connection, is_pool_exhausted, sqlstate_of
from routers.health import DatabaseUnavailable, is_down, renew_pool, suspect
from routers.state import RoutingState
from routers.statements import Execute, is_read
from routers.topology import topology

# A write on a server that is a standby, or has become one.
READ_ONLY_SQL_TRANSACTION = "25006"


def note_writes(execute: Execute, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:  # noqa: FBT001
    """An execute_wrapper for primaries: what follows in this request is read there, however this was sent.

    A primary that turns out to be none any more is let go, so that the next connection finds the new one.
    """
    connection = context["connection"]
    if not is_read(sql):
        note_write(connection.alias)
    try:
        result = execute(sql, params, many, context)
    except DatabaseError as error:
        if sqlstate_of(error) != READ_ONLY_SQL_TRANSACTION:
            raise
        pool = getattr(connection.connection, "_pool", None)
        connection.close()
        renew_pool(connection.alias, pool)
        raise DatabaseUnavailable(
            f"{connection.alias} led to a server that takes no writes, because it is a standby or has become one. The "
            "connection was dropped; the next one goes to the primary, if the alias's URL names it, too, and says "
            "target_session_attrs=read-write."
        ) from error
    # Back to a replica, time would go backwards.
    if (known := state.current()) and (cluster := topology().cluster_of_alias(connection.alias)):
        known.mark(known.read_primary, cluster.name)
    return result


def note_write(alias: str) -> None:
    """Before something is sent to a primary that writes, or may. A SELECT of a function that writes has to call it."""
    known, cluster = state.current(), topology().cluster_of_alias(alias)
    if known and cluster and cluster.replicas and alias == cluster.primary:
        known.mark(known.written, cluster.name)


def note_failure(connection: BaseDatabaseWrapper, error: BaseException) -> None:
    """For every error that comes through a connection: for the rest of this request the rows are read elsewhere."""
    known, cluster = state.current(), topology().cluster_of_alias(connection.alias)
    if not (known and cluster and cluster.replicas):
        return
    if connection.alias == cluster.primary:
        _note_failure_of_primary(connection, error, known)
    elif has_failed_as_replica(error):
        known.mark(known.avoided, connection.alias)
        suspect(connection.alias)


def _note_failure_of_primary(connection: BaseDatabaseWrapper, error: BaseException, known: RoutingState) -> None:
    """A primary is given a second connection before it counts as gone, for one that was cut says little about it; and a
    pool whose connections are all in use says nothing but when the prober has found the server down, too."""
    alias, has_waited = connection.alias, is_pool_exhausted(error)
    if not (has_waited or is_lost_connection(error)):
        return
    suspect(alias)
    is_gone = is_down(alias) or isinstance(error, DatabaseUnavailable) or (alias in known.lost and not has_waited)
    known.mark(known.avoided if is_gone else known.lost, alias)
    if not connection.in_atomic_block:  # whose end closes it
        connection.close()
