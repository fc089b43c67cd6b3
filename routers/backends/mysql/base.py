"""Django's MySQL backend with the breaker and with timeouts on both sides.

In DATABASES: ENGINE is "routers.backends.mysql", TIMEOUT the seconds that a statement may take.
"""

from typing import Any

from django.db.backends.mysql import base
from MySQLdb.cursors import Cursor

from routers.backends.breaker import AsksBreaker
from routers.backends.cursors import noting
from routers.backends.mysql.validation import DatabaseValidation

# The server shall be the first to end a statement, because its error says why; this side gives up a second later.
GRACE = 1


class DatabaseWrapper(AsksBreaker, base.DatabaseWrapper):
    validation_class = DatabaseValidation

    def get_connection_params(self) -> dict[str, Any]:
        params: dict[str, Any] = super().get_connection_params()
        if self.timeout:
            limit = self.timeout + GRACE
            params = {"read_timeout": limit, "write_timeout": limit} | params
        params["cursorclass"] = noting(params.get("cursorclass", Cursor), self.alias)
        return params

    def init_connection_state(self) -> None:
        super().init_connection_state()
        if self.timeout:
            # Seconds and every statement in MariaDB; milliseconds, and only SELECT, in MySQL.
            mariadb = self.mysql_is_mariadb
            limit = f"max_statement_time={self.timeout}" if mariadb else f"max_execution_time={self.timeout * 1000}"
            with self.cursor() as cursor:
                cursor.execute(f"SET SESSION {limit}, innodb_lock_wait_timeout={max(self.timeout // 2, 1)}")
