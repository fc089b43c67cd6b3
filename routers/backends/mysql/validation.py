"""Django's check of the strict mode asks the server, and would end `manage.py check` where there is none to ask."""

from typing import Any

from django.core.checks import CheckMessage
from django.core.checks import Warning as CheckWarning
from django.db import Error
from django.db.backends.mysql import validation


class DatabaseValidation(validation.DatabaseValidation):
    def _check_sql_mode(self, **kwargs: Any) -> list[CheckMessage]:
        """mysql.W002, or routers.W003 when the server could not be asked."""
        try:
            return super()._check_sql_mode(**kwargs)  # type: ignore[misc,no-any-return]  # not in the stubs
        except Error as error:
            return [
                CheckWarning(
                    f"The server of {self.connection.alias} could not be asked for its strict mode: {error}",
                    hint="See that the server runs, and that the account may connect; then run the check again.",
                    obj=self.connection.alias,
                    id="routers.W003",
                )
            ]
