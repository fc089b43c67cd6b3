"""What our backends add to Django's."""

from typing import Any

from django.db.backends.base.base import NO_DB_ALIAS, BaseDatabaseWrapper

from routers.health import refuse_if_down


class AsksBreaker(BaseDatabaseWrapper):
    """Asks the breaker before anything is sent, so that nobody waits for a server that the prober has found down."""

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
        refuse_if_down(self.alias)
        super().close_if_health_check_failed()

    @property
    def timeout(self) -> int | None:
        """Seconds that a statement may take, from the key TIMEOUT of the alias in DATABASES; None is no limit."""
        seconds: int | None = self.settings_dict.get("TIMEOUT")
        return None if self.alias == NO_DB_ALIAS else seconds
