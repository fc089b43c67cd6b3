"""Django's PostgreSQL backend with the breaker, with timeouts on both sides, and with a pool free of dead connections.

In DATABASES: ENGINE is "routers.backends.postgresql", TIMEOUT the seconds that a statement may take. With a TIMEOUT
goes OPTIONS["pool"]: Django lets nobody else say of what class a connection is.
"""

import select
from contextlib import suppress
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.postgresql import base
from psycopg import OperationalError
from psycopg_pool import ConnectionPool, PoolClosed

from routers.backends.breaker import AsksBreaker
from routers.backends.cursors import noting
from routers.backends.postgresql.deadline import DeadlineConnection

# The server shall be the first to end a statement, because its error says why; this side gives up a second later.
GRACE = 1
# More often than that, the prober does not put a new pool in the place of one while somebody waits for it.
RENEWALS = 2


class DatabaseWrapper(AsksBreaker, base.DatabaseWrapper):
    def __init__(self, settings_dict: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(settings_dict, *args, **kwargs)
        if pool := settings_dict["OPTIONS"].get("pool"):
            given = pool if isinstance(pool, dict) else {}
            settings_dict["OPTIONS"]["pool"] = {"connection_class": DeadlineConnection} | given

    def get_connection_params(self) -> dict[str, Any]:
        params: dict[str, Any] = super().get_connection_params()
        if self.timeout:
            ours = f"-c statement_timeout={self.timeout}s -c lock_timeout={self.timeout * 500}ms"
            # The last one counts, so what the project's own options say wins.
            params["options"] = f"{ours} {params.get('options', '')}".rstrip()
        params["cursor_factory"] = noting(params["cursor_factory"], self.alias)
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if self.timeout and not self.pool:
            raise ImproperlyConfigured(
                f"DATABASES[{self.alias!r}] has a TIMEOUT, but no pool, without which nothing ends a query on a server "
                "that hangs. Set OPTIONS['pool'] to True or to a dictionary, or leave TIMEOUT out."
            )
        connection = self._checked_out(conn_params)
        while self.pool and _has_ended(connection):
            connection.close()
            connection._pool.putconn(connection)  # which discards it
            connection = self._checked_out(conn_params)
        return connection

    def _checked_out(self, conn_params: dict[str, Any]) -> Any:
        for _ in range(RENEWALS):
            with suppress(PoolClosed, KeyError):  # the prober has just put another pool in its place
                return super().get_new_connection(conn_params)
        return super().get_new_connection(conn_params)

    def _configure_connection(self, connection: Any) -> bool:
        if isinstance(connection, DeadlineConnection):
            connection.alias = self.alias
            connection.deadline = self.timeout + GRACE if self.timeout else None
        commit: bool = super()._configure_connection(connection)  # type: ignore[misc]  # not in the stubs
        return commit


def _has_ended(connection: Any) -> bool:
    """Whether the server has closed an idle connection: it says nothing on one that is well, so nothing can be read.

    Asking the server itself, as CONN_HEALTH_CHECKS does, would cost each request a round trip to every database.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if not poll.poll(0):
        return False
    try:
        ConnectionPool.check_connection(connection)
    except OperationalError:
        return True
    return False
