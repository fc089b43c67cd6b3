from django.apps import AppConfig
from django.core import checks
from django.db.backends.signals import connection_created


class RoutersConfig(AppConfig):
    """Brings the checks, the guards and `migrate_all`. It has no models."""

    name = "routers"

    def ready(self) -> None:
        from routers.checks import check_topology
        from routers.guards import guard_connection

        checks.register(check_topology, checks.Tags.models)
        connection_created.connect(guard_connection, dispatch_uid="routers.guards")
