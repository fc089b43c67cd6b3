"""What no router is asked about, caught at the connection: `.using().update()`, cursors, raw SQL."""

import re
from collections.abc import Callable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from routers.central import ReadOnlyDatabase
from routers.topology import topology

_READ = re.compile(
    r"\s*(SELECT|WITH|VALUES|SHOW|DESCRIBE|EXPLAIN|PRAGMA|SET|BEGIN|START|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)\b", re.I
)
# INTO also makes tables and files, and after a semicolon comes another statement.
_WRITE_INSIDE = re.compile(r"\b(INSERT|INTO|UPDATE|DELETE|CREATE)\b|;\s*\S", re.I)

Execute = Callable[[str, Any, bool, dict[str, Any]], Any]


def is_read(sql: Any) -> bool:
    """Whether the statement is known to be a read. A CTE that writes is not; a doubtful one is not either."""
    return isinstance(sql, str) and bool(_READ.match(sql)) and not _WRITE_INSIDE.search(sql)


def refuse_writes(execute: Execute, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:  # noqa: FBT001
    """An execute_wrapper that lets only reads through. Raises ReadOnlyDatabase."""
    if not is_read(sql):
        alias = context["connection"].alias
        raise ReadOnlyDatabase(
            f"A statement that writes was sent to {alias}, which is declared read only in CLUSTERS, because its schema "
            f"and its rows belong to another system: {str(sql).split(maxsplit=1)[:1]}"
        )
    return execute(sql, params, many, context)


def guard_connection(*, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Receiver of connection_created: put the guard on each connection to a read-only cluster, once."""
    cluster = topology().cluster_of_alias(connection.alias)
    if cluster and cluster.read_only and refuse_writes not in connection.execute_wrappers:
        # In front: connection.execute_wrapper() takes the last one off when its block ends, whichever that is by then.
        connection.execute_wrappers.insert(0, refuse_writes)
