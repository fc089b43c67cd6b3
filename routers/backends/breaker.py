"""What our backends add to Django's."""

from types import TracebackType
from typing import Any

from django.db import Error
from django.db.backends.base.base import NO_DB_ALIAS, BaseDatabaseWrapper
from django.db.utils import DatabaseErrorWrapper
from django.utils.functional import cached_property

from routers.health import refuse_if_down
from routers.noting import note_failure


class NotesFailure(DatabaseErrorWrapper):
    """What turns the driver's errors into Django's. Every one passes here, also one that a page catches, and while
    connecting or fetching."""

    wrapper: BaseDatabaseWrapper

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, traceback)
        except Error as translated:
            error = translated
            raise
        finally:
            if isinstance(error, Error):
                note_failure(self.wrapper, error)


class AsksBreaker(BaseDatabaseWrapper):
    """Asks the breaker before anything is sent, so that nobody waits for a server that the prober has found down."""

    @cached_property
    def wrap_database_errors(self) -> DatabaseErrorWrapper:
        return NotesFailure(self)

    def connect(self) -> None:
        """Raises DatabaseUnavailable behind an open breaker."""
        refuse_if_down(self.alias)
        super().connect()

    def create_cursor(self, name: str | None = None) -> Any:
        """The same. Not in ensure_connection(), which Django calls also to put a connection away."""
        refuse_if_down(self.alias)
        return super().create_cursor(name)

    def close_if_health_check_failed(self) -> None:
        """The same: Django asks an old connection whether it is well before it asks for a cursor."""
        with self.wrap_database_errors:  # which Django does around the other two itself
            refuse_if_down(self.alias)
        super().close_if_health_check_failed()

    @property
    def timeout(self) -> int | None:
        """Seconds that a statement may take, from the key TIMEOUT of the alias in DATABASES; None is no limit."""
        seconds: int | None = self.settings_dict.get("TIMEOUT")
        return None if self.alias == NO_DB_ALIAS else seconds
